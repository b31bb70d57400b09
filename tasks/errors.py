"""The task room's errors, so that a caller can tell a bad request from a task that proved unusable."""

from __future__ import annotations

from quintet.errors import QuintetError


class TaskError(QuintetError):
    """Something asked of the task families cannot be done; the message says what and what would be right."""


class RowError(TaskError):
    """A row of a data set is wrong.

    Args:
        message: What is wrong with it, with its place.
        reason: The same in a few stable words, for counting.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[RowError], tuple[str, str]]:
        return type(self), (str(self), self.reason)


class LevelError(TaskError):
    """A level cannot be drawn from: there is none, its generator refuses it, or it takes too long."""


class LevelTooNarrow(LevelError):  # noqa: N818 - a port other rooms name
    """A level holds fewer questions than were asked for.

    Args:
        family: The family drawn from.
        level: Its level.
        split: The split the questions had to belong to.
        found: How many distinct questions there were, excluded ones left out.
        needed: How many were asked for.
    """

    def __init__(self, family: str, level: int, split: str, found: int, needed: int) -> None:
        super().__init__(
            f"{family} level {level} holds {found} unused questions of the {split} split, "
            f"{needed} are needed: ask for fewer or choose a wider level"
        )
        self.family = family
        self.level = level
        self.split = split
        self.found = found
        self.needed = needed

    def __reduce__(self) -> tuple[type[LevelTooNarrow], tuple[str, int, str, int, int]]:
        return type(self), (self.family, self.level, self.split, self.found, self.needed)


UNGROUNDED = frozenset(
    {
        "malformed",
        "out of range",
        "trivial",
        "unknown family",
        "cannot be proposed",
        "executor failed",
        "executor timed out",
    }
)
"""Why a proposal stands for no task, in a few stable words."""


class Ungrounded(TaskError):  # noqa: N818 - a port other rooms name
    """A proposal that no executor can turn into a task.

    Args:
        reason: Why: one of the above, or a source's own.
        detail: What exactly was found, for a person to read.
        canonical: The question that it would have been, where it would have been one: it may belong to an evaluation.
    """

    def __init__(self, reason: str, detail: str = "", canonical: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
        self.canonical = canonical

    def __reduce__(self) -> tuple[type[Ungrounded], tuple[str, str, str]]:
        return type(self), (self.reason, self.detail, self.canonical)


class SandboxError(TaskError):
    """No program can be run: this machine offers no sandbox, or failed to start one; nothing was run."""
