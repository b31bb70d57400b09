"""Writes the reference of all settings from the models themselves: `python -m quintet.graph.describing`.

The docstring under each field is its description, so that code and page cannot drift apart.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from quintet.graph.settings import Settings, section

HEAD = """\
# Settings

<!-- Written by `make docs` from the settings' own docstrings; edit those. -->

A config is a TOML file; every key may also be given by `--set section.key=VALUE` or by the environment as
`QUINTET_SECTION__KEY` (two underscores for a dot). The last one wins, and an unknown key is refused with the nearest
right name. `quintet show RUN --json` prints the settings of a run.

"""


def page() -> str:
    """The reference as Markdown: a section each, its keys with type, default and description."""
    return HEAD + "\n".join(_sections(Settings, ()))


def _sections(model: type[BaseModel], path: tuple[str, ...], heading: str = "") -> Iterator[str]:
    own = {name: field for name, field in model.model_fields.items() if section(field.annotation)[0] is None}
    if path:
        yield f"## `[{'.'.join(path)}]`\n"
        yield f"{heading}\n"
    else:
        yield "## At the top\n"
    if own:
        yield "| key | type | default | what it is |\n| --- | --- | --- | --- |"
        for name, field in own.items():
            yield f"| `{name}` | {_type(field)} | {_default(field)} | {_cell(field.description or '')} |"
        yield ""
    for name, field in model.model_fields.items():
        inner, named = section(field.annotation)
        if inner is not None:
            deeper = (*path, name, "NAME") if named else (*path, name)
            yield from _sections(inner, deeper, " ".join((field.description or "").split()))


def _type(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {value}"
        for mark in _marks(field)
        for sign, name in ((">", "gt"), ("≥", "ge"), ("<", "lt"), ("≤", "le"))
        if (value := getattr(mark, name, None)) is not None
    ]
    return _cell(", ".join([_name(field.annotation), *bounds]))


def _marks(field: FieldInfo) -> list[Any]:
    inner = [mark for part in get_args(field.annotation) for mark in getattr(part, "__metadata__", ())]
    found: list[Any] = []
    for mark in [*field.metadata, *inner]:
        found += getattr(mark, "metadata", None) or [mark]
    return found


def _name(annotation: Any) -> str:
    """A type as a config's author thinks of it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return _name(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is tuple:
        return f"list of {_name(arguments[0])}"
    if origin is dict:
        return f"table of {_name(arguments[1])}"
    if arguments:
        return " or ".join(_name(one) for one in arguments if one is not type(None))
    return {str: "text", int: "whole number", float: "number", bool: "true or false"}.get(annotation, "any value")


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True) if not field.is_required() else PydanticUndefined
    if value is PydanticUndefined:
        return "(must be given)"
    if value is None:
        return "none"
    text = json.dumps(value, ensure_ascii=False)
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
