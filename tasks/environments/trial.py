"""Tries a function that a model wrote on inputs, in the sandbox; what is right never goes in there."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from quintet.records import Part
from quintet.tasks import sandbox
from quintet.tasks.settings import SandboxSettings

SHOWN = 200
"""Characters of a result or an error that are told."""

_ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}\b")

# A model's code shares the process with this text and can do what it likes to it: it gains nothing, for all that is
# known here are the inputs, and whatever comes back counts as the function's own results. The mark on each line only
# tells them from what is printed. One reply a call, at once: a call that ends the process costs the later ones alone.
_HARNESS = """
import json, os, sys
given = json.loads(sys.stdin.buffer.read())
channel = os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

def tell(kind, content, dumps=json.dumps, write=os.write, mark=given["mark"]):
    rest = (mark + dumps([kind, content]) + "\\n").encode()
    while rest:
        rest = rest[write(channel, rest):]

def plain(value, depth=0):
    kind = type(value)
    if depth > 20:
        raise TypeError("returned something nested too deeply")
    if kind in (list, tuple):
        return [plain(each, depth + 1) for each in value]
    if kind is dict:
        return [[plain(key, depth + 1), plain(each, depth + 1)] for key, each in value.items()]
    if kind in (int, str, bool, float, type(None)):
        return value
    raise TypeError(f"returned a {kind.__name__}")

def told(error):
    try:
        line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
        said = error.msg if line else str(error)
        return type(error).__name__ + (f": {said}" if said else "") + (f" (line {line})" if line else "")
    except BaseException:
        return "an error that cannot be shown"

space, loads = {"__name__": "solution"}, json.loads
try:
    exec(compile(given["source"], "solution.py", "exec"), space)
    function = space.get(given["name"])
    if not callable(function):
        tell("unusable", f"it has no function called {given['name']}")
        os._exit(0)
except BaseException as error:
    tell("unusable", told(error))
    os._exit(0)
for arguments in given["inputs"]:
    # What draws at random draws the same each time.
    if "random" in sys.modules:
        sys.modules["random"].seed(0)
    try:
        tell("value", plain(function(*loads(arguments))))
    except BaseException as error:
        tell("error", told(error))
os._exit(0)
"""

_LIMITED = {
    "time": "took too long",
    "memory": "took too much memory",
    "output": "wrote too much",
    "killed": "crashed",
    "done": "ended the program",
}


class Tried(Part):
    """What a function did with one input."""

    value: str | None = None
    """What it returned, as JSON; dictionaries are lists of pairs."""
    error: str | None = None
    """Why it returned nothing that can be compared."""


class Trial(Part):
    """What came of code and inputs."""

    unusable: str = ""
    """Why there is no function to try."""
    results: tuple[Tried, ...] = ()
    """One for each input, unless the code is unusable."""


@lru_cache(maxsize=512)
def attempt(source: str, name: str, inputs: tuple[str, ...], settings: SandboxSettings) -> Trial:
    """Call a function on inputs, in a process of its own.

    It is the same for the same arguments, up to what depends on time alone; so it is kept, for episodes are replayed.

    Args:
        source: The code that defines it.
        name: Its name.
        inputs: The arguments of each call, each a JSON list.
        settings: The limits on all calls together.

    Raises:
        SandboxError: No sandbox can be had.
    """
    mark = secrets.token_hex(16)
    given = {"source": source, "name": name, "inputs": inputs, "mark": mark}
    ran = sandbox.run(_HARNESS, settings, json.dumps(given))
    said = [json.loads(line[len(mark) :]) for line in ran.output.splitlines() if _whole(line, mark)]
    if said and said[0][0] == "unusable":
        return Trial(unusable=_short(said[0][1]))
    results = [
        Tried(value=canonical(content)) if kind == "value" else Tried(error=_short(f"raised {content}"))
        for kind, content in said[: len(inputs)]
    ]
    if len(results) < len(inputs):
        why = _LIMITED[ran.ended]
        if not results and ran.ended == "done":
            return Trial(unusable="it ends the program")
        # What follows was not tried.
        results += [Tried(error=why)] * (len(inputs) - len(results))
    return Trial(results=tuple(results))


def canonical(value: Any) -> str:
    """A value as JSON, the same text for the same value and type: 1, 1.0 and true are three."""
    return json.dumps(value, ensure_ascii=False)


def _whole(line: str, mark: str) -> bool:
    """Whether this is a reply, and not cut off; code in the sandbox may also write such lines, in any form."""
    if not line.startswith(mark):
        return False
    try:
        found = json.loads(line[len(mark) :])
    except (ValueError, RecursionError):
        return False
    match found:
        case ["unusable" | "error", str()] | ["value", _]:
            return True
    return False


def _short(text: str) -> str:
    """A text in one line, without what differs from run to run or cannot be shown."""
    plain = _ADDRESS.sub("0x…", " ".join(text.split()))
    plain = "".join(letter if letter.isprintable() else "?" for letter in plain)
    return plain if len(plain) <= SHOWN else plain[: SHOWN - 1] + "…"


def shown(value: Any) -> str:
    """A value as Python writes it, for a person or a model to read."""
    return _short(repr(value))


def passed(results: Sequence[Tried], right: Sequence[Any]) -> bool:
    """Whether all results are what is right."""
    return len(results) == len(right) and all(
        result.value == canonical(value) for result, value in zip(results, right, strict=True)
    )
