"""What is evaluated, on how many items, and how strict the gate is: fixed before a run begins."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from quintet.records import Part, Suite

Share = Annotated[float, Field(ge=0, le=1)]
Families = dict[str, tuple[Annotated[int, Field(ge=0)], ...]]


class CurriculumSettings(Part):
    """When the training difficulty of a family moves, and when the run stops early."""

    climb_at: Share = 0.5
    """A family climbs a level when more than this share of first attempts is right: learnability, p(1 -
    p), peaks at one half."""
    fall_at: Share = 0.05
    """It falls back a level below this share; with 8 samples, a third of the tasks then still gives a row."""
    steer_drop: Share = 0.1
    """No climb while the family's share on the steer suite fell by more than this in the last round: what
    is being learnt does not carry over. Coarse on purpose, for a family has few steer items."""
    patience: int = Field(0, ge=0)
    """Stop after this many rounds without a new best on the steer suite; 0 never stops early. Below 3,
    noise stops healthy runs."""


class MonitorSettings(Part):
    """Where the monitors raise an alarm. They warn; only the gate decides."""

    least: int = Field(20, gt=0)
    """Shares of fewer observations than this raise no alarm: they are noise."""
    truncated: Share = 0.5
    """Most completions that may be cut off for length."""
    empty: Share = 0.1
    """Most attempts that may say nothing at all; self-play without baselines ends there."""
    same_answer: Share = 0.8
    """Most of a family's wrong attempts that may give one and the same answer, whatever the question;
    families with fewer than ten possible answers are left out."""
    distinct: Share = 0.2
    """Fewest distinct answers, as a share of samples, on tasks that no sample solved: below it
    exploration has collapsed. With 8 samples the least possible is 0.125."""
    errors: Share = 0.1
    """Most verifications, and most model calls, that may fail."""
    agreement: Share = 0.7
    """Least agreement of a judging critic with the verifier."""
    proposals_fall: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Where the proposer learns: its proposals ring below this part of the best valid or distinct share of
    an earlier round, and below this part, or above its inverse, of their length in the first."""
    pass_k: int = Field(4, gt=0)
    """k of the reported pass@k; smaller where there are fewer samples."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    """One-sided level at which a fall from the run's best counts as forgetting or decline; small, since
    it is asked every round."""


class EvaluationSettings(Part):
    """The suites and the gate.

    A suite's items are spread evenly over its families and levels; a remainder goes to the higher levels,
    which hold more questions.
    """

    families: Families = Field({"chain_sum": (2,), "products": (3,), "gcd": (3,)})
    """Families and their levels in all suites, fixed so that scores compare across rounds; only training
    climbs. These are the narrowest levels that hold enough questions for the suites of seven rounds."""
    retention_families: Families | None = None
    """Families and levels of the retention suite; `None` means the same ones. Name abilities here that
    training does not practise and must not destroy."""
    steer_items: int = Field(48, ge=0)
    """Items that guide curriculum and early stop; 0 leaves the suite out. Few suffice: they are no
    evidence."""
    gate_items: int = Field(192, gt=0)
    """Items of each round's gate, new every round. With 192, a gain of 15 points (20 % won, 5 % lost) passes the
    first test with a chance of 0.98 and the fourth with 0.87; with 96, with 0.76 and 0.39."""
    retention_items: int = Field(128, ge=0)
    """Items that guard old abilities; 0 leaves the suite out. It must be able to exclude a fall of the
    margin: 10 points in round 20 take 118 items even if not one answer changed."""
    final_items: int = Field(240, gt=0)
    """Items of the final suite, opened once, at the end: enough for an interval of about ±7 points."""
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Chance of promoting, ever in a run, a candidate that is no better; spent as 6α / (π²k²) on the k-th
    gate; a gate that promotes hands its level on to the next (online fallback)."""
    minimum_effect: Share = 0.02
    """A smaller observed gain is not worth a promotion, however significant."""
    retention_margin: Annotated[float, Field(gt=0, lt=1)] = 0.10
    """A fall on the retention suite as large as this must be excluded."""
    retention_alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.10
    """Chance of ever overlooking such a fall, a budget of its own, spent like `alpha`. Larger than
    `alpha`, since a fall that slips through is seen again by the monitors and can be rolled back."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Level of the reported intervals, each by itself."""
    test: Literal["mcnemar", "bootstrap"] = "mcnemar"
    """Exact McNemar on right or wrong; the paired bootstrap compares graded scores."""
    resamples: int = Field(20_000, ge=1000)
    """Bootstrap samples; p-values cannot fall below 1 / resamples."""
    curriculum: CurriculumSettings = CurriculumSettings()
    """When training difficulty moves."""
    monitors: MonitorSettings = MonitorSettings()
    """When the monitors raise an alarm."""

    @field_validator("families", "retention_families")
    @classmethod
    def _some_levels(cls, families: Families | None) -> Families | None:
        if families is None:
            return None
        if not families:
            raise ValueError("no family is named; name at least one, as in {products = [0, 1]}")
        for family, levels in families.items():
            if not levels:
                raise ValueError(f"family {family!r} has no levels; name at least one, as in [0]")
            if len(set(levels)) < len(levels):
                raise ValueError(f"family {family!r} names a level twice: {list(levels)}")
        return families

    def items(self, suite: Suite) -> int:
        """How many items a suite (for the gate: a round) has in all."""
        return {
            "steer": self.steer_items,
            "gate": self.gate_items,
            "retention": self.retention_items,
            "final": self.final_items,
        }[suite]

    def cells(self, suite: Suite) -> dict[tuple[str, int], int]:
        """How many items each (family, level) of a suite gets, in the order of the config."""
        families = self.families
        if suite == "retention" and self.retention_families is not None:
            families = self.retention_families
        cells = [(family, level) for family, levels in families.items() for level in levels]
        each, rest = divmod(self.items(suite), len(cells))
        widest_first = sorted(cells, key=lambda cell: -cell[1])
        return {cell: each + (cell in widest_first[:rest]) for cell in cells}
