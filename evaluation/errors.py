"""What can go wrong in evaluation: the suites, the answers, or a comparison that is none."""

from __future__ import annotations

from quintet.errors import QuintetError


class EvaluationError(QuintetError):
    """An evaluation or comparison cannot be made: what it rests on does not fit together."""

    fault = True


class SuiteError(EvaluationError):
    """A suite cannot be built; raised before a run begins.

    Attributes:
        suite: The suite's name, with round or opening where it has several.
        family: The task family, or an empty string where the suite as a whole is at fault.
        level: The family's level, or -1.
        found: Distinct items there are.
        needed: Distinct items there would have to be.
    """

    fault = False

    def __init__(self, message: str, suite: str, family: str = "", level: int = -1, found: int = 0, needed: int = 0):
        super().__init__(message)
        self.suite = suite
        self.family = family
        self.level = level
        self.found = found
        self.needed = needed
