"""Strategies of search: a reply is built step by step, and only the best beginnings are gone on with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from quintet.agents.errors import NoAnswerError
from quintet.agents.strategies.desk import Desk, Sample
from quintet.agents.strategies.port import Solution, Step, Strategy
from quintet.agents.strategies.rating import RATING_TOKENS
from quintet.records import Part

STEPS = 6
"""Most steps of a reply."""

STEP_TOKENS = 16
"""Most tokens of a step."""

_END = re.compile(r"\n+|(?<=[.!?]) +")
"""Where a step ends: a line's end, or a sentence's with a space after it."""


class Beginning(Part):
    """A reply so far."""

    text: str = ""
    logprob: float = 0.0
    """Of all tokens generated for it, in nats; words of a step that were dropped are among them."""
    tokens: int = 0
    done: bool = False
    mark: int = 0
    """The critic's, where it is asked."""

    @property
    def likelihood(self) -> float:
        """Mean log-probability of a token, in nats."""
        return self.logprob / max(self.tokens, 1)


class Beam(Strategy):
    """Builds a reply step by step, keeping the likeliest beginnings (stepwise beam search, arXiv 2305.00633).

    A step is a line or a sentence of at most 16 tokens; the model goes on with its own words. Beginnings are ranked by
    mean log-probability of a token, so that none is preferred for being short. Xie et al. let the model judge its steps
    too: see `tree`.
    """

    name = "beam"
    paper: ClassVar[str] = "Xie et al. 2023, arXiv 2305.00633"
    overhead: ClassVar[int] = 0
    """Tokens that the judgement of a beginning takes."""

    async def solve(self, desk: Desk) -> Solution:
        """The best beginning that came to its end, or else the best there is, ended as it comes."""
        # As many beginnings a step as whole replies would fit the budget.
        size = self.samples if desk.budget is None else max(desk.budget // desk.longest, 1)
        width = max(round(size**0.5), 1)
        beams, steps = [Beginning()], list[Step]()
        for number in range(STEPS):
            grown = await self._next(desk, beams, number, size)
            if grown is None:
                break
            beams = await self.best(desk, grown, width)
            steps += [Step(what=f"step {number + 1}, {self.why(beam)}", text=beam.text) for beam in beams]
        [best] = (await self.best(desk, [beam for beam in beams if beam.done], 1)) or beams[:1]
        if not best.done and desk.left:
            best = await self._ended(desk, best)
        [answer] = await desk.read([best.text])
        return Solution(text=best.text, answer=answer, steps=tuple(steps))

    async def _next(self, desk: Desk, beams: Sequence[Beginning], number: int, size: int) -> list[Beginning] | None:
        """All beginnings, a step longer where they go on; nothing where none does or the budget lets none."""
        going = [beam for beam in beams if not beam.done]
        # From the second step on, what it takes to end a reply stays untouched.
        room = (desk.left - (desk.longest if number else 0)) // (STEP_TOKENS + self.overhead)
        if not going or (number and room < len(going)):
            return None
        branches = max(min(size, room) // len(going), 1)
        grown = [beam for beam in beams if beam.done]
        for place, beam in enumerate(going):
            try:
                grown += await self._grown(desk, beam, branches, f"step {number}.{place}")
            except NoAnswerError:
                if not number:
                    raise
                # What there is may still be the answer.
                grown.append(beam)
        return grown

    def why(self, beam: Beginning) -> str:
        """Why a beginning is kept, in words."""
        return f"{beam.likelihood:.2f} nats a token"

    async def best(self, desk: Desk, beams: Sequence[Beginning], width: int) -> list[Beginning]:
        """The best of them, best first; of equal ones the first."""
        return sorted(_different(beams), key=lambda beam: -beam.likelihood)[:width]

    async def _grown(self, desk: Desk, beam: Beginning, branches: int, about: str) -> list[Beginning]:
        longest = min(STEP_TOKENS, desk.longest)
        replies = await desk.sample(branches, about=about, partial=beam.text, max_tokens=longest)
        return [_longer(beam, reply, step=True) for reply in replies]

    async def _ended(self, desk: Desk, beam: Beginning) -> Beginning:
        try:
            [reply] = await desk.sample(temperature=0.0, about="end", partial=beam.text)
        except NoAnswerError:
            # Its beginning is still the best there is.
            return beam
        return _longer(beam, reply, step=False)


class Tree(Beam):
    """Builds a reply step by step, keeping the beginnings that the critic marks best (ToT, arXiv 2305.10601).

    Breadth first, as in their algorithm 1; a mark is 1 to 5, and likelihood decides between equal ones.
    """

    name = "tree"
    paper: ClassVar[str] = "Yao et al. 2023, arXiv 2305.10601"
    overhead: ClassVar[int] = RATING_TOKENS

    def why(self, beam: Beginning) -> str:
        """Why a beginning is kept, in words."""
        return f"mark {beam.mark or 'none'}"

    async def best(self, desk: Desk, beams: Sequence[Beginning], width: int) -> list[Beginning]:
        """The best of them by mark and likelihood."""
        judged = []
        for beam in _different(beams):
            mark = beam.mark
            if not mark and desk.room(RATING_TOKENS):
                try:
                    mark = await desk.rate(Sample(text=beam.text, answer=None)) or 0
                except NoAnswerError:
                    mark = 0
            judged.append(beam.model_copy(update={"mark": mark}))
        return sorted(judged, key=lambda beam: (-beam.mark, -beam.likelihood))[:width]


def _longer(beam: Beginning, reply: Sample, step: bool) -> Beginning:
    """A beginning with what was said next; one step of it, unless the reply came to its end."""
    said = reply.text
    if step and not reply.finished:
        end = _END.search(said, len(said) - len(said.lstrip()))
        # A space at its end would begin a word of its own for the tokenizer, and another than was meant.
        said = said[: end.end() if end else None].rstrip(" ")
    return Beginning(
        text=beam.text + said,
        logprob=beam.logprob + reply.logprob,
        tokens=beam.tokens + reply.tokens,
        # One that says nothing more would say nothing for ever.
        done=reply.finished or not said.strip(),
    )


def _different(beams: Sequence[Beginning]) -> list[Beginning]:
    """One of each text, the likeliest."""
    found: dict[str, Beginning] = {}
    for beam in beams:
        known = found.get(beam.text)
        if known is None or (beam.done, beam.mark, beam.likelihood) > (known.done, known.mark, known.likelihood):
            found[beam.text] = beam
    return list(found.values())
