"""Turns messages into a prompt's tokens by the model's chat template: one way for the engine and for training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from quintet.models.errors import ModelError
from quintet.records import Message

# Templates that tell the model today's date would give another prompt tomorrow than the one that was trained on. The
# line break at its end, which transformers trims, leaves what follows as it would be at a template's beginning.
_DATE = (
    "{%- macro strftime_now(format) -%}{%- if '%m' in format -%}2024-07-26{%- elif '%B' in format -%}26 July 2024"
    "{%- else -%}26 Jul 2024{%- endif -%}{%- endmacro %}\n"
)
_MARKS = ("firstmark", "secondmark", "thirdmark", "fourthmark")


class Habits(NamedTuple):
    """What a chat template takes, found by trying it."""

    system: bool
    """Whether a system message is taken; some templates raise, and some drop it without a word."""
    repeats: bool
    """Whether several messages of one role may follow one another."""
    end: int | None
    """Token that ends an assistant's turn; none where a turn has no end of its own."""


def read_template(given: str) -> str:
    """The text of a chat template.

    Args:
        given: The text itself, or the path of its file.

    Raises:
        ModelError: It is neither.
    """
    if "{{" in given or "{%" in given or not given:
        return given
    path = Path(given).expanduser()
    try:
        return path.read_text()
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model.chat_template = {given!r} is neither a Jinja text (no '{{{{' in it) nor a file to be read: {error}"
        ) from error


def load_tokenizer(folder: Path, name: str, template: str = "") -> Any:
    """A model's tokenizer, ready to render conversations.

    Args:
        folder: Where the model lies.
        name: What it is called, for messages.
        template: Text of a chat template that replaces the model's own.

    Raises:
        ModelError: It does not load, or cannot chat.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise ModelError(f"tokenizer of {name!r} in {folder} does not load: {_line(error)}") from error
    if not (template or tokenizer.chat_template):
        raise ModelError(
            f"model {name!r} in {folder} has no chat template; take an instruct model, or give it one: "
            'model.chat_template = "PATH or text"'
        )
    try:
        text = template or tokenizer.get_chat_template()
        tokenizer.chat_template = _DATE + text if "strftime_now" in text else text
        _text(tokenizer, [{"role": "user", "content": _MARKS[0]}], reply=True)
    except Exception as error:
        raise ModelError(f"the chat template of model {name!r} cannot be used: {_line(error)}") from error
    if end_of_turn(tokenizer) is None:
        raise ModelError(
            f"model {name!r} in {folder} has no token that ends a turn: its chat template writes none after a reply "
            "and its tokenizer has no eos_token; set one in tokenizer_config.json"
        )
    return tokenizer


def render(tokenizer: Any, messages: Sequence[Message], reply: bool = True) -> list[int]:
    """Token ids of a conversation under the model's chat template.

    Where the template refuses or drops a system message, it becomes the beginning of the user's; where it refuses two
    messages of one role in a row, they become one.

    Args:
        tokenizer: What `load_tokenizer` returned.
        messages: The conversation.
        reply: Whether the prompt ends where the model's reply begins, or, where the assistant has the last word, where
            that is to be gone on with.

    Raises:
        ModelError: The template refuses the conversation.
    """
    habits = _habits(tokenizer, str(tokenizer.chat_template))
    chat = [message.model_dump() for message in messages]
    if not habits.system:
        chat = [{**message, "role": "user"} if message["role"] == "system" else message for message in chat]
    if not (habits.system and habits.repeats):
        chat = [
            {"role": role, "content": "\n\n".join(message["content"] for message in run)}
            for role, run in groupby(chat, key=lambda message: message["role"])
        ]
    try:
        text = _text(tokenizer, chat, reply)
    except Exception as error:
        raise ModelError(f"the chat template refuses these messages: {_line(error)}") from error
    # The template writes what begins a text itself; the tokenizer would write it again.
    tokens: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return tokens


def end_of_turn(tokenizer: Any) -> int | None:
    """The token with which the template ends an assistant's turn; the tokenizer's end of text where it has none."""
    end = _habits(tokenizer, str(tokenizer.chat_template)).end
    return tokenizer.eos_token_id if end is None else end


def stop_tokens(tokenizer: Any, generation: Any) -> frozenset[int]:
    """All tokens at which a reply ends.

    Args:
        tokenizer: What `load_tokenizer` returned.
        generation: The model's `generation_config`, if it has one.
    """
    named = generation.eos_token_id if generation is not None else None
    found = {end_of_turn(tokenizer), tokenizer.eos_token_id, *(named if isinstance(named, list | tuple) else [named])}
    return frozenset(token for token in found if token is not None)


def _text(tokenizer: Any, chat: Sequence[dict[str, str]], reply: bool) -> str:
    begun = reply and chat[-1]["role"] == "assistant"
    text: str = tokenizer.apply_chat_template(
        chat, tokenize=False, add_generation_prompt=reply and not begun, continue_final_message=begun
    )
    return text


@lru_cache(maxsize=8)
def _habits(tokenizer: Any, template: str) -> Habits:
    """Found once; the template is part of the key, since a tokenizer may be given another."""
    system = _takes(tokenizer, "system", "user")
    repeats = _takes(tokenizer, *(("system", "system") if system else ()), "user", "user")
    return Habits(system, repeats, _end(tokenizer))


def _takes(tokenizer: Any, *roles: str) -> bool:
    """Whether a conversation of these roles is rendered with all that was said."""
    said = dict(zip(_MARKS, roles, strict=False))
    try:
        text = _text(tokenizer, [{"role": role, "content": mark} for mark, role in said.items()], reply=True)
    except Exception:
        # A template is its maker's program: by whatever error, it says that it takes no such conversation.
        return False
    return all(mark in text for mark in said)


def _end(tokenizer: Any) -> int | None:
    chat = [{"role": "user", "content": _MARKS[0]}, {"role": "assistant", "content": _MARKS[1]}]
    try:
        rest = _text(tokenizer, chat, reply=False).rpartition(_MARKS[1])[2].lstrip()
    except Exception:
        # As above: a template that renders no reply names no end of one, and the tokenizer's own is used.
        return None
    known = {token.content: number for number, token in tokenizer.added_tokens_decoder.items() if token.content.strip()}
    return known[max(fitting, key=len)] if (fitting := [text for text in known if rest.startswith(text)]) else None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
