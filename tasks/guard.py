"""Keeps verifiers that evaluate an answer as Python, as some in reasoning-gym do, from running it."""

from __future__ import annotations

import ast
import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

_EVALUATING = (
    "reasoning_gym.algorithmic.binary_matrix",
    "reasoning_gym.algorithmic.spiral_matrix",
    "reasoning_gym.algorithmic.string_insertion",
    "reasoning_gym.games.n_queens",
)
"""Modules whose verifiers call `eval` on the answer; a literal is all they need to read."""

_FORBIDDEN = (
    "ctypes.",
    "ftplib.",
    "os.",
    "pty.",
    "shutil.",
    "signal.",
    "socket.",
    "subprocess.",
    "urllib.",
    "webbrowser.",
)
_HARMLESS = ("os.listdir", "os.scandir", "os.walk", "os.fwalk")
"""Events of the import system, which a verifier may use."""

_state = threading.local()
_installed: list[bool] = []


class Forbidden(Exception):  # noqa: N818 - what happened
    """A verifier was about to touch files, processes or the network for an answer's sake."""


def disarm_evaluation() -> None:
    """Make `eval` mean `ast.literal_eval` in the verifiers that use it on answers."""
    for name in _EVALUATING:
        module = sys.modules.get(name)
        if module is not None:
            module.__dict__["eval"] = ast.literal_eval


@contextlib.contextmanager
def watching() -> Iterator[None]:
    """While inside, writing files, starting processes and opening sockets raises `Forbidden` in this thread.

    SymPy's parser, which several verifiers give the answer to, is built on `eval`; an audit hook is the
    fence around it. It is not proof against code written to get around it: the process also has a time limit.
    """
    if not _installed:
        _installed.append(True)
        sys.addaudithook(_audit)
    _state.on = True
    try:
        yield
    finally:
        _state.on = False


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not getattr(_state, "on", False):
        return
    if event == "open":
        mode, flags = arguments[1], arguments[2]
        writes = isinstance(mode, str) and any(letter in mode for letter in "wax+")
        if writes or (mode is None and isinstance(flags, int) and flags & 3):
            raise Forbidden(f"an answer tried to write {arguments[0]!r:.80}")
    elif event.startswith(_FORBIDDEN) and event not in _HARMLESS:
        raise Forbidden(f"an answer tried {event}")
