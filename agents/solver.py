"""The solver attempts a task, and revises what failed."""

from __future__ import annotations

from typing import Any, ClassVar

from quintet.agents.playing import Player, Trajectory, environment, records
from quintet.agents.roles import Answered, EpisodeRole
from quintet.agents.settings import SolverSettings
from quintet.agents.table import Episode, Table
from quintet.records import Attempt, Lesson, Message, Recall, Recalled, Record, Row, Task


class Solver(EpisodeRole):
    """Attempts a task k times; then revises failed attempts with the critic's feedback and its memory."""

    after: ClassVar[str] = ""
    persona: ClassVar[str] = "You solve short problems."

    @property
    def settings(self) -> SolverSettings:
        """The solver's settings."""
        return self.table.settings.solver

    def prompt(self, task: Task) -> tuple[Message, ...]:
        """The messages of a first attempt without memory: what evaluation asks and what rows are trained on."""
        return (*self.opening(), Message(role="user", content=self.render(**self._first_words(task))))

    def say(self, words: str) -> str:
        """The user message with these words and nothing else, as the template puts them."""
        return self.render(**_plainly(words))

    def _first_words(self, task: Task) -> dict[str, Any]:
        return _plainly(self.table.examiner.families[task.family].ask(task.question))

    async def act(self, episode: Episode) -> list[Record]:
        """K first attempts, or a revision of each attempt that the table wants revised."""
        if episode.turn == 0:
            return await self._first(episode)
        said: list[Record] = []
        # `episode.turn` is this turn already; what is to be revised belongs to the last one.
        for attempt in episode.attempts:
            if attempt.turn == episode.turn - 1 and attempt.id in episode.revising:
                said.extend(await self._revise(episode, attempt))
        return said

    async def _first(self, episode: Episode) -> list[Record]:
        settings = self.settings
        if (family := environment(self.table, episode.task)) is not None:
            player = Player(self.table, family, episode.task, episode.round, self.name, self.say)
            return await self._play(episode, player)
        recall, history = None, []
        if settings.recall_at_first:
            recall, memories = await self._recall(episode, settings.exemplars, 0)
            history = [message for row in memories if isinstance(row, Row) for message in shown(self.table, row)]
        said = await self.call(episode, n=settings.samples, history=history, **self._first_words(episode.task))
        attempts = await self._attempts(episode, said, None)
        return [*([recall] if recall else []), *attempts]

    async def _play(self, episode: Episode, player: Player) -> list[Record]:
        """K trajectories in the task's environment. What to mend, they are told there: none is revised."""

        async def ask(one: Trajectory) -> Answered:
            about = f"trajectory {one.number} action {len(one.actions)}"
            return await self.call(episode, about=about, history=one.history, **_plainly(one.words))

        played = await player.play(self.settings.samples, ask)
        answers = await self.table.examiner.read(episode.task.family, [one.text for one in played])
        attempts = [
            Attempt(
                round=episode.round,
                task=episode.task.id,
                call=one.transitions[-1].call,
                sample=one.transitions[-1].sample,
                turn=episode.turn,
                adapter=episode.adapter,
                text=one.text,
                answer=found.lenient,
                strict_answer=found.strict,
                transitions=tuple(transition.id for transition in one.transitions),
            )
            for one, found in zip(played, answers, strict=True)
        ]
        return [*records(played), *attempts]

    async def _revise(self, episode: Episode, failed: Attempt) -> list[Record]:
        settings = self.settings
        recall, memories = await self._recall(episode, settings.exemplars, settings.lessons)
        lessons = [memory.text for memory in memories if isinstance(memory, Lesson)]
        history = [message for row in memories if isinstance(row, Row) for message in shown(self.table, row)]
        critique = episode.critiques.get(failed.id)
        advice = [critique.feedback] if critique and critique.feedback else []
        advice += [str(reply) for reply in episode.replies.values()]
        words, heed = self._first_words(episode.task), [*advice, *lessons]
        if settings.show_failed:
            plain = self.render(**words)
            history += [Message(role="user", content=plain), Message(role="assistant", content=failed.text)]
            wrong = critique is None or not critique.correct
            words, heed = {"ask": "", "lessons": lessons, "wrong": wrong, "feedback": advice}, []
        said = await self.call(episode, about=failed.id, history=history, heed=heed, **words)
        attempts = await self._attempts(episode, said, failed.id)
        return [*([recall] if recall else []), *attempts]

    async def _attempts(self, episode: Episode, said: Answered, revises: str | None) -> list[Attempt]:
        texts = [completion.text for completion in said.completions]
        answers = await self.table.examiner.read(episode.task.family, texts)
        attempts = []
        for completion, call, sample, found in zip(said.completions, said.calls, said.samples, answers, strict=True):
            attempts.append(
                Attempt(
                    round=episode.round,
                    task=episode.task.id,
                    call=call,
                    sample=sample,
                    turn=episode.turn,
                    revises=revises,
                    adapter=episode.adapter,
                    text=completion.text,
                    answer=found.lenient,
                    strict_answer=found.strict,
                )
            )
        return attempts

    async def _recall(self, episode: Episode, exemplars: int, lessons: int) -> tuple[Recall | None, list[Record]]:
        found: list[tuple[Record, float]] = []
        for kind, count in ((Row, exemplars), (Lesson, lessons)):
            if count:
                # A row or lesson of this very task would show its answer.
                found += await self.table.memory.recall(
                    episode.question,
                    kind,
                    before=episode.round,
                    family=episode.task.family,
                    count=count,
                    exclude=[episode.task.id],
                )
        if not found:
            return None, []
        recall = Recall(
            round=episode.round,
            role=self.name,
            task=episode.task.id,
            turn=episode.turn,
            query=episode.question,
            items=tuple(Recalled(id=memory.id, distance=round(distance, 6)) for memory, distance in found),
            sources=tuple(memory.id for memory, _ in found),
        )
        return recall, [memory for memory, _ in found]


def _plainly(words: str) -> dict[str, Any]:
    """The template's variables for words that are put without lessons or feedback."""
    return {"ask": words, "lessons": [], "wrong": False, "feedback": []}


def shown(table: Table, row: Row) -> list[Message]:
    """A row as a worked exemplar: its question and the model's own verified answer; one of many actions is none."""
    task = table.ledger.get(row.task)
    if not isinstance(task, Task) or environment(table, task) is not None:
        return []
    question = table.examiner.families[task.family].ask(task.question)
    return [Message(role="user", content=question), Message(role="assistant", content=row.completion)]
