"""What is computed together gives the loss and the gradients of the rows apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_rows import made_row, made_rows
from transformers import AutoTokenizer

from quintet.records import Row
from quintet.training.lora import TrainingLinear, load
from quintet.training.objective import Example, Segment
from quintet.training.packing import lay_out, pack
from quintet.training.settings import TrainingSettings
from quintet.training.sft import RejectionSampling
from quintet.training.tokens import completion_tokens, render

FLOAT32 = TrainingSettings(dtype="float32", rank=4, alpha=8, lane_tokens=160, batch_tokens=320)


@pytest.fixture(scope="module")
def tokenizer(tiny_model_folder: Path):
    return AutoTokenizer.from_pretrained(tiny_model_folder)


def mixed_rows() -> tuple[Row, ...]:
    rows = made_rows(6, seed=3)
    return tuple(row.with_(weight=0.25 + index % 3) for index, row in enumerate(rows))


def loss_apart(model, rows, tokenizer) -> torch.Tensor:
    """The definition, by transformers and autograd alone: every row by itself, with all its logits."""
    total, tokens = torch.zeros(()), 0
    for row in rows:
        prompt, completion = render(row.prompt, tokenizer), completion_tokens(row, tokenizer)
        logits = model(input_ids=torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
        loss = torch.nn.functional.cross_entropy(logits.float(), torch.tensor(completion), reduction="sum")
        total, tokens = total + row.weight * loss, tokens + len(completion)
    return total / tokens


def adapter_gradients(model) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
    model.zero_grad()
    return found


def a_trained_model(folder: Path):
    torch.manual_seed(1)
    model = load(folder, None, FLOAT32)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # at its start B is 0, and A would have no gradient
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def test_packed_loss_and_gradients_are_those_of_the_rows_apart(tiny_model_folder: Path, tokenizer) -> None:
    rows = mixed_rows()
    objective = RejectionSampling(FLOAT32)
    batches = objective.collate(objective.examples(rows, tokenizer))
    assert len(batches) > 1
    assert any(batch["input_ids"].shape[0] > 1 for batch in batches)

    model = a_trained_model(tiny_model_folder)
    model.train()
    packed = sum(objective.loss(model, batch) for batch in batches)
    packed.backward()
    packed_gradients = adapter_gradients(model)

    model.eval()  # in evaluation mode the layers are PEFT's own
    apart = loss_apart(model, rows, tokenizer)
    apart.backward()
    apart_gradients = adapter_gradients(model)

    torch.testing.assert_close(packed.detach(), apart.detach(), rtol=1e-5, atol=1e-6)
    assert packed_gradients.keys() == apart_gradients.keys()
    assert any(gradient.abs().max() > 1e-3 for gradient in apart_gradients.values())
    for name, gradient in apart_gradients.items():
        torch.testing.assert_close(packed_gradients[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_every_linear_layer_but_the_head_is_trained(tiny_model_folder: Path) -> None:
    model = load(tiny_model_folder, None, FLOAT32)
    layers = [name for name, module in model.named_modules() if isinstance(module, TrainingLinear)]
    assert len(layers) == 2 * 7
    trained = {parameter.dtype for parameter in model.parameters() if parameter.requires_grad}
    assert trained == {torch.float32}


def test_prompts_are_computed_once(tokenizer) -> None:
    rows = [made_row("What is 2 + 2?", f"Answer: 4{'.' * dots}") for dots in range(4)]
    (example,) = RejectionSampling(FLOAT32).examples(rows, tokenizer)
    (batch,) = RejectionSampling(FLOAT32).collate([example])
    fed = len(example.prompt) + sum(len(segment.tokens) - 1 for segment in example.segments)
    assert batch["input_ids"].shape == (1, fed)


def test_a_rows_own_tokens_are_learnt_as_they_were_generated(tokenizer) -> None:
    written = tuple(tokenizer.encode("4", add_special_tokens=False))
    odd = (*written, *written, tokenizer.eos_token_id)
    assert completion_tokens(made_row("q", "44", tokens=odd), tokenizer) == odd
    assert completion_tokens(made_row("q", "44"), tokenizer)[-1] == tokenizer.eos_token_id


def test_whichever_stop_token_ended_a_reply_the_templates_end_takes_its_place(tokenizer) -> None:
    written, other = tuple(tokenizer.encode("4", add_special_tokens=False)), 0
    end = completion_tokens(made_row("q", "4"), tokenizer)[-1]
    assert other not in (end, *written)
    objective = RejectionSampling(FLOAT32)
    objective.stops = frozenset({end, other})
    [example] = objective.examples([made_row("q", "4", tokens=(*written, other))], tokenizer)
    assert example.segments[0].tokens == (*written, end)


def test_too_long_rows_are_left_out(tokenizer) -> None:
    rows = [made_row("q", "short"), made_row("q", "long " * 2000)]
    (example,) = RejectionSampling(FLOAT32).examples(rows, tokenizer)
    assert len(example.segments) == 1


completions = st.lists(st.integers(2, 60), min_size=1, max_size=6)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 80), completions), min_size=1, max_size=8), st.integers(16, 200))
def test_packing_keeps_every_completion_once_within_the_budget(shapes, lane: int) -> None:
    examples = [
        Example(tuple([index] * prompt), tuple(Segment(tuple(range(1, n + 1)), index) for n in lengths))
        for index, (prompt, lengths) in enumerate(shapes)
    ]
    kept: list[tuple[float, int]] = []
    for lanes in pack(examples, lane, 4 * lane):
        batch = lay_out(lanes)
        rows, length = batch["input_ids"].shape
        assert rows == 1 or rows * length <= 4 * lane
        assert batch["attention_mask"].any(-1).all(), "a query that sees no key has no output"
        kept += [(s.weight, len(s.tokens)) for lane_ in lanes for e in lane_ for s in e.segments]
        assert len(batch["targets"]) == sum(len(s.tokens) for lane_ in lanes for e in lane_ for s in e.segments)
    wanted = [(e_index, n) for e_index, (_, lengths) in enumerate(shapes) for n in lengths]
    assert sorted(kept) == sorted(wanted)
