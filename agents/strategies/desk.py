"""The desk at which a strategy works: the solver, the critic, the shared memory, and a budget of tokens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from quintet.agents.critic import Critic, Feedback
from quintet.agents.errors import NoAnswerError
from quintet.agents.reflector import Reflection, Reflector
from quintet.agents.roles import Answered, Role, json_in
from quintet.agents.solver import Solver, shown
from quintet.agents.strategies.rating import RATING_TOKENS, Rater, Rating
from quintet.agents.table import Question, Table
from quintet.records import Call, Lesson, Message, Part, Row

if TYPE_CHECKING:
    from quintet.tasks.family import TaskFamily

EVER = 1 << 30
"""A round after all rounds: whatever is remembered may come back."""

ENDLESS = 1 << 30
"""Replies that are left where there is no budget."""

PORTIONS = 4
"""Most calls in which a budget is filled up with samples: each fills half or more of what the one before left."""

REFLECTION_TOKENS = 48
"""Longest reflection, its JSON braces included."""

Verifier = Callable[[Sequence[str]], Awaitable[list[bool]]]
"""Says of each text whether it is right. It knows the truth."""

R = TypeVar("R", bound=BaseModel)


class Sample(Part):
    """One reply of the model."""

    text: str
    answer: str | None
    """As the lenient extractor reads it."""
    logprob: float = 0.0
    """Log-probability of the whole reply under the raw model, in nats."""
    tokens: int = 0
    """How many were generated."""
    finished: bool = True
    """Whether the model ended it, and no limit did."""

    @property
    def likelihood(self) -> float:
        """Mean log-probability of a token, in nats: it does not favour short replies."""
        return self.logprob / max(self.tokens, 1)


class Desk:
    """What a strategy works with: the solver, the critic's advice, the shared memory. No verifier is among it.

    Args:
        table: The run's.
        question: What is asked, by whom and under which adapter.
        family: How the question is put and its answers are read.
        budget: Tokens that may be generated for it, over all calls; `None` sets no limit. It is never exceeded: what
            does not fit is not asked, or is cut short.
        verifier: For a strategy that is an upper bound, and for no other.
    """

    def __init__(
        self,
        table: Table,
        question: Question,
        family: TaskFamily,
        budget: int | None = None,
        verifier: Verifier | None = None,
    ) -> None:
        self.table, self.question, self.family = table, question, family
        self.budget, self.verifier = budget, verifier
        self.spent = 0
        """Tokens generated so far."""
        self.prompted = 0
        """Tokens of the prompts so far."""
        self._held = 0
        self._solver, self._critic = Solver().sit(table), Critic().sit(table)
        self._rater, self._reflector = Rater().sit(table), Reflector().sit(table)
        # A memory of this very task would show its answer.
        self._own = [question.task] if question.task else []

    @property
    def longest(self) -> int:
        """Most tokens of a solver's reply."""
        return self.table.settings.solver.max_tokens

    @property
    def advice_tokens(self) -> int:
        """Most tokens of the critic's advice."""
        return self._critic.settings.max_tokens

    @property
    def asked(self) -> str:
        """The question as the solver is asked it."""
        return self.family.ask(self.question.question)

    @property
    def left(self) -> int:
        """Tokens that the budget still holds; `ENDLESS` without one."""
        return ENDLESS if self.budget is None else max(self.budget - self.spent - self._held, 0)

    def room(self, tokens: int | None = None) -> int:
        """How many replies of so many tokens the budget still holds; by default of the solver's longest."""
        return self.left // (tokens or self.longest)

    async def sample(
        self,
        n: int = 1,
        *,
        temperature: float | None = None,
        heed: Sequence[str] = (),
        history: Sequence[Message] = (),
        about: str = "",
        ask: str = "",
        partial: str = "",
        max_tokens: int | None = None,
    ) -> list[Sample]:
        """Replies of the solver; fewer than n where the budget holds no more, and one cut short where it holds none.

        Args:
            n: How many.
            temperature: 0 is greedy; the solver's own if `None`.
            heed: Advice that joins its persona.
            history: Messages before the last, such as exemplars.
            about: Tells several askings of one question apart; it goes into the seed.
            ask: The last message, where that is not the question.
            partial: A reply's beginning that the model goes on with; the samples hold what follows, and read their
                answer in the whole.
            max_tokens: Longest reply; the solver's own if `None`.

        Raises:
            NoAnswerError: The model gave no answer, or the budget is spent.
        """
        words: dict[str, Any] = {"ask": ask or self.asked, "lessons": [], "wrong": False, "feedback": []}
        said = await self._call(
            self._solver,
            max_tokens or self.longest,
            n=n,
            about=about,
            heed=heed,
            history=history,
            temperature=temperature,
            partial=partial,
            **words,
        )
        answers = await self.read([partial + one.text for one in said.completions])
        return [
            Sample(
                text=one.text,
                answer=answer,
                logprob=sum(one.logprobs),
                tokens=len(one.tokens),
                finished=one.finish == "stop",
            )
            for one, answer in zip(said.completions, answers, strict=True)
        ]

    async def read(self, texts: Sequence[str]) -> list[str | None]:
        """The answer in each text, as the lenient extractor reads it."""
        if self.family.name in self.table.examiner.families:
            # A family's own code, which may hang, is run where it can be killed.
            found = await self.table.examiner.read(self.family.name, texts)
        else:
            found = [self.family.extract(text) for text in texts]
        return [one.lenient for one in found]

    async def many(self, n: int, *, keep: int = 0, **how: Any) -> list[Sample]:
        """N replies; or, where there is a budget, as many as it holds, in a few calls.

        Args:
            n: How many without a budget.
            keep: Tokens to be left of the budget for each reply, for what follows.
            how: As for `sample`.

        Raises:
            NoAnswerError: The model gave no answer, or the budget is spent.
        """
        if self.budget is None:
            return await self.sample(n, **how)
        about, found = how.pop("about", ""), list[Sample]()
        longest = how.get("max_tokens") or self.longest
        for portion in range(PORTIONS):
            # What is to follow for the replies that are there already stays untouched.
            fitting = (self.left - keep * len(found)) // (longest + keep)
            if fitting < 1 and found:
                break
            found += await self.sample(max(fitting, 1), about=about + f" {portion}" * bool(portion), **how)
        return found

    async def advise(self, sample: Sample) -> str:
        """The critic's advice on a reply; empty if it says nothing that can be read.

        Raises:
            NoAnswerError: The model gave no answer, or the budget is spent.
        """
        said = await self._call(self._critic, self.advice_tokens, about=sample.text, attempt=sample, wrong=False)
        found = _read(Feedback, said)
        return found.advice.strip() if found else ""

    async def rate(self, sample: Sample) -> int | None:
        """The critic's mark for a reply, 1 to 5, without the truth; nothing if it cannot be read.

        Raises:
            NoAnswerError: The model gave no answer, or the budget is spent.
        """
        found = _read(Rating, await self._call(self._rater, RATING_TOKENS, about=sample.text, attempt=sample))
        return found.score if found else None

    async def reflect(self, sample: Sample) -> str:
        """What the model would do otherwise after a reply, of which it is not told whether it is right.

        Raises:
            NoAnswerError: The model gave no answer, or the budget is spent.
        """
        words: dict[str, Any] = {"attempt": sample, "wrong": False, "advice": ""}
        said = await self._call(self._reflector, REFLECTION_TOKENS, about=sample.text, temperature=0.0, **words)
        found = _read(Reflection, said)
        return found.lesson.strip() if found else ""

    async def exemplars(self, count: int) -> list[Message]:
        """Questions near this one with the model's own verified answers, as messages."""
        if not count:
            return []
        found = await self.table.memory.recall(self.question.question, Row, before=EVER, count=count, exclude=self._own)
        return [message for row, _ in found for message in shown(self.table, row)]

    async def lessons(self, count: int) -> list[str]:
        """What was learnt from questions near this one."""
        if not count:
            return []
        wanted = self.question.question
        found = await self.table.memory.recall(wanted, Lesson, before=EVER, count=count, exclude=self._own)
        return [lesson.text for lesson, _ in found]

    async def call(self, role: Role, max_tokens: int | None = None, *, n: int = 1, **words: Any) -> Answered:
        """Any seated role's answer on the question, within the budget; `words` are as for `Role.call`.

        Raises:
            NoAnswerError: The model gave no answer, or the budget is spent.
        """
        return await self._call(role, max_tokens or role.settings.max_tokens, n=n, **words)

    async def _call(self, role: Role, max_tokens: int, n: int = 1, **words: Any) -> Answered:
        left = self.left
        if not left:
            raise NoAnswerError(f"the budget of {self.budget} tokens is spent")
        max_tokens = min(max_tokens, left)
        n = min(n, left // max_tokens)
        self._held += n * max_tokens
        try:
            said = await role.call(self.question, n=n, max_tokens=max_tokens, **words)
        finally:
            self._held -= n * max_tokens
        self._count(said)
        return said

    def _count(self, said: Answered) -> None:
        calls = [call for call in map(self.table.ledger.get, dict.fromkeys(said.calls)) if isinstance(call, Call)]
        self.prompted += sum(call.prompt_tokens for call in calls)
        # A model of somebody else's may tell the tokens of the call only.
        counted = sum(len(completion.tokens) for completion in said.completions)
        self.spent += counted or sum(call.completion_tokens for call in calls)
        if all(completion.finish == "error" for completion in said.completions):
            why = next((call.error for call in calls if call.error), "it failed")
            raise NoAnswerError(f"the model gave no answer: {why}")


def _read(model: type[R], said: Answered) -> R | None:
    try:
        return model.model_validate_json(json_in(said.completions[0].text))
    except ValueError:
        # A reply that was cut off, or no JSON: nothing to go by.
        return None
