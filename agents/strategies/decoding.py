"""Strategies of decoding: which of the replies that the model can give is taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from quintet.agents.errors import AgentError, NoAnswerError
from quintet.agents.strategies.desk import Desk, Sample
from quintet.agents.strategies.port import Solution, Step, Strategy
from quintet.agents.strategies.rating import RATING_TOKENS


class Greedy(Strategy):
    """The likeliest reply, token by token; what evaluation asks for by default."""

    name = "greedy"

    async def solve(self, desk: Desk) -> Solution:
        """One reply at temperature 0."""
        [only] = await desk.sample(temperature=0.0)
        return Solution(text=only.text, answer=only.answer)


class OneSample(Strategy):
    """One reply at the solver's temperature: what a first attempt of a training episode is."""

    name = "sample"

    async def solve(self, desk: Desk) -> Solution:
        """The one reply."""
        [only] = await desk.sample()
        return Solution(text=only.text, answer=only.answer)


class SelfConsistency(Strategy):
    """The answer that most of several sampled replies agree on (Wang et al. 2022, arXiv 2203.11171)."""

    name = "self_consistency"
    paper: ClassVar[str] = "Wang et al. 2022, arXiv 2203.11171"

    async def solve(self, desk: Desk) -> Solution:
        """Of the replies with the commonest answer the likeliest one; likelihood also breaks ties."""
        replies = await desk.many(self.samples)
        return voted(replies, [Step(what="sample", text=reply.text) for reply in replies])


class BestOfNByCritic(Strategy):
    """Of several replies the one that the critic gives the best mark, 1 to 5 (Cobbe et al. 2021, arXiv 2110.14168).

    Where Cobbe et al. train a verifier, the model judges its own replies; it is shown no truth.
    """

    name = "best_of_n"
    paper: ClassVar[str] = "Cobbe et al. 2021, arXiv 2110.14168"

    async def solve(self, desk: Desk) -> Solution:
        """The reply with the best mark, of these the likeliest; a mark that cannot be read is the worst."""
        replies = await desk.many(self.samples, keep=RATING_TOKENS)
        marks = await marked(desk, replies)
        best = max(replies, key=lambda reply: (marks[reply.text], reply.likelihood))
        steps = tuple(Step(what=f"mark {marks[reply.text] or 'none'}", text=reply.text) for reply in replies)
        return Solution(text=best.text, answer=best.answer, steps=steps)


class BestOfNByLikelihood(Strategy):
    """Of several replies the one that the model finds likeliest, token for token."""

    name = "best_of_n_likelihood"

    async def solve(self, desk: Desk) -> Solution:
        """The reply with the best mean log-probability."""
        replies = await desk.many(self.samples)
        best = max(replies, key=lambda reply: reply.likelihood)
        steps = tuple(Step(what=f"{reply.likelihood:.2f} nats a token", text=reply.text) for reply in replies)
        return Solution(text=best.text, answer=best.answer, steps=steps)


class Oracle(Strategy):
    """An upper bound that knows the truth: right where any of n replies is (pass@n, Chen et al., arXiv 2107.03374).

    It says what choosing among the samples could reach at best. Nobody can answer a question with it.
    """

    name = "oracle"
    paper: ClassVar[str] = "Chen et al. 2021, arXiv 2107.03374"
    upper_bound: ClassVar[bool] = True

    async def solve(self, desk: Desk) -> Solution:
        """The first reply that the verifier accepts; the first of all where it accepts none.

        Raises:
            AgentError: The desk has no verifier.
        """
        if desk.verifier is None:
            raise AgentError("the oracle chooses by the truth, and there is none here: it answers evaluations only")
        replies = await desk.many(self.samples)
        right = await desk.verifier([reply.text for reply in replies])
        best = next((reply for reply, one in zip(replies, right, strict=True) if one), replies[0])
        steps = tuple(
            Step(what="right" if one else "wrong", text=reply.text) for reply, one in zip(replies, right, strict=True)
        )
        tally = Step(what="upper bound", text=f"{sum(right)} of {len(replies)} replies are right by the truth")
        return Solution(text=best.text, answer=best.answer, steps=(*steps, tally))


def voted(replies: Sequence[Sample], steps: Sequence[Step] = ()) -> Solution:
    """The commonest answer among replies, in its likeliest reply; a reply without an answer votes for nothing."""
    votes: dict[str | None, list[Sample]] = {}
    for reply in replies:
        votes.setdefault(reply.answer, []).append(reply)
    heard = {answer: group for answer, group in votes.items() if answer is not None} or votes
    most = max(heard.values(), key=lambda group: (len(group), max(reply.logprob for reply in group)))
    chosen = max(most, key=lambda reply: reply.logprob)
    tally = ", ".join(f"{answer or 'none'} × {len(group)}" for answer, group in votes.items())
    return Solution(text=chosen.text, answer=chosen.answer, steps=(*steps, Step(what="votes", text=tally)))


async def marked(desk: Desk, replies: Sequence[Sample]) -> dict[str, int]:
    """The critic's mark of each text, while the budget lasts; 0 where there is none that can be read."""
    marks: dict[str, int] = {}
    for reply in replies:
        if reply.text in marks:
            continue
        try:
            marks[reply.text] = (await desk.rate(reply) or 0) if desk.room(RATING_TOKENS) else 0
        except NoAnswerError:
            marks[reply.text] = 0
    return marks
