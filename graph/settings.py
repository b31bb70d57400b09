"""The settings of a run, composed from those of the rooms: TOML, environment, `--set`."""

from __future__ import annotations

import copy
import difflib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from quintet.agents.settings import AgentSettings
from quintet.evaluation.settings import EvaluationSettings
from quintet.graph.budget import BudgetSettings
from quintet.graph.errors import SettingsError
from quintet.memory.settings import MemorySettings
from quintet.models.providers import ChatSettings
from quintet.models.settings import ModelSettings, VllmSettings
from quintet.plugins import dotted
from quintet.tasks.settings import TaskSettings
from quintet.training.settings import TrainingSettings

PREFIX = "QUINTET_"
NOT_SETTINGS = {"QUINTET_WORKSPACE", "QUINTET_CACHE", "QUINTET_CHROMA_TOKEN", "QUINTET_CONFIG"}
"""Variables of the environment that begin like settings and are none."""


class Settings(AgentSettings):
    """Everything that determines a run, its code aside."""

    name: str = Field("run", pattern=r"^[a-z0-9][a-z0-9-]*$")
    """What the run is called; a number is added."""
    seed: int = Field(0, ge=0)
    """Seed of everything random: same seed, same ledger (on the same machine)."""
    rounds: int = Field(3, gt=0)
    """Rounds of the lifecycle."""
    join: tuple[str, ...] = ()
    """Roles and task families that join, as `FILE.py:CLASS`, or as `PACKAGE.MODULE:CLASS` of what is installed, such as
    `quintet.agents.reflector:Reflector`; relative paths start where the command is run, and are kept as absolute
    ones."""
    replays: str = ""
    """A run of the same workspace whose recorded model calls answer wherever the same is asked (`quintet replay`)."""
    approve: bool = False
    """Whether to stop and ask before each training."""
    budget: BudgetSettings = BudgetSettings()
    """What the run may take at most."""
    model: ModelSettings = ModelSettings()
    """The model that plays the roles."""
    vllm: VllmSettings = VllmSettings()
    """The server that serves it where `model.engine` is vLLM."""
    chats: dict[str, ChatSettings] = Field(default_factory=dict)
    """Chat models that roles may speak through by `chat = NAME`, instead of the one that is trained."""
    tasks: TaskSettings = TaskSettings()
    """Task families and their verifiers."""
    memory: MemorySettings = MemorySettings()
    """Ledger and recall."""
    training: TrainingSettings = TrainingSettings()
    """How rows become an adapter."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """Suites, gate and monitors."""

    @field_validator("join")
    @classmethod
    def _from_anywhere(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        # A run is resumed from whatever folder; a file of that name may be another one there.
        found = [(file, name) for file, _, name in (one.rpartition(":") for one in given)]
        return tuple(
            f"{file if dotted(file) else Path(file).absolute()}:{name}" if file else name for file, name in found
        )

    @model_validator(mode="after")
    def _something_is_practised(self) -> Self:
        if not self.proposer.families:
            raise ValueError("proposer.families is empty: name what is to be practised; quintet tasks lists it")
        return self

    @model_validator(mode="after")
    def _what_is_shared_out_is_measured(self) -> Self:
        learning = [f"{role}.allocate" for role in ("proposer", "curator") if getattr(self, role).allocate]
        if learning:
            if not self.evaluation.steer_items:
                raise ValueError(f"{learning[0]} learns from the steer suite, and evaluation.steer_items is 0")
            if missing := [name for name in self.proposer.families if name not in self.evaluation.families]:
                raise ValueError(
                    f"{learning[0]} learns from the steer suite, which has no items of {missing[0]}: "
                    "name it in evaluation.families too"
                )
        return self

    @model_validator(mode="after")
    def _chats_are_there(self) -> Self:
        for role, own in self.speaking().items():
            if own.chat and own.chat not in self.chats:
                there = ", ".join(sorted(self.chats)) or "none"
                raise ValueError(
                    f"{role}.chat = {own.chat!r}, but the chats are: {there}; describe it under [chats.{own.chat}]"
                )
        return self

    @classmethod
    def load(
        cls, path: str | Path, overrides: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> Self:
        """Settings from a TOML file, then the environment, then `KEY=VALUE` overrides, the last one winning.

        Args:
            path: A TOML file.
            overrides: As given to `--set`: a dotted key and a TOML value, such as `solver.samples=4`.
            environment: Variables `QUINTET_SOLVER__SAMPLES=4` (two underscores for a dot); the process's own if `None`.

        Raises:
            SettingsError: No such file, no TOML, an unknown key or a wrong value.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"config {path}: {getattr(error, 'strerror', None) or error}") from error
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"config {path}: {error}") from error
        places = {key: f"{path}{_line(text, key)}" for key in _leaves(values)}
        for key, value, place in _given(overrides, os.environ if environment is None else environment):
            _put(values, key, value, place)
            places[key] = place
        return cls.compose(values, places)

    @classmethod
    def of_run(cls, given: Mapping[str, Any], overrides: Sequence[str] = ()) -> Self:
        """Settings as the ledger keeps them with a run.

        Args:
            given: What the ledger keeps.
            overrides: What is to be otherwise, as for `load`.

        Raises:
            SettingsError: They are another version's, or what is to be otherwise does not fit.
        """
        values = copy.deepcopy({key: value for key, value in given.items() if key not in ("joined", "data")})
        places = {}
        for key, value, place in _given(overrides, {}):
            _put(values, key, value, place)
            places[key] = place
        return cls.compose(values, places)

    @classmethod
    def compose(cls, values: dict[str, Any], places: Mapping[tuple[str, ...], str] | None = None) -> Self:
        """Settings from nested values.

        Args:
            values: As read from TOML.
            places: Where each key was given, for messages.

        Raises:
            SettingsError: An unknown key or a wrong value.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError(_explain(cls, error, places or {})) from error


def _given(overrides: Sequence[str], environment: Mapping[str, str]) -> list[tuple[tuple[str, ...], Any, str]]:
    """Keys and values from the environment and from `--set`, with where each stands."""
    found = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in NOT_SETTINGS:
            key = tuple(name[len(PREFIX) :].lower().split("__"))
            found.append((key, _value(environment[name]), f"environment variable {name}"))
    for override in overrides:
        dotted, equals, value = override.partition("=")
        if not equals or not dotted.strip():
            raise SettingsError(f"--set {override}: expected KEY=VALUE, such as solver.samples=4")
        found.append((tuple(dotted.strip().split(".")), _value(value), f"--set {override}"))
    return found


def _value(text: str) -> Any:
    """A TOML value, or the text itself where it is none."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(values: dict[str, Any], key: tuple[str, ...], value: Any, place: str) -> None:
    for part in key[:-1]:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise SettingsError(f"{'.'.join(key)} ({place}): {part} is no section")
    values[key[-1]] = value


