"""Finds what users plug in: by an entry point of an installed package, or by `FILE.py:NAME`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from quintet.errors import QuintetError


class PluginError(QuintetError):
    """What is plugged in cannot be found or used; the message says which, and what would be right."""


@dataclass(frozen=True)
class Plugin:
    """Something plugged in."""

    name: str
    source: str
    """Where it comes from, for messages."""
    found: Any
    """A class, function or object."""

    def made(self, *arguments: Any) -> Any:
        """An instance, where it is a class; else itself.

        Raises:
            PluginError: It cannot be made.
        """
        try:
            return self.found(*arguments) if isinstance(self.found, type) else self.found
        except Exception as error:
            # Its constructor is somebody else's code.
            raise PluginError(f"{self.source} cannot be made: {type(error).__name__}: {error}") from error


def plugins(group: str) -> Iterator[Plugin]:
    """All that installed packages bring to an entry-point group, by name.

    Raises:
        PluginError: One does not load.
    """
    for point in _points(group).values():
        yield _loaded(point, group)


def installed(group: str) -> Iterator[tuple[str, Plugin | PluginError]]:
    """The same with their names, to be listed: of one that does not load, the error."""
    for name, point in _points(group).items():
        try:
            yield name, _loaded(point, group)
        except PluginError as error:
            yield name, error


def names(group: str) -> list[str]:
    """The names in an entry-point group, sorted; nothing is imported."""
    return list(_points(group))


def plugin(group: str, name: str, what: str) -> Plugin:
    """The entry of a group with this name.

    Args:
        group: The entry-point group.
        name: As a config or a command line gives it.
        what: What it is, for the message.

    Raises:
        PluginError: There is none, or it does not load.
    """
    points = _points(group)
    if name not in points:
        near = get_close_matches(name, points, n=1)
        known = f"there are {', '.join(points)}" if points else "none is installed"
        hint = f"did you mean {near[0]!r}?" if near else known
        raise PluginError(f"{what} {name!r} is unknown: {hint}")
    return _loaded(points[name], group)


def dotted(module: str) -> bool:
    """Whether this names a module of a package, such as `quintet.agents.reflector`, and no file."""
    return "." in module and not module.endswith(".py") and all(part.isidentifier() for part in module.split("."))


def from_file(given: str, option: str) -> Plugin:
    """What `FILE.py:NAME` names, or `PACKAGE.MODULE:NAME` of an installed package.

    The file is imported under its own name, with its folder on the path, so that other processes can import it too.

    Args:
        given: As typed.
        option: The option that it was typed for, for messages.

    Raises:
        PluginError: There is no such file or name, or it does not load.
    """
    file, colon, name = given.rpartition(":")
    if dotted(file):
        return _from_module(file, name, f"{option} {given}")
    path = Path(file).resolve()
    if not colon or path.suffix != ".py":
        raise PluginError(f"{option} {given}: expected FILE.py:NAME, such as skeptic.py:Skeptic")
    if not path.is_file():
        raise PluginError(f"{option} {given}: there is no file {file}")
    if not path.stem.isidentifier():
        raise PluginError(f"{option} {given}: {path.name} cannot be imported; rename it to letters, digits and _")
    if str(path.parent) not in sys.path:
        # Last, so that a file beside it stands in no library's way.
        sys.path.append(str(path.parent))
    try:
        module = importlib.import_module(path.stem)
    except Exception as error:
        raise PluginError(f"{option} {given}: {path.name} does not load: {type(error).__name__}: {error}") from error
    if Path(module.__file__ or "").resolve() != path:
        raise PluginError(f"{option} {given}: another module is called {path.stem}; rename the file")
    if not hasattr(module, name):
        raise PluginError(f"{option} {given}: {path.name} has nothing called {name}")
    return Plugin(name, f"{file}:{name}", getattr(module, name))


def _from_module(name: str, within: str, given: str) -> Plugin:
    try:
        module = importlib.import_module(name)
    except Exception as error:
        raise PluginError(f"{given}: {name} does not load: {type(error).__name__}: {error}") from error
    if not hasattr(module, within):
        raise PluginError(f"{given}: {name} has nothing called {within}")
    return Plugin(within, f"{name}:{within}", getattr(module, within))


def _points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.name)}


def _loaded(point: EntryPoint, group: str) -> Plugin:
    source = f"entry point {point.name} = {point.value} ({group})"
    try:
        return Plugin(point.name, source, point.load())
    except Exception as error:
        # Any package may stand here, with errors of its own.
        raise PluginError(f"{source} does not load: {type(error).__name__}: {error}") from error
