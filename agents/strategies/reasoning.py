"""Strategies of reasoning: the model looks at what it said, or plans what it says, before it settles."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from quintet.agents.errors import NoAnswerError
from quintet.agents.strategies.decoding import marked, voted
from quintet.agents.strategies.desk import REFLECTION_TOKENS, Desk, Sample
from quintet.agents.strategies.port import Solution, Step, Strategy
from quintet.records import Message

TURNS = 8
"""Most revisions, or rounds of a debate, that a budget is spent on."""


class CritiqueAndRevise(Strategy):
    """A reply, the critic's advice on it, and a second reply that heeds it (Self-Refine, arXiv 2303.17651).

    Under a budget the advice is heeded again and again, until the reply stays the same or the budget is spent.
    """

    name = "revise"
    method = "reasoning"
    paper: ClassVar[str] = "Madaan et al. 2023, arXiv 2303.17651"

    async def solve(self, desk: Desk) -> Solution:
        """The last reply, whatever the first was: nobody here knows which is right."""
        [reply] = await desk.sample(temperature=0.0)
        steps, before = [Step(what="first reply", text=reply.text)], {reply.text}
        for turn in range(1 if desk.budget is None else TURNS):
            if not desk.room(desk.advice_tokens + desk.longest):
                break
            advice = await desk.advise(reply)
            steps.append(Step(what="advice", text=advice or "none"))
            about = f"revision {turn}" if turn else "revision"
            [reply] = await desk.sample(temperature=0.0, heed=[advice] if advice else [], about=about)
            if reply.text in before:
                break
            before.add(reply.text)
            if desk.budget is not None:
                steps.append(Step(what="revision", text=reply.text))
        return Solution(text=reply.text, answer=reply.answer, steps=tuple(steps))


class Reflect(Strategy):
    """A reply, what the model would do otherwise, and a second reply that heeds it (Reflexion, arXiv 2303.11366).

    Reflexion reflects on failures that a test has shown; here nobody knows, and the model is told so. Lessons on
    similar questions, which the reflector and the critic left in memory, are heeded too.
    """

    name = "reflect"
    method = "reasoning"
    paper: ClassVar[str] = "Shinn et al. 2023, arXiv 2303.11366"

    async def solve(self, desk: Desk) -> Solution:
        """The last reply; under a budget after as many reflections as it holds."""
        lessons = await desk.lessons(desk.table.settings.solver.lessons)
        steps = [Step(what="lesson", text=lesson) for lesson in lessons]
        [reply] = await desk.sample(temperature=0.0, heed=lessons)
        steps.append(Step(what="first reply", text=reply.text))
        reflections: list[str] = []
        for turn in range(1 if desk.budget is None else TURNS):
            if not desk.room(REFLECTION_TOKENS + desk.longest):
                break
            reflection = await desk.reflect(reply)
            steps.append(Step(what="reflection", text=reflection or "none"))
            if not reflection or reflection in reflections:
                break
            # The newest only: a small model heeds no long list.
            reflections.append(reflection)
            heed = [*lessons, *reflections[-1:]]
            [reply] = await desk.sample(temperature=0.0, heed=heed, about=f"reflected {turn}")
            if desk.budget is not None:
                steps.append(Step(what="next reply", text=reply.text))
        return Solution(text=reply.text, answer=reply.answer, steps=tuple(steps))


class PlanAndSolve(Strategy):
    """A plan first, then a reply that carries it out (Wang et al. 2023, arXiv 2305.04091).

    Under a budget several plans are made and carried out, and their answers vote, as in the paper's section 4.3.
    """

    name = "plan"
    method = "reasoning"
    paper: ClassVar[str] = "Wang et al. 2023, arXiv 2305.04091"

    async def solve(self, desk: Desk) -> Solution:
        """The reply by the one plan, or the commonest answer by several."""
        question = desk.question.question
        ask = f"{question}\nDo not solve it yet. Devise a plan in one or two short steps."
        chains = 1 if desk.budget is None else max(desk.room() // 2, 1)
        longest = min(desk.longest, max(desk.left // (2 * chains), 1))
        temperature = 0.0 if chains == 1 else None
        plans = await desk.sample(chains, temperature=temperature, ask=ask, about="plan", max_tokens=longest)

        async def carried_out(number: int, plan: Sample) -> Sample | None:
            history = [Message(role="user", content=ask), Message(role="assistant", content=plan.text)]
            about = f"plan {number}"
            words = f"Carry out the plan.\n{desk.asked}"
            try:
                [reply] = await desk.sample(temperature=temperature, history=history, ask=words, about=about)
            except NoAnswerError:
                return None
            return reply

        found = await asyncio.gather(*(carried_out(number, plan) for number, plan in enumerate(plans)))
        replies = [reply for reply in found if reply is not None]
        if not replies:
            raise NoAnswerError("the model made plans, and carried out none")
        steps = [Step(what="plan", text=plan.text) for plan in plans]
        if len(replies) == 1:
            return Solution(text=replies[0].text, answer=replies[0].answer, steps=tuple(steps))
        return voted(replies, [*steps, *(Step(what="reply", text=reply.text) for reply in replies)])


class Debate(Strategy):
    """Two solvers read each other's replies and answer again; the critic judges (Du et al. 2023, arXiv 2305.14325).

    They differ by persona and seed. It ends when they agree, or after two rounds, and under a budget when that holds no
    further round.
    """

    name = "debate"
    method = "reasoning"
    paper: ClassVar[str] = "Du et al. 2023, arXiv 2305.14325"
    rounds: ClassVar[int] = 2
    """Rounds after the first replies, without a budget."""
    personas: ClassVar[tuple[str, ...]] = ("You work step by step.", "You doubt a result until you have checked it.")

    async def solve(self, desk: Desk) -> Solution:
        """What both say in the end, or else the reply that the critic marks better; likelihood decides ties."""
        replies = await self._said(desk, [], 0)
        steps = _heard(replies, "")
        for turn in range(1, 1 + (self.rounds if desk.budget is None else TURNS)):
            if _agreed(replies) or desk.room() < len(self.personas):
                break
            replies = await self._said(desk, replies, turn)
            steps += _heard(replies, f", round {turn}")
        marks = {} if _agreed(replies) else await marked(desk, replies)
        best = max(replies, key=lambda one: (one.answer is not None, marks.get(one.text, 0), one.likelihood))
        steps += [Step(what=f"judge: mark {mark or 'none'}", text=text) for text, mark in marks.items()]
        return Solution(text=best.text, answer=best.answer, steps=tuple(steps))

    async def _said(self, desk: Desk, before: list[Sample], turn: int) -> list[Sample]:
        """Each solver's reply, to the question or to what the other said."""

        async def one(place: int, persona: str) -> Sample:
            history: list[Message] = []
            ask = desk.asked
            if before:
                history = [Message(role="user", content=ask), Message(role="assistant", content=before[place].text)]
                others = [reply.text for other, reply in enumerate(before) if other != place]
                heard = "\n".join(f"Another solver wrote: {text}" for text in others)
                ask = f"{heard}\nIt may be wrong, and so may you. Answer again.\n{ask}"
            [reply] = await desk.sample(heed=[persona], history=history, ask=ask, about=f"solver {place} {turn}")
            return reply

        # Of a budget for less than one reply each, only the first may speak.
        speaking = self.personas if before else self.personas[: max(desk.room(), 1)]
        return list(await asyncio.gather(*(one(place, persona) for place, persona in enumerate(speaking))))


def _agreed(replies: Sequence[Sample]) -> bool:
    return len({reply.answer for reply in replies}) == 1


def _heard(replies: Sequence[Sample], when: str) -> list[Step]:
    return [Step(what=f"solver {place}{when}", text=reply.text) for place, reply in enumerate(replies, 1)]
