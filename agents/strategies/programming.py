"""Strategies that write a program: the model composes what it has learnt, and the sandbox works out the answer."""

from __future__ import annotations

from typing import ClassVar

from quintet.agents.errors import NoAnswerError
from quintet.agents.skills import SkillError, signature, together
from quintet.agents.solver import Solver
from quintet.agents.strategies.desk import EVER, Desk
from quintet.agents.strategies.port import Solution, Step, Strategy
from quintet.agents.tools import ToolError
from quintet.agents.tools.executing import printing, ran
from quintet.records import Skill
from quintet.tasks import sandbox
from quintet.tasks.environments.python import code

WORDS = """You can call these Python functions, which are defined already:
{% for line in known %}
{{ line }}
{% endfor %}
Problem: {{ scene.question }}
Write one line of Python that prints the answer. Write only code."""

LONGEST = 200
"""Characters of an output that can be an answer."""


class Programming(Solver):
    """The solver as one who writes a program; only its words are others."""

    name: ClassVar[str] = "solver"

    def words(self) -> str:
        """Not the solver's, which the settings may replace."""
        return WORDS


class WithSkills(Strategy):
    """Recalls verified functions, writes a program that calls them, answers what it prints (Voyager, arXiv 2305.16291).

    Where there is no skill or no sandbox, or where the program fails, the likeliest reply is the answer.
    """

    name = "skills"
    method = "agentic"
    paper: ClassVar[str] = "Wang et al. 2023, arXiv 2305.16291"
    recalled: ClassVar[int] = 3
    """Skills that the model is shown."""

    async def solve(self, desk: Desk) -> Solution:
        """What the program printed, or else the greedy reply."""
        skills = await self._recall(desk)
        steps = [Step(what="skill", text=f"{skill.name}: {skill.about}") for skill in skills]
        why = sandbox.unavailable() or ("" if skills else "no skill was recalled")
        if not why:
            try:
                program, output = await self._program(desk, skills)
            except (ToolError, NoAnswerError) as error:
                why = str(error)
            else:
                text = f"Answer: {output}"
                steps += [Step(what="program", text=program), Step(what="output", text=output)]
                return Solution(text=text, answer=(await desk.read([text]))[0], steps=tuple(steps))
        [only] = await desk.sample(temperature=0.0)
        return Solution(text=only.text, answer=only.answer, steps=(*steps, Step(what="no program", text=why)))

    async def _recall(self, desk: Desk) -> list[Skill]:
        own = [desk.question.task] if desk.question.task else []
        asked = desk.question.question
        found = await desk.table.memory.recall(asked, Skill, before=EVER, count=self.recalled, exclude=own)
        return [skill for skill, _ in found]

    async def _program(self, desk: Desk, skills: list[Skill]) -> tuple[str, str]:
        """A program of the model's, and what it printed.

        Raises:
            ToolError: It failed, or printed no answer.
            NoAnswerError: The model gave none.
        """
        try:
            known = [f"{signature(skill)}  # {skill.about}" for skill in skills]
        except SkillError as error:
            # A record of another's making.
            raise ToolError(f"a skill cannot be read: {error}") from None
        said = await desk.call(
            Programming().sit(desk.table), desk.longest, about="program", temperature=0.0, known=known
        )
        program = code(said.completions[0].text)
        library = {skill.id: skill for skill in desk.table.ledger.find(Skill)}
        whole = f"{together(skills, library)}\n\n{printing(program)}\n"
        output = (await ran(whole, desk.table.examiner.settings.sandbox)).splitlines()[-1].strip()
        if len(output) > LONGEST:
            raise ToolError(f"the program printed more than {LONGEST} characters")
        return program, output
