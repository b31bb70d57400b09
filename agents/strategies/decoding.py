"""Strategies of decoding: which of the replies that the model can give is taken."""

from __future__ import annotations

from quintet.agents.strategies.port import Desk, Sample, Solution, Step, Strategy


class Greedy(Strategy):
    """The likeliest reply, token by token; what evaluation asks for by default."""

    name = "greedy"

    async def solve(self, desk: Desk) -> Solution:
        """One reply at temperature 0."""
        [only] = await desk.sample(temperature=0.0)
        return Solution(text=only.text, answer=only.answer)


class SelfConsistency(Strategy):
    """The answer that most of several sampled replies agree on (Wang et al. 2022, arXiv 2203.11171)."""

    name = "self_consistency"

    async def solve(self, desk: Desk) -> Solution:
        """Of the replies with the commonest answer the likeliest one; likelihood also breaks ties."""
        replies = await desk.sample(self.samples)
        votes: dict[str | None, list[Sample]] = {}
        for reply in replies:
            votes.setdefault(reply.answer, []).append(reply)
        # A reply without an answer votes for nothing.
        heard = {answer: group for answer, group in votes.items() if answer is not None} or votes
        most = max(heard.values(), key=lambda group: (len(group), max(reply.logprob for reply in group)))
        chosen = max(most, key=lambda reply: reply.logprob)
        steps = tuple(Step(what="sample", text=reply.text) for reply in replies)
        tally = ", ".join(f"{answer or 'none'} × {len(group)}" for answer, group in votes.items())
        return Solution(text=chosen.text, answer=chosen.answer, steps=(*steps, Step(what="votes", text=tally)))
