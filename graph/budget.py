"""What a run may take: tokens and seconds, asked between its stages, between waves and inside them."""

from __future__ import annotations

import time
from collections.abc import Callable

from pydantic import Field

from quintet.evaluation.settings import EvaluationSettings
from quintet.memory.ledger import RunLedger
from quintet.models.errors import SpentError
from quintet.records import Evaluation, Part


class BudgetSettings(Part):
    """What a run may take at most; 0 is no limit. A run that ends by it can be resumed with a larger one."""

    tokens: int = Field(0, ge=0)
    """Prompt and completion tokens of all model calls."""
    seconds: float = Field(0.0, ge=0)
    """Wall time after set-up, in seconds, over all sittings."""


class Budget:
    """The budget of a run at work.

    It is soft first: no round begins that would not leave enough for the final suite, as the rounds so far cost. And
    hard in the end: generation and training stop at the limit, wherever they are.
    """

    def __init__(self, settings: BudgetSettings, ledger: RunLedger) -> None:
        self.settings, self._ledger = settings, ledger
        self._before, self._begun = ledger.info.seconds, time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall time so far, over all sittings."""
        return self._before + time.monotonic() - self._begun

    def seconds_left(self) -> float | None:
        """Wall time left; `None` where there is no limit."""
        return max(0.0, self.settings.seconds - self.seconds) if self.settings.seconds else None

    def meter(self) -> Callable[[int], str]:
        """What a wave asks at each step, with its own tokens so far: why it must stop, or nothing."""
        tokens = self._ledger.tokens() if self.settings.tokens else 0

        def spent(more: int) -> str:
            if self.settings.tokens and tokens + more >= self.settings.tokens:
                lost = f", {more:,} of it on calls that were cut off and are asked again on resume" if more else ""
                return f"the budget of {self.settings.tokens:,} tokens is spent{lost}"
            if self.settings.seconds and self.seconds >= self.settings.seconds:
                return f"the budget of {self.settings.seconds:g} seconds is spent"
            return ""

        return spent

    def check(self) -> None:
        """Stop here if nothing is left.

        Raises:
            SpentError: So it is.
        """
        if why := self.meter()(0):
            raise SpentError(why)

    def too_little_for(self, number: int, evaluation: EvaluationSettings) -> str:
        """Why the round of this number should not begin; empty if it may."""
        rounds = range(1, number)
        tokens = [self._ledger.tokens(one) for one in rounds]
        stages = {one: took for one, took in self._ledger.stage_seconds().items() if one in rounds}
        # The final suite of an earlier end counts among what comes last, not as part of its round.
        seconds = [sum(took.values()) - took.get("finish", 0.0) for took in stages.values()]
        last_tokens, last_seconds = self._final(number - 1, evaluation)
        for name, limit, spent, round_costs, last in (
            ("tokens", self.settings.tokens, self._ledger.tokens(), tokens, last_tokens),
            ("seconds", self.settings.seconds, self.seconds, seconds, last_seconds),
        ):
            # As much as the dearest round so far: levels climb, but so does what is known already.
            need = max(round_costs, default=0.0) + last
            if limit and spent + need > limit:
                return (
                    f"round {number} and the final suite would take about {need:,.0f} {name}, and {limit - spent:,.0f} "
                    f"of {limit:,.0f} are left"
                )
        return ""

    def _final(self, number: int, evaluation: EvaluationSettings) -> tuple[float, float]:
        """Tokens and seconds of a final suite, base and promoted, by what the last round with suites took for them."""
        sizes = {
            one: sum(e.n for e in self._ledger.find(Evaluation, round=one) if e.suite != "final")
            for one in range(1, number + 1)
        }
        if not (asked := [one for one, size in sizes.items() if size]):
            return 0.0, 0.0
        number, items = asked[-1], sizes[asked[-1]]
        share = 2 * evaluation.final_items / items
        tokens = self._ledger.role_tokens().get(number, {}).get("evaluation", 0)
        return share * tokens, share * self._ledger.stage_seconds().get(number, {}).get("evaluate", 0.0)