def _leaves(values: Mapping[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, value in values.items():
        found.append((*above, name))
        if isinstance(value, Mapping):
            found += _leaves(value, (*above, name))
    return found


def _line(text: str, key: tuple[str, ...]) -> str:
    """`:LINE` of a key in TOML text, found by its name within its section."""
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line)
        if header:
            section = header[1].replace(" ", "").replace('"', "")
            if section == ".".join(key):
                return f":{number}"
        name = re.match(r'\s*"?([\w.-]+)"?\s*=', line)
        if name and ".".join(filter(None, (section, name[1]))) == ".".join(key):
            return f":{number}"
    return ""


def _explain(model: type[BaseModel], error: ValidationError, places: Mapping[tuple[str, ...], str]) -> str:
    """The first thing wrong, in one line: what, where, and the nearest right name."""
    first = error.errors()[0]
    location = tuple(str(part) for part in first["loc"])
    # The deepest key that somebody wrote: an error inside a list or a default has no place of its own.
    written = next((location[:n] for n in range(len(location), 0, -1) if location[:n] in places), location)
    if written not in places:
        # Or a key inside of it, where a whole section is unknown.
        written = next((key for key in places if key[: len(location)] == location), location)
    place = f" ({places[written]})" if written in places else ""
    if first["type"] != "extra_forbidden":
        given = first.get("input")
        value = f", not {given!r}" if isinstance(given, str | int | float | bool) else ""
        # Of "Input should be a valid integer, unable to parse string as an integer" the first half says it.
        message = first["msg"].removeprefix("Value error, ").partition(", unable to parse")[0]
        if not location:
            # Several settings that do not fit together; the message names them.
            return f"settings: {message}"
        return f"setting {'.'.join(location)}{place}: {message[0].lower()}{message[1:]}{value}"
    names = _names(model, location[:-1])
    near = difflib.get_close_matches(location[-1], names, 1)
    if near:
        hint = f"did you mean {'.'.join((*location[:-1], near[0]))}?"
    else:
        everywhere = [".".join(key) for key in _all_keys(model)]
        far = [key for key in everywhere if key.endswith(f".{location[-1]}")]
        hint = f"did you mean {far[0]}?" if far else f"there are {', '.join(sorted(names))}"
    return f"unknown setting {'.'.join(location)}{place}; {hint}"


def _names(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The keys of the section at a path; none where it holds no section."""
    parts = list(path)
    while parts:
        field = model.model_fields.get(parts.pop(0))
        within, named = section(field.annotation) if field else (None, False)
        if within is None:
            return []
        if named and parts:
            # A table of sections with names of the user's own, such as `chats.judge`.
            parts.pop(0)
        model = within
    return list(model.model_fields)


def section(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The settings model that a field holds, if it is a section, and whether it holds several under names."""
    named = get_origin(annotation) is dict
    inner = get_args(annotation)[1] if named else annotation
    return (inner, named) if isinstance(inner, type) and issubclass(inner, BaseModel) else (None, False)


def _all_keys(model: type[BaseModel], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, field in model.model_fields.items():
        found.append((*above, name))
        within, named = section(field.annotation)
        if within is not None:
            found += _all_keys(within, (*above, name, "NAME") if named else (*above, name))
    return found
