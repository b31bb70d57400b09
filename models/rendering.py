"""Turns a request into token ids and tokens into text: the same for every engine, so that all are asked the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quintet.models.errors import ModelError
from quintet.models.prompts import render, stop_tokens
from quintet.models.requests import Request
from quintet.records import Message

SMALL_TALK = (Message(role="user", content="Say something about the sea, the wind and 12 boats."),)
"""A conversation by which a model's habits are found."""


class Renderer:
    """One model's way from messages to tokens and back."""

    def __init__(self, tokenizer: Any, config: Any, generation: Any) -> None:
        """Take what a model was published with.

        Args:
            tokenizer: What `load_tokenizer` returned.
            config: The text model's `config`.
            generation: Its `generation_config`, if it has one.
        """
        self.tokenizer, self._config = tokenizer, config
        self.stops = stop_tokens(tokenizer, generation)
        """Tokens that end a reply."""

    @property
    def vocabulary(self) -> int:
        """Rows of the model's embedding."""
        return int(self._config.vocab_size)

    def prompt(self, request: Request) -> list[int]:
        """The tokens that a reply continues.

        Raises:
            ModelError: The template refuses the messages, or the tokenizer is another model's.
        """
        tokens = render(self.tokenizer, request.messages) if request.messages else self._nothing()
        if max(tokens, default=0) >= self.vocabulary:
            raise ModelError(
                f"the prompt holds token {max(tokens)}, the model's vocabulary ends at {self.vocabulary - 1}; "
                "the tokenizer is another model's"
            )
        return tokens

    def given(self, request: Request) -> list[int]:
        """The tokens that are to be scored.

        Raises:
            ModelError: The model has no such token.
        """
        if isinstance(request.given, tuple):
            tokens = list(request.given)
        else:
            tokens = self.tokenizer(request.given, add_special_tokens=False)["input_ids"]
        if odd := [token for token in tokens if not 0 <= token < self.vocabulary]:
            raise ModelError(f"token {odd[0]} is to be scored, the model's vocabulary ends at {self.vocabulary - 1}")
        return tokens

    def fits(self, length: int, new: int) -> None:
        """See that a prompt and what is to follow it are within the model's context.

        Args:
            length: Of the prompt, in tokens.
            new: Most tokens that follow.

        Raises:
            ModelError: They are not.
        """
        limit = getattr(self._config, "max_position_embeddings", None) or length + new
        if length + new > limit:
            raise ModelError(f"prompt of {length} tokens and {new} new ones exceed the model's {limit}")

    def text(self, tokens: Sequence[int]) -> str:
        """What a reply's tokens say."""
        # The end of the turn need not be a special token, and no space may be tidied away: replies may be JSON.
        said = tokens[:-1] if tokens and tokens[-1] in self.stops else tokens
        text: str = self.tokenizer.decode(said, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def _nothing(self) -> list[int]:
        """What stands before a text that answers nothing: what begins every text, and what opens a reply."""
        asked, opened = (render(self.tokenizer, SMALL_TALK, reply) for reply in (False, True))
        opening = opened[len(asked) :] if opened[: len(asked)] == asked else []
        first = self.tokenizer.bos_token_id
        if first is not None and opening[:1] != [first] and (opened[:1] == [first] or not opening):
            opening = [first, *opening]
        return opening or [self.tokenizer.eos_token_id]
