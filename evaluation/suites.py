"""The items of all suites, drawn in a fixed order, so that rounds added later change no earlier item."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Protocol, Self

from quintet.evaluation.errors import SuiteError
from quintet.evaluation.settings import EvaluationSettings
from quintet.evaluation.statistics import alpha_at, mcnemar_exact, noninferiority
from quintet.records import Split, Suite, Task, digest
from quintet.tasks.errors import LevelTooNarrow

MOST_ITEMS = 100_000
"""Where the search for a large enough suite gives up."""


class Drawer(Protocol):
    """What suites are drawn from: the examiner, or a stand-in with this method."""

    async def draw(
        self, family: str, level: int, seed: int, count: int, split: Split, exclude: Container[str] = ()
    ) -> list[Task]:
        """`count` tasks of a split with distinct canonical questions, none of them in `exclude`."""
        ...


class Series:
    """One suite's groups of items (rounds, openings), each drawn after all before it and excluding them.

    Exclusion runs over all families and levels, for levels nest and families may share questions.
    """

    def __init__(
        self,
        examiner: Drawer,
        settings: EvaluationSettings,
        seed: int,
        suite: Suite,
        families: Container[str] | None = None,
    ) -> None:
        self.suite = suite
        self.groups: list[tuple[Task, ...]] = []
        self._examiner = examiner
        cells = settings.cells(suite).items()
        self._cells = {cell: items for cell, items in cells if items and (families is None or cell[0] in families)}
        self._seed = seed
        self._taken: set[str] = set()

    async def extend(self, groups: int) -> None:
        """Draw until there are so many groups.

        Raises:
            SuiteError: A level holds too few questions.
        """
        for number in range(len(self.groups) + 1, groups + 1):
            tasks: list[Task] = []
            for (family, level), items in self._cells.items():
                seed = int(digest([self._seed, self.suite, number, family, level])[:8], 16)
                taken = frozenset(self._taken)
                try:
                    found = await self._examiner.draw(family, level, seed, items, self.suite, exclude=taken)
                except LevelTooNarrow as error:
                    total = items * (number - 1) + error.found
                    raise _too_narrow(self.suite, family, level, total, items, groups) from error
                for task in found:
                    self._take(task)
                tasks += found
            self.groups.append(tuple(tasks))

    def _take(self, task: Task) -> None:
        # The drawer promises this already; but all evidence rests on it, and looking is cheap.
        if task.canonical in self._taken or task.split != self.suite:
            raise SuiteError(
                f"{self.suite} suite: {task.family} at level {task.level} gave {task.canonical!r} "
                f"of the {task.split} split, a question already taken or of another suite",
                self.suite,
                task.family,
                task.level,
            )
        self._taken.add(task.canonical)


class Suites:
    """A run's evaluation items; no canonical question occurs twice.

    Attributes:
        steer: Reusable items that guide, and are no evidence.
        retention: Fixed items that guard old abilities.
    """

    def __init__(self, examiner: Drawer, settings: EvaluationSettings, seed: int) -> None:
        self.steer: tuple[Task, ...] = ()
        self.retention: tuple[Task, ...] = ()
        self._gates = Series(examiner, settings, seed, "gate")
        self._finals = Series(examiner, settings, seed, "final")

    @classmethod
    async def build(
        cls, examiner: Drawer, settings: EvaluationSettings, seed: int, rounds: int, openings: int = 1
    ) -> Self:
        """Draw all items a run needs; more rounds or openings only add to what fewer would have given.

        Args:
            examiner: Draws the tasks.
            settings: Families, levels and numbers of items.
            seed: The run's seed.
            rounds: Rounds the run may have, each with a gate of its own.
            openings: Openings of the final suite to draw now, so that a lack of items shows before the run.

        Raises:
            SuiteError: A level cannot hold the items asked of it, or a suite is too small to decide anything.
        """
        check_sizes(settings, rounds)
        suites = cls(examiner, settings, seed)
        steer, retention = (Series(examiner, settings, seed, suite) for suite in ("steer", "retention"))
        await steer.extend(1)
        await retention.extend(1)
        await suites._finals.extend(openings)
        await suites._gates.extend(rounds)
        suites.steer, suites.retention = steer.groups[0], retention.groups[0]
        suites._refuse_shared()
        return suites

    def gate(self, round: int) -> tuple[Task, ...]:
        """The items of a round's gate, rounds counted from 1.

        Raises:
            SuiteError: The suites were not built for so many rounds.
        """
        drawn = len(self._gates.groups)
        if not 1 <= round <= drawn:
            raise SuiteError(f"gate suite: no items for round {round}; drawn for rounds 1 to {drawn}", "gate")
        return self._gates.groups[round - 1]

    async def final(self, number: int) -> tuple[Task, ...]:
        """The items of an opening of the final suite, counted from 1; drawn now if they were not yet.

        Raises:
            SuiteError: There is no such opening, or no unused items are left for it.
        """
        if number < 1:
            raise SuiteError(f"final suite: there is no opening {number}; they are counted from 1", "final")
        await self._finals.extend(number)
        return self._finals.groups[number - 1]

    @property
    def canonicals(self) -> frozenset[str]:
        """All canonical questions drawn, which training must never see."""
        return frozenset(task.canonical for task in self.tasks)

    @property
    def tasks(self) -> list[Task]:
        """All items drawn so far, of all suites."""
        groups = (self.steer, self.retention, *self._finals.groups, *self._gates.groups)
        return [task for group in groups for task in group]

    def _refuse_shared(self) -> None:
        seen: dict[str, Task] = {}
        for task in self.tasks:
            if (other := seen.setdefault(task.canonical, task)) is not task:
                raise SuiteError(
                    f"{task.family} at level {task.level}: {task.canonical!r} is in the {other.split} split "
                    f"and in the {task.split} split; a canonical question belongs to one",
                    task.split,
                    task.family,
                    task.level,
                )


async def items_of(
    examiner: Drawer, settings: EvaluationSettings, seed: int, rounds: int, openings: int, families: Container[str]
) -> list[Task]:
    """The items that some of the families have in all suites of a run.

    Args:
        examiner: Draws the tasks of these families.
        settings: Families, levels and numbers of items.
        seed: The run's seed.
        rounds: Rounds the run may have.
        openings: Openings of the final suite.
        families: Names; the items of all others are left out.

    Raises:
        SuiteError: A level cannot hold the items asked of it.
    """
    groups: dict[Suite, int] = {"steer": 1, "retention": 1, "final": openings, "gate": rounds}
    found: list[Task] = []
    for suite, number in groups.items():
        series = Series(examiner, settings, seed, suite, families)
        await series.extend(number)
        found += [task for group in series.groups for task in group]
    return found


def check_sizes(settings: EvaluationSettings, rounds: int) -> None:
    """Refuse suites so small that the last round could not be decided, whatever the answers.

    Raises:
        SuiteError: Naming the suite and the fewest items that would do.
    """
    alpha = alpha_at(max(rounds, 1), settings.alpha)
    _refuse_small("gate", settings.gate_items, rounds, lambda n: mcnemar_exact(n, 0) < alpha)
    if settings.retention_items:
        budget, margin = alpha_at(max(rounds, 1), settings.retention_alpha), settings.retention_margin
        _refuse_small("retention", settings.retention_items, rounds, lambda n: noninferiority(0, 0, n, margin) < budget)


def _refuse_small(suite: Suite, items: int, rounds: int, decides: Callable[[int], bool]) -> None:
    """Refuse a suite that could not decide for a candidate that loses no item (and on the gate wins all)."""
    if decides(items):
        return
    fewest = next((n for n in range(items, MOST_ITEMS) if decides(n)), MOST_ITEMS)
    or_none = ", or 0, which leaves the suite out" if suite == "retention" else ""
    raise SuiteError(
        f"{suite} suite: {items} items are too few to promote any candidate in round {rounds}; "
        f"{suite}_items must be at least {fewest}{or_none}",
        suite,
        found=items,
        needed=fewest,
    )


def _too_narrow(suite: Suite, family: str, level: int, found: int, items: int, groups: int) -> SuiteError:
    word = {"gate": "rounds", "final": "openings"}.get(suite)
    each = f" ({items} for each of {groups} {word})" if word and groups > 1 else ""
    return SuiteError(
        f"{suite} suite: {family} at level {level} has {found} questions to give and {items * groups} are "
        f"needed{each}; name a wider level, or ask for fewer {suite}_items" + (" or rounds" if word else ""),
        suite,
        family,
        level,
        found,
        items * groups,
    )
