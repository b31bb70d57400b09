"""Strategies that act: the model calls tools, sees what they say, and answers."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, ValidationError, create_model

from quintet.agents.errors import NoAnswerError
from quintet.agents.roles import json_in
from quintet.agents.solver import Solver
from quintet.agents.strategies.desk import Desk
from quintet.agents.strategies.port import Solution, Step, Strategy
from quintet.agents.tools import Tool, load_tools, used
from quintet.records import Message

ANSWER = "answer"
"""What the model calls when it needs no tool any more."""

WORDS = """You may use:
{% for tool in tools %}
- {{ tool.name }}: {{ tool.about }}
{% endfor %}
- answer: gives the final answer
Problem: {{ scene.question }}
{% for line in seen %}
{{ line }}
{% endfor %}
Say what you do next, as JSON: {"tool": "...", "input": "..."}"""


class Acting(Solver):
    """The solver as one who may call tools; only its words are others."""

    name: ClassVar[str] = "solver"

    def words(self) -> str:
        """Not the solver's, which the settings may replace."""
        return WORDS


class WithTools(Strategy):
    """Calls tools, sees what they say, and answers (ReAct, Yao et al. 2022, arXiv 2210.03629; PAL, arXiv 2211.10435).

    What to call is decided by the model, in JSON that decoding is constrained to: a small model cannot keep a format of
    its own accord. What the tools said then stands before the question, which is put as ever.
    """

    name = "tools"
    method = "agentic"
    paper: ClassVar[str] = "Yao et al. 2022, arXiv 2210.03629"
    tools: ClassVar[tuple[str, ...]] = ()
    """Names of the tools that are offered; all that are installed and can be used, where none is named."""
    turns: ClassVar[int] = 3
    """Most calls for one question."""
    longest: ClassVar[int] = 120
    """Characters of what a tool is given."""

    @cached_property
    def offered(self) -> dict[str, Tool]:
        """The tools, by name, that can be used here; found once for all questions."""
        return {tool.name: tool for tool in load_tools(self.tools) if not tool.unavailable()}

    async def solve(self, desk: Desk) -> Solution:
        """The likeliest reply after what the tools said; the greedy one where none was called."""
        offered = self.offered
        move = _move(tuple(offered), self.longest)
        seen: list[str] = []
        steps: list[Step] = []
        for turn in range(self.turns if offered else 0):
            called = await self._call(desk, list(offered.values()), seen, move, turn)
            if called is None or called[0] == ANSWER:
                break
            name, words = called
            line = f"{name}({' '.join(words.split())}) = "
            if any(one.startswith(line) for one in seen):
                # It would hear the same again, and so ask the same again.
                steps.append(Step(what=name, text=f"{words}: asked before"))
                break
            tool = offered.get(name)
            said = await used(tool, words, desk) if tool else f"error: there is no tool {name!r}"
            seen.append(line + said)
            steps.append(Step(what=name, text=f"{words} → {said}"))
        known = [one for one in seen if " = error: " not in one]
        [last] = await desk.sample(temperature=0.0, heed=known, about="tools" if known else "")
        return Solution(text=last.text, answer=last.answer, steps=tuple(steps))

    async def _call(
        self, desk: Desk, tools: list[Tool], seen: list[str], move: type[BaseModel], turn: int
    ) -> tuple[str, str] | None:
        """The tool that the model calls, and what it gives it; nothing where that cannot be read."""
        if desk.room() < 2:
            # What is left is for the answer.
            return None
        history = [message for tool in tools for message in _worked(tool)]
        how: dict[str, Any] = {"reply": move, "temperature": 0.0, "history": history, "tools": tools, "seen": seen}
        try:
            said = await desk.call(Acting().sit(desk.table), desk.longest, about=f"tool {turn}", **how)
            found: Any = move.model_validate_json(json_in(said.completions[0].text))
        except (ValidationError, NoAnswerError):
            return None
        return found.tool, found.input.strip()


def _worked(tool: Tool) -> list[Message]:
    """A problem and the call that it asks for, as messages."""
    problem, words = tool.worked
    if not problem:
        return []
    call = json.dumps({"tool": tool.name, "input": words})
    return [Message(role="user", content=f"Problem: {problem}"), Message(role="assistant", content=call)]


def _move(names: tuple[str, ...], longest: int) -> type[BaseModel]:
    """What the model may say: a tool and its input."""
    # Types that are made while running, which mypy cannot follow.
    tool: Any = Literal[(*names, ANSWER)]
    return create_model("Move", tool=(tool, ...), input=(str, Field(max_length=longest)))
