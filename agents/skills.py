"""What a skill's code is: the functions of a program, their names, when two are the same, what they call."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Collection, Iterable, Mapping

from quintet.agents.errors import AgentError
from quintet.records import Part, Skill

MOST_CHARACTERS = 1500
"""Longest code that is kept; a function that is longer is no building block."""

MOST_DEPTH = 100
"""Most nodes within one another in code that is kept."""

_KEPT = (ast.FunctionDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
"""Statements that a skill consists of; what is done besides, such as a call of the function, is left out."""

_Function = ast.FunctionDef


class SkillError(AgentError):
    """A program that no skill can be made of; the message says why in a few stable words."""


class Written(Part):
    """A function as the model wrote it."""

    name: str
    code: str
    """With the imports, names and other functions that it needs."""
    uses: tuple[str, ...] = ()
    """Ids of the skills that were in it already, which its code calls and does not repeat."""


def written(code: str, wanted: str = "", known: Iterable[Skill] = ()) -> Written:
    """The function that a program defines.

    Args:
        code: A program, as the model wrote it.
        wanted: The function's name; the last one of the program if empty.
        known: Skills that the program may hold; they are left out of the code and named instead.

    Raises:
        SkillError: There is none, it is too long, or it takes a name of Python's own.
    """
    tree = _parsed(code)
    functions = {node.name: node for node in tree.body if isinstance(node, _Function)}
    name = wanted or next(reversed(functions), "")
    if name not in functions:
        raise SkillError("no such function" if wanted else "no function")
    if name in vars(builtins):
        raise SkillError("takes a name of Python's own")
    found = {one.name: one for one in known}
    taken: list[Skill] = []
    body: list[ast.stmt] = []
    for node in tree.body:
        same = found.get(node.name) if isinstance(node, _Function) and node.name != name else None
        if same is not None and _meaning(ast.unparse(node), same.name) == _meaning(same.code, same.name):
            taken.append(same)
        elif isinstance(node, _KEPT):
            body.append(node)
    short = ast.unparse(ast.Module(body, []))
    if len(short) > MOST_CHARACTERS:
        raise SkillError("too long")
    return Written(name=name, code=short, uses=tuple(one.id for one in taken))


def meaning(skill: Written | Skill) -> str:
    """The code without its own name, comments and docstrings: alike for skills that are the same."""
    return _meaning(skill.code, skill.name)


def renamed(skill: Written, taken: Collection[str]) -> Written:
    """The same function under a name that is free: with a number, where another has its name."""
    number, name = 1, skill.name
    while name in taken:
        number += 1
        name = f"{skill.name}_{number}"
    if name == skill.name:
        return skill
    code = ast.unparse(_Renamed(skill.name, name).visit(_parsed(skill.code)))
    return skill.model_copy(update={"name": name, "code": code})


def signature(skill: Skill) -> str:
    """How it is called, such as `larger(a, b)`."""
    functions = [node for node in _parsed(skill.code).body if isinstance(node, _Function) and node.name == skill.name]
    return f"{skill.name}({ast.unparse(functions[0].args)})" if functions else f"{skill.name}(...)"


def together(skills: Iterable[Skill], library: Mapping[str, Skill]) -> str:
    """The code of skills, with that of all that they use before it, each once."""
    parts: dict[str, str] = {}

    def put(skill: Skill) -> None:
        if skill.id not in parts:
            # Noted before what it uses, so that a library that goes in a circle ends too.
            parts[skill.id] = ""
            for id in skill.uses:
                if id in library:
                    put(library[id])
            # Then put after it.
            del parts[skill.id]
            parts[skill.id] = skill.code

    for skill in skills:
        put(skill)
    return "\n\n".join(parts.values())


def about(question: str) -> str:
    """What a function does, in a line, as the task asked for it."""
    first = " ".join(question.strip().partition("\n")[0].split())
    told = re.sub(r"^Write a (?:Python )?function `[^`]*` (?:that )?", "", first)
    return (told or first)[:200]


def asked_for(question: str) -> str:
    """The name of the function that a task asks for, where it is marked as code; else nothing."""
    found = re.search(r"`(?:def )?([A-Za-z_]\w*)\(", question)
    return found[1] if found else ""


def _parsed(code: str) -> ast.Module:
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise SkillError("no Python") from None
    if _depth(tree) > MOST_DEPTH:
        raise SkillError("nested too deeply")
    return tree


def _depth(tree: ast.AST) -> int:
    """How many nodes are within one another; a long sum is a deep tree, and whatever walks it calls itself."""
    depth, within = 0, [tree]
    while within:
        depth, within = depth + 1, [child for node in within for child in ast.iter_child_nodes(node)]
    return depth


def _meaning(code: str, name: str) -> str:
    return ast.dump(_Renamed(name, "_").visit(_bare(_parsed(code))))


def _bare(tree: ast.AST) -> ast.AST:
    """Without docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, _Function) and ast.get_docstring(node) is not None and len(node.body) > 1:
            del node.body[0]
    return tree


class _Renamed(ast.NodeTransformer):
    """Gives a function another name, wherever it is defined or called."""

    def __init__(self, old: str, new: str) -> None:
        self.old, self.new = old, new

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Where it is defined."""
        node.name = self.new if node.name == self.old else node.name
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """Where it is named."""
        node.id = self.new if node.id == self.old else node.id
        return node
