"""The port for refinement strategies: ways to get one answer out of the model, without a verifier."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from quintet.agents.critic import Critic, Feedback
from quintet.agents.errors import AgentError
from quintet.agents.roles import json_in
from quintet.agents.solver import Solver, shown
from quintet.agents.table import Question, Table
from quintet.plugins import plugin
from quintet.records import Lesson, Message, Part, Row

if TYPE_CHECKING:
    from quintet.tasks.family import TaskFamily

GROUP = "quintet.strategies"
"""The entry-point group; each names a `Strategy`."""


class Sample(Part):
    """One reply of the model."""

    text: str
    answer: str | None
    """As the lenient extractor reads it."""
    logprob: float = 0.0
    """Log-probability of the whole reply under the raw model, in nats."""


class Step(Part):
    """Something that a strategy did, for people to read."""

    what: str
    """Such as `sample` or `advice`."""
    text: str


class Solution(Part):
    """What a strategy settles on."""

    text: str
    """The reply; the verifier, where there is one, reads this."""
    answer: str | None
    steps: tuple[Step, ...] = ()


class Desk:
    """What a strategy works with: the solver, the critic's advice, the shared memory. No verifier is among it.

    Args:
        table: The run's.
        question: What is asked, by whom and under which adapter.
        family: How the question is put and its answers are read.
    """

    def __init__(self, table: Table, question: Question, family: TaskFamily) -> None:
        self.table, self.question, self.family = table, question, family
        self._solver, self._critic = Solver().sit(table), Critic().sit(table)
        # A memory of this very task would show its answer.
        self._own = [question.task] if question.task else []

    async def sample(
        self,
        n: int = 1,
        *,
        temperature: float | None = None,
        heed: Sequence[str] = (),
        history: Sequence[Message] = (),
        about: str = "",
    ) -> list[Sample]:
        """Replies of the solver.

        Args:
            n: How many.
            temperature: 0 is greedy; the solver's own if `None`.
            heed: Advice that joins its persona.
            history: Messages before the question, such as exemplars.
            about: Tells several askings of one question apart; it goes into the seed.

        Raises:
            NoAnswerError: The model gave no answer.
        """
        words: dict[str, Any] = {
            "ask": self.family.ask(self.question.question),
            "lessons": [],
            "wrong": False,
            "feedback": [],
        }
        said = await self._solver.call(
            self.question, n=n, about=about, heed=heed, history=history, temperature=temperature, **words
        )
        texts = [one.text for one in said.completions]
        if self.family.name in self.table.examiner.families:
            # A family's own code, which may hang, is run where it can be killed.
            answers = await self.table.examiner.read(self.family.name, texts)
        else:
            answers = [self.family.extract(text) for text in texts]
        return [
            Sample(text=one.text, answer=found.lenient, logprob=sum(one.logprobs))
            for one, found in zip(said.completions, answers, strict=True)
        ]

    async def advise(self, sample: Sample) -> str:
        """The critic's advice on a reply; empty if it says nothing that can be read.

        Raises:
            NoAnswerError: The model gave no answer.
        """
        said = await self._critic.call(self.question, about=sample.text, attempt=sample, wrong=False)
        try:
            return Feedback.model_validate_json(json_in(said.completions[0].text)).advice.strip()
        except ValueError:
            # A reply that was cut off, or no JSON: nothing to go by.
            return ""

    async def exemplars(self, count: int) -> list[Message]:
        """Questions near this one with the model's own verified answers, as messages."""
        found = await self.table.memory.recall(self.question.question, Row, before=EVER, count=count, exclude=self._own)
        return [message for row, _ in found for message in shown(self.table, row)]

    async def lessons(self, count: int) -> list[str]:
        """What was learnt from questions near this one."""
        wanted = self.question.question
        found = await self.table.memory.recall(wanted, Lesson, before=EVER, count=count, exclude=self._own)
        return [lesson.text for lesson, _ in found]


EVER = 1 << 30
"""A round after all rounds: whatever is remembered may come back."""


class Strategy(ABC):
    """A way to answer a question; the same one answers many, at once."""

    name: ClassVar[str]
    """As its entry point calls it: it is chosen, and its evaluations are recorded, under this name."""

    def __init__(self, samples: int = 8) -> None:
        self.samples = samples
        """Replies it may ask for, where it asks for several."""

    async def prepare(self, desks: Sequence[Desk]) -> None:  # noqa: B027 - most need nothing
        """Look at all questions that are going to be asked, before any is; called once, by itself."""

    @abstractmethod
    async def solve(self, desk: Desk) -> Solution:
        """Answer the desk's question."""


def strategies(names: Sequence[str], samples: int = 8) -> list[Strategy]:
    """The strategies of these names.

    Raises:
        PluginError: There is none of a name.
        AgentError: It is no strategy.
    """
    made = []
    for name in names:
        found = plugin(GROUP, name, "strategy")
        if not (isinstance(found.found, type) and issubclass(found.found, Strategy)):
            raise AgentError(f"{found.source} is no Strategy")
        if found.found.name != name:
            raise AgentError(f"{found.source} calls itself {found.found.name!r}: class and entry point need one name")
        made.append(found.found(samples))
    return made
