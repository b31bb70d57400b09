"""Prompts and completions laid into lanes, so that completions of one prompt share its computation.

A prompt stands once; each of its completions attends to it and to itself only, with positions that go on from the
prompt's end. Several prompts share a lane without seeing one another. The loss is that of the rows apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from quintet.training.objective import Batch, Example, Segment

PADDING = -1


def pack(
    examples: Sequence[Example], lane_tokens: int, batch_tokens: int, whole: bool = False
) -> list[list[list[Example]]]:
    """Batches of lanes of examples: longest first, each example in the first lane with room for it.

    An example too long for a lane is split into several with the same prompt; a single row too long for one has
    a lane of its own that is as long as it needs.

    Args:
        examples: What is to be packed; nothing is left out.
        lane_tokens: Length of a lane, in tokens.
        batch_tokens: Lanes times length of a batch, in tokens; a batch has one lane at least.
        whole: Leave long examples whole, in lanes of their own, where their completions must stay together.
    """
    parts = examples if whole else [part for example in examples for part in _split(example, lane_tokens)]
    left = sorted(parts, key=_length, reverse=True)
    batches: list[list[list[Example]]] = []
    while left:
        length = max(lane_tokens, _length(left[0]))
        lanes: list[list[Example]] = [[] for _ in range(max(1, batch_tokens // length))]
        room = [length] * len(lanes)
        rest: list[Example] = []
        for example in left:
            need = _length(example)
            lane = next((i for i, space in enumerate(room) if space >= need), None)
            if lane is None:
                rest.append(example)
            else:
                lanes[lane].append(example)
                room[lane] -= need
        batches.append([lane for lane in lanes if lane])
        left = rest
    return batches


def lay_out(lanes: Sequence[Sequence[Example]]) -> Batch:
    """The tensors of one batch.

    Returns:
        `input_ids`, `position_ids` (lanes, length); `attention_mask` (lanes, 1, length, length), True where a query
        (third axis) may look at a key (fourth); and, for each completion token of the batch, in order: `positions`
        (tokens,), the place in the flattened lanes whose output predicts it, `targets` (tokens,), its id, and
        `weights` (tokens,), its row's weight, and `completion` (tokens,), which of `completions` it belongs to.
    """
    length = max(sum(_length(example) for example in lane) for lane in lanes)
    ids = torch.zeros(len(lanes), length, dtype=torch.long)
    places = torch.zeros_like(ids)
    group = torch.full_like(ids, PADDING)
    part = torch.zeros_like(ids)
    positions: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    whose: list[int] = []
    count = 0
    for i, lane in enumerate(lanes):
        at = 0
        for g, example in enumerate(lane):
            end = at + _length(example)
            group[i, at:end] = g
            prompt = len(example.prompt)
            ids[i, at : at + prompt] = torch.tensor(example.prompt)
            places[i, at : at + prompt] = torch.arange(prompt)
            last = i * length + at + prompt - 1
            at += prompt
            for p, segment in enumerate(example.segments, start=1):
                fed = len(segment.tokens) - 1
                ids[i, at : at + fed] = torch.tensor(segment.tokens[:fed], dtype=torch.long)
                places[i, at : at + fed] = torch.arange(prompt, prompt + fed)
                part[i, at : at + fed] = p
                positions += [last, *range(i * length + at, i * length + at + fed)]
                targets += segment.tokens
                weights += [segment.weight] * len(segment.tokens)
                whose += [count] * len(segment.tokens)
                count += 1
                at += fed
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    same = group[:, :, None] == group[:, None, :]
    visible = (part[:, None, :] == 0) | (part[:, :, None] == part[:, None, :])
    return {
        "input_ids": ids,
        "position_ids": places,
        "attention_mask": (causal & same & visible)[:, None],
        "positions": torch.tensor(positions),
        "targets": torch.tensor(targets),
        "weights": torch.tensor(weights, dtype=torch.float32),
        "completion": torch.tensor(whose),
    }


def completions(lanes: Sequence[Sequence[Example]]) -> list[Segment]:
    """A batch's completions, in the order in which `lay_out` counts them."""
    return [segment for lane in lanes for example in lane for segment in example.segments]


def _fed(segment: Segment) -> int:
    """Tokens of a completion that are fed to the model: the last one is only ever predicted."""
    return len(segment.tokens) - 1


def _length(example: Example) -> int:
    return len(example.prompt) + sum(map(_fed, example.segments))


def _split(example: Example, lane_tokens: int) -> list[Example]:
    parts: list[list[Segment]] = [[]]
    room = lane_tokens - len(example.prompt)
    for segment in example.segments:
        if parts[-1] and _fed(segment) > room:
            parts.append([])
            room = lane_tokens - len(example.prompt)
        parts[-1].append(segment)
        room -= _fed(segment)
    return [Example(example.prompt, tuple(part)) for part in parts]
