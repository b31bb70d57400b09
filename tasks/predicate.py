"""The check that is a Python function of the user's own, loaded from a file."""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from quintet.tasks.checks import Check, normal
from quintet.tasks.errors import TaskError
from quintet.tasks.settings import DatasetSettings
from quintet.tasks.tables import Row
from quintet.tasks.truths import decode, encode


class Predicate(Check):
    """Whatever a Python function says."""

    whole = True

    def __init__(self, settings: DatasetSettings) -> None:
        super().__init__(settings)
        file, _, self._name = settings.predicate.rpartition(":")
        self._file = Path(file).absolute()
        self._function: Callable[[dict[str, Any], str], float] | None = None
        self.digest = _digest(_defined(settings.predicate, self._file, self._name))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_function": None}

    def columns(self) -> set[str]:
        """None: only the function knows what it reads."""
        return set()

    def truth(self, row: Row) -> dict[str, Any]:
        """The whole row."""
        try:
            return {"row": encode(dict(row.cells))}
        except TypeError as error:
            raise row.wrong(str(error)) from error

    def key(self, truth: dict[str, Any]) -> str:
        """What stands in the answer's column, if there is one: the others may count or name the rows."""
        row = truth["row"]
        answer = self.settings.answer
        return normal(json.dumps(row[answer], sort_keys=True)) if answer in row else ""

    def content(self, truth: dict[str, Any]) -> str:
        """The whole row: a function may look at any of it."""
        return json.dumps(truth["row"], sort_keys=True)

    def prepare(self) -> None:
        """Run the file, in the worker process only."""
        self._function = self._loaded()

    def _loaded(self) -> Callable[[dict[str, Any], str], float]:
        if self._function is not None:
            return self._function
        where = self.settings.predicate
        code = _source(where, self._file)
        if _digest(code) != self.digest:
            raise TaskError(f"predicate {where} changed since the run began: leave it alone, or start anew")
        module = ModuleType(f"quintet_predicate_{self._file.stem}")
        module.__file__ = str(self._file)
        try:
            # The very bytes whose digest was taken, not whatever the file or a cache of it holds a moment later.
            exec(compile(code, self._file, "exec", dont_inherit=True), module.__dict__)  # noqa: S102
            function: Callable[[dict[str, Any], str], float] = getattr(module, self._name)
        except Exception as error:
            raise TaskError(f"predicate {where} cannot be loaded: {type(error).__name__}: {error}") from error
        if not callable(function):
            raise TaskError(f"predicate {where} is a {type(function).__name__}, not a function")
        return function

    def score(self, truth: dict[str, Any], answer: str) -> float:
        """What the function returns."""
        found = self._loaded()(decode(truth["row"]), answer)
        if isinstance(found, str) or not hasattr(found, "__float__"):
            raise TaskError(
                f"predicate {self.settings.predicate} returned {found!r:.60}: true, false or 0 to 1 is right"
            )
        return float(found)


def _digest(code: bytes) -> str:
    return hashlib.blake2b(code, digest_size=16).hexdigest()


def _source(predicate: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise TaskError(f"predicate {predicate}: {file}: {error.strerror}") from error


def _defined(predicate: str, file: Path, name: str) -> bytes:
    """The file's bytes; a predicate that is not in it is refused, without running anything."""
    code = _source(predicate, file)
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise TaskError(f"predicate {predicate}: {file.name}{f':{line}' if line else ''}: {error}") from error
    known: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=found) | ast.ClassDef(name=found) | ast.Name(id=found, ctx=ast.Store()):
                known.add(found)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                known.update(alias.asname or alias.name for alias in aliases)
    if name not in known and "*" not in known:
        near = difflib.get_close_matches(name, known, 1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else "define it at the top of the file"
        raise TaskError(f"predicate {predicate}: {file.name} defines no {name!r}; {hint}")
    return code
