"""What a config lets join from files: roles and task families."""

from __future__ import annotations

from dataclasses import dataclass, field

from quintet.agents.roles import EpisodeRole, Role, RoundRole
from quintet.graph.errors import LoopError
from quintet.graph.settings import Settings
from quintet.plugins import from_file
from quintet.tasks.family import TaskFamily


@dataclass(frozen=True)
class Joined:
    """Who joins."""

    settings: Settings
    roles: list[Role] = field(default_factory=list)
    tasks: list[TaskFamily] = field(default_factory=list)


def joining(settings: Settings) -> Joined:
    """The roles and families that the setting `join` names.

    Raises:
        PluginError: There is no such file or class.
        LoopError: It is neither a role nor a family.
    """
    found = Joined(settings)
    for given in settings.join:
        plugin = from_file(given, "join")
        kinds = (EpisodeRole, RoundRole, TaskFamily)
        one = plugin.found
        if isinstance(one, type) and issubclass(one, kinds):
            one = _made(one, given)
        match one:
            case EpisodeRole() | RoundRole():
                found.roles.append(one)
            case TaskFamily():
                found.tasks.append(one)
            case _:
                raise LoopError(f"join {given}: neither an EpisodeRole, a RoundRole nor a TaskFamily")
    return found


def _made(kind: type, given: str) -> object:
    try:
        return kind()
    except TypeError as error:
        raise LoopError(f"join {given}: it cannot be made without arguments: {error}") from error
