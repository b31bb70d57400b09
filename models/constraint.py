"""Keeps a reply inside a JSON schema, by llguidance's bitmasks over the vocabulary."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch

from quintet.models.errors import ModelError


class Constraint:
    """One sequence's place in its grammar."""

    def __init__(self, matcher: Any, known: int, vocabulary: int) -> None:
        self._matcher = matcher
        self._vocabulary = vocabulary
        self._bits = np.zeros((known + 31) // 32, dtype=np.int32)

    def allowed(self) -> torch.Tensor:
        """Which tokens may come next, `(vocabulary,)` of bool.

        Raises:
            ModelError: The grammar is in a dead end.
        """
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        if self._matcher.is_error():
            raise ModelError(f"constrained decoding stopped: {_line(self._matcher.get_error())}")
        bits = np.unpackbits(self._bits.view(np.uint8), bitorder="little")[: self._vocabulary]
        return torch.from_numpy(bits.astype(np.bool_))

    def advance(self, token: int) -> bool:
        """Take a token; True if the reply is complete and nothing may follow."""
        self._matcher.consume_token(token)
        return bool(self._matcher.is_stopped())


class Constrainer:
    """Compiles schemas for one tokenizer, each once."""

    def __init__(self, tokenizer: Any, vocabulary: int, stops: frozenset[int]) -> None:
        from llguidance.hf import from_tokenizer

        self._vocabulary = vocabulary
        # Either may be the larger: embeddings are padded, and Gemma 3's tokenizer knows a token for images.
        self._known = max(vocabulary, len(tokenizer))
        try:
            self._tokens = from_tokenizer(tokenizer, n_vocab=self._known, eos_token=sorted(stops))
        except Exception as error:
            raise ModelError(f"constrained decoding needs a fast tokenizer: {_line(str(error))}") from error
        self._compiled: dict[str, Any] = {}

    def start(self, schema: dict[str, Any]) -> Constraint:
        """A fresh constraint.

        Raises:
            ModelError: The schema cannot be compiled.
        """
        from llguidance import LLMatcher

        text = json.dumps(schema, sort_keys=True)
        if text not in self._compiled:
            try:
                # Free whitespace lets a small model fill its whole budget with it.
                grammar = LLMatcher.grammar_from_json_schema(closed(schema), overrides={"whitespace_flexible": False})
                matcher = LLMatcher(self._tokens, grammar, log_level=0)
            except ValueError as error:
                raise ModelError(f"JSON schema cannot be used: {_line(str(error))}") from error
            if matcher.is_error():
                raise ModelError(f"JSON schema cannot be used: {_line(matcher.get_error())}")
            self._compiled[text] = matcher
        return Constraint(self._compiled[text].deep_copy(), self._known, self._vocabulary)


def closed(schema: Any) -> Any:
    """The schema without properties that it does not name, where it leaves that open; they would have no end."""
    if not isinstance(schema, dict):
        return schema
    result = dict(schema)
    for key in ("properties", "$defs", "definitions"):
        if isinstance(result.get(key), dict):
            result[key] = {name: closed(inner) for name, inner in result[key].items()}
    for key in ("anyOf", "oneOf", "prefixItems"):
        if isinstance(result.get(key), list):
            result[key] = [closed(inner) for inner in result[key]]
    if "items" in result:
        result["items"] = closed(result["items"])
    if "properties" in result and not {"additionalProperties", "allOf", "patternProperties"} & set(result):
        result["additionalProperties"] = False
    return result


def _line(text: str) -> str:
    return " ".join(text.split())[:200]
