"""Rows as token ids: the prompt as the engine asks it, and the completion as the template ends it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from quintet.models import prompts
from quintet.records import Experience, Learnable, Message, Row
from quintet.training.objective import Example, Segment

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def by_prompt(
    rows: Sequence[Learnable],
    tokenizer: PreTrainedTokenizerBase,
    longest: int,
    stops: Collection[int] = (),
) -> list[Example]:
    """One example for each distinct prompt, with all its rows, in the order of their ids.

    Args:
        rows: Any; their order does not matter.
        tokenizer: The model's.
        longest: Rows with more tokens than this, prompt included, are left out.
        stops: As for `completion_tokens`.
    """
    found: dict[tuple[int, ...], list[Segment]] = {}
    for row in sorted(rows, key=lambda row: row.id):
        prompt, completion = render(row.prompt, tokenizer), completion_tokens(row, tokenizer, stops)
        if len(prompt) + len(completion) <= longest:
            weight, reward = (row.weight, 1.0) if isinstance(row, Row) else (1.0, row.reward)
            baseline = row.baseline if isinstance(row, Experience) else None
            found.setdefault(prompt, []).append(Segment(completion, weight, reward, baseline))
    return [Example(prompt, tuple(segments)) for prompt, segments in found.items()]


def render(messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Token ids of a conversation up to where its reply begins, as the engine asks it."""
    return tuple(prompts.render(tokenizer, messages))


def completion_tokens(
    row: Learnable, tokenizer: PreTrainedTokenizerBase, stops: Collection[int] = ()
) -> tuple[int, ...]:
    """The row's own token ids, or its text's; they end with the end of the turn, as the chat template writes it.

    Tokens that a model ended otherwise (another of its stop tokens, or a schema that was complete) are given that end,
    so that what is learnt is what the template expects.

    Args:
        row: Whose.
        tokenizer: The model's.
        stops: Tokens at which the engine ends a reply, besides the tokenizer's end of text.
    """
    end = prompts.end_of_turn(tokenizer)
    tokens = row.tokens or tuple(tokenizer.encode(row.completion, add_special_tokens=False))
    if end is None or tokens[-1:] == (end,):
        return tokens
    ended = bool(tokens) and (tokens[-1] in stops or tokens[-1] == tokenizer.eos_token_id)
    return (*(tokens[:-1] if ended else tokens), end)
