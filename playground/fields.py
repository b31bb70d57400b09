"""The fields of a record as a reader sees them: texts as texts, ids as links, numbers in words, long lists counted."""

from __future__ import annotations

import json
from typing import Any, Literal

from quintet.playground.rendering import figure, points, probability, signed
from quintet.records import Message, Parent, Part, Recalled, Record, Task

SHORT = 70
"""Characters of a text that still goes into a line."""

LABELS = {"p_value": "p-value", "won": "items won", "lost": "items lost"}

TEXTS = ("question", "text", "completion", "feedback", "query", "content")
"""Fields that are texts, however short."""

EFFECTS = ("effect", "effect_low", "effect_high")

Form = Literal["word", "text", "ids", "messages", "numbers", "words", "pairs", "truth", "recalled", "nested", "table"]


class Field(Part):
    """A field of a record."""

    name: str
    label: str
    """Its name in words."""
    note: str
    """What it means, from the record's own documentation."""
    form: Form
    value: Any
    """By form: a word or text; ids; messages; numbers; words; pairs of label and word, or of label and JSON value; of a
    table the names of its columns, and of each row its name and words."""

    @property
    def block(self) -> bool:
        """Whether it needs more than a line."""
        return self.form in ("text", "messages", "truth", "recalled", "nested", "pairs", "table")


def fields(record: Record, without: tuple[str, ...] = ()) -> tuple[Field, ...]:
    """A record's fields in their order, but for those without a value and those named."""
    found = []
    for name, declared in type(record).model_fields.items():
        value = getattr(record, name)
        if name in without or value in ((), {}, ""):
            continue
        linked = any(isinstance(mark, Parent) for mark in declared.metadata)
        form, shown = ("ids", _ids(value)) if linked else _shown(record, name, value)
        note = " ".join((declared.description or "").replace("`", "").split())
        found.append(Field(name=name, label=label(name), note=note, form=form, value=shown))
    return tuple(found)


def label(name: str) -> str:
    """A field's name in words."""
    return LABELS.get(name) or name.replace("_", " ")


def word(name: str, value: Any) -> str:
    """A single value in a word."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case float() if name in EFFECTS:
            return f"{points(value)} points"
        case float() if name == "p_value":
            return probability(value)
        case float() if name.endswith("loss"):
            return signed(value).removeprefix("+")
        case int() | float():
            return figure(value)
        case dict() | list():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)


def _ids(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


def _shown(record: Record, name: str, value: Any) -> tuple[Form, Any]:
    if isinstance(record, Task) and name == "truth":
        return "truth", value
    match value:
        case str() if len(value) > SHORT or "\n" in value or name in TEXTS:
            return "text", value
        case tuple() if all(isinstance(one, Message) for one in value):
            return "messages", value
        case tuple() if all(isinstance(one, int | float) for one in value):
            return "numbers", value
        case tuple() if all(isinstance(one, str) for one in value):
            return "words", value
        case tuple() if all(isinstance(one, Recalled) for one in value):
            return "recalled", value
        case tuple():
            return "nested", [one.model_dump(mode="json") if isinstance(one, Part) else one for one in value]
        case dict() if all(isinstance(one, dict) for one in value.values()):
            columns = list(dict.fromkeys(key for one in value.values() for key in one))
            rows = [(name, [word(key, one.get(key)) for key in columns]) for name, one in value.items()]
            return "table", ([label(key) for key in columns], rows)
        case dict():
            return "pairs", tuple((key, word(key, one)) for key, one in value.items())
        case _:
            return "word", word(name, value)
