"""What a record is: a frozen fact whose id is a hash of what it says and of the records that it came from."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict

BASE = "base"
"""The name of the model without an adapter, wherever an adapter's id is expected."""

TEMPORARY = "temporary-"
"""How the names of adapters begin that were made for one use and deleted: no record stands behind them."""

GREEDY = "greedy"
"""The strategy by which evaluations are answered unless another is named."""

EVALUATION = "evaluation"
"""The role in whose name evaluation items are asked."""

SCORED = "scored"
"""Option of a call that generated nothing, and asked the log-probabilities of tokens that were given."""

Split = Literal["train", "steer", "gate", "retention", "final"]
"""Who may see a question. A canonical question belongs to one split under every seed."""

Suite = Literal["steer", "gate", "retention", "final"]
"""The splits that are evaluated."""

Verdict = Literal["accept", "revise", "reject"]
"""What a judge at the table asks for; the strictest wins: reject > revise > accept."""

By = Literal["rule", "model"]
"""Who made a choice: a rule of ours or the model itself."""


class Parent:
    """Marks a record's field as the id (or ids) of records that it came from."""


Link = Annotated[str, Parent()]
MaybeLink = Annotated[str | None, Parent()]
Links = Annotated[tuple[str, ...], Parent()]


class Part(BaseModel):
    """A frozen value inside a record; it has no id of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Record(Part):
    """A frozen fact with a deterministic id."""

    kind: ClassVar[str]
    """The name under which the ledger keeps this type, and the prefix of its ids."""
    later: ClassVar[frozenset[str]] = frozenset()
    """Fields that earlier versions lacked: at their default they are no part of the id, so old ledgers keep ids."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Name the kind after the class and enter it in the table of kinds."""
        super().__pydantic_init_subclass__(**kwargs)
        cls.kind = cls.__name__.lower()
        KINDS[cls.kind] = cls

    def identity(self) -> dict[str, Any]:
        """The content that the id is a hash of; all of it unless a subclass says otherwise."""
        fields = type(self).model_fields
        idle = {name for name in self.later if getattr(self, name) == fields[name].default}
        return self.model_dump(mode="json", exclude=idle)

    @cached_property
    def id(self) -> str:
        """`kind-` and 16 hex digits of the SHA-256 of the identity."""
        return f"{self.kind}-{digest(self.identity())[:16]}"

    @property
    def parents(self) -> tuple[str, ...]:
        """Ids of the records that this one came from, in field order; the base model and what is gone are none."""
        found: list[str] = []
        for name, field in type(self).model_fields.items():
            if any(isinstance(mark, Parent) for mark in field.metadata):
                value = getattr(self, name)
                found.extend((value,) if isinstance(value, str) else value or ())
        return tuple(dict.fromkeys(id for id in found if id != BASE and not id.startswith(TEMPORARY)))

    @classmethod
    def parse(cls, kind: str, body: str | bytes) -> Record:
        """The record of this kind from its JSON body.

        Raises:
            KeyError: No record has this kind.
            pydantic.ValidationError: The body is not such a record.
        """
        return KINDS[kind].model_validate_json(body)

    def with_(self, **changes: Any) -> Self:
        """A validated copy with other values in some fields (and so another id)."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**fields, **changes})


KINDS: dict[str, type[Record]] = {}


def digest(value: Any) -> str:
    """SHA-256, in hex, of a JSON value with sorted keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
