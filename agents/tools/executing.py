"""Python: a short program of the model's, run in the sandbox and nowhere else."""

from __future__ import annotations

import ast
import asyncio
from typing import TYPE_CHECKING, ClassVar

from quintet.agents.tools.port import Tool, ToolError
from quintet.tasks import sandbox

if TYPE_CHECKING:
    from quintet.agents.strategies.desk import Desk


class Python(Tool):
    """Runs a program in the sandbox and says what it printed (PAL, Gao et al. 2022, arXiv 2211.10435)."""

    name = "python"
    about = "runs Python, such as print(sum(range(1, 11)))"
    worked: ClassVar[tuple[str, str]] = ("How often is e in cheese?", "print('cheese'.count('e'))")
    paper: ClassVar[str] = "Gao et al. 2022, arXiv 2211.10435"

    def unavailable(self) -> str:
        """Why there is no sandbox here."""
        return sandbox.unavailable()

    async def use(self, words: str, desk: Desk) -> str:
        """What the program printed; of a lone expression its value."""
        if not words.strip():
            raise ToolError("write a program")
        return await ran(printing(words), desk.table.examiner.settings.sandbox)


async def ran(program: str, settings: sandbox.SandboxSettings) -> str:
    """What a program prints in the sandbox.

    Raises:
        ToolError: It failed, was ended, printed nothing, or there is no sandbox; the message says which.
    """
    try:
        found = await asyncio.to_thread(sandbox.run, program, settings)
    except sandbox.SandboxError as error:
        raise ToolError(str(error)) from None
    except ValueError as error:
        # Such as a lone surrogate, which no file can hold.
        raise ToolError(f"it cannot be run: {error}") from None
    if found.ended != "done":
        raise ToolError(f"the program was ended: {found.ended}")
    if found.code != 0:
        last = [line for line in found.errors.splitlines() if line.strip()]
        raise ToolError(last[-1].strip() if last else f"exit code {found.code}")
    if not found.output.strip():
        raise ToolError("the program printed nothing")
    return found.output.strip()


def printing(program: str) -> str:
    """The program; where it ends in a lone expression that prints nothing, with its value printed."""
    try:
        tree = ast.parse(program.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # The interpreter in the sandbox says better what is wrong.
        return program
    last = tree.body[-1] if tree.body else None
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    if not isinstance(last, ast.Expr) or any(isinstance(c.func, ast.Name) and c.func.id == "print" for c in calls):
        return program
    tree.body[-1] = ast.Expr(ast.Call(ast.Name("print", ast.Load()), [last.value], []))
    try:
        return ast.unparse(ast.fix_missing_locations(tree))
    except RecursionError:
        # A long sum is a deep tree: it can be read and run, but not written down again.
        return program
