"""The librarian keeps functions that passed their tests, to be recalled and composed."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from quintet.agents.roles import RoundRole
from quintet.agents.skills import SkillError, Written, about, asked_for, meaning, renamed, written
from quintet.agents.table import Round
from quintet.records import Attempt, Critique, Record, Reply, Skill, Task
from quintet.tasks.environment import decode
from quintet.tasks.environments.python import code


class Librarian(RoundRole):
    """Keeps functions that passed their tests as skills (Voyager, Wang et al. 2023, arXiv 2305.16291).

    It joins by config and calls no model: what is kept follows from the verifier's word. Of each task the shortest
    right function is kept, once; a name that is taken gets a number.
    """

    after: ClassVar[str] = "curator"
    paper: ClassVar[str] = "Wang et al. 2023, arXiv 2305.16291"
    families: ClassVar[tuple[str, ...]] = ("python_functions",)
    """Task families whose answers are functions in Python."""

    async def act(self, round: Round) -> list[Record]:
        """The new skills, and a reply that says how many attempts gave none, and why."""
        tasks = {task.id: task for task in round.tasks if task.family in self.families}
        if not tasks:
            return []
        library = [skill for skill in self.table.ledger.find(Skill) if skill.round < round.number]
        kept: list[Skill] = []
        refused: Counter[str] = Counter()
        for id, attempts in self._right(round.number, tasks).items():
            for attempt in attempts:
                try:
                    skill = self._skill(attempt, tasks[id], [*library, *kept])
                except SkillError as error:
                    refused[str(error)] += 1
                    continue
                kept.append(skill)
                break
        content = {"kept": [skill.name for skill in kept], "left_out": dict(sorted(refused.items()))}
        return [*kept, Reply(round=round.number, role=self.name, content=content)]

    def _right(self, number: int, tasks: dict[str, Task]) -> dict[str, list[Attempt]]:
        """By task, in the round's order, the attempts that the verifier accepted, the shortest first."""
        judged = self.table.ledger.find(Critique, round=number)
        right = {one.attempt for one in judged if one.correct and one.error is None}
        found: dict[str, list[Attempt]] = {id: [] for id in tasks}
        for attempt in self.table.ledger.find(Attempt, round=number):
            if attempt.id in right and attempt.task in found:
                found[attempt.task].append(attempt)
        return {id: sorted(some, key=lambda one: (len(one.text), one.id)) for id, some in found.items()}

    def _skill(self, attempt: Attempt, task: Task, library: list[Skill]) -> Skill:
        """The skill that an attempt gives.

        Raises:
            SkillError: It gives none.
        """
        actions = decode(attempt.text)
        # Of an episode of several turns the last version is the one that passed.
        function = written(code(actions[-1] if actions else attempt.text), asked_for(task.question), library)
        if meaning(function) in {meaning(one) for one in library}:
            raise SkillError("known already")
        free: Written = renamed(function, {one.name for one in library})
        return Skill(
            round=attempt.round,
            name=free.name,
            about=about(task.question),
            code=free.code,
            task=task.id,
            attempt=attempt.id,
            uses=free.uses,
        )
