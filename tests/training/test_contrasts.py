"""Objectives that learn from failures give the loss and the gradients of their papers' formulas."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from made_rows import made_row
from test_packing import FLOAT32, a_trained_model, adapter_gradients  # type: ignore[import-not-found]
from torch.nn.functional import logsigmoid
from transformers import AutoTokenizer

from quintet.plugins import plugin
from quintet.records import Contrast, Row
from quintet.training.dpo import DirectPreference
from quintet.training.errors import TrainError
from quintet.training.grpo import VARIANTS, GroupRelative
from quintet.training.kto import KahnemanTversky
from quintet.training.objective import GROUP, Objective
from quintet.training.tokens import completion_tokens, render


@pytest.fixture(scope="module")
def tokenizer(tiny_model_folder: Path):
    return AutoTokenizer.from_pretrained(tiny_model_folder)


def wrong(question: str, text: str, reward: float = 0.0) -> Contrast:
    row = made_row(question, text)
    return Contrast(
        round=0, task=row.task, attempt=f"attempt-{text}", prompt=row.prompt, completion=text, reward=reward
    )


def attempts(prompts: int = 7) -> list[Row | Contrast]:
    """Two right and one to three wrong ones at each task, of different lengths."""
    found: list[Row | Contrast] = []
    for n in range(prompts):
        asked = f"What is {n} + {2 * n}?"
        found += [made_row(asked, f"{n} + {2 * n} = {3 * n}"), made_row(asked, f"{3 * n}")]
        found += [wrong(asked, f"It is {3 * n + k}" + " or so" * k) for k in range(1, 2 + n % 3)]
    return found


def say(model: Any, row: Row | Contrast, tokenizer: Any, prompt: tuple[int, ...] | None = None) -> torch.Tensor:
    """Each token's log-probability, by transformers and autograd alone."""
    asked, completion = prompt or render(row.prompt, tokenizer), completion_tokens(row, tokenizer)
    logits = model(input_ids=torch.tensor([asked + completion])).logits[0, len(asked) - 1 : -1].float()
    return torch.log_softmax(logits, -1).gather(1, torch.tensor(completion)[:, None])[:, 0]


def moved(model: Any) -> None:
    """The adapter a little elsewhere, as after some steps."""
    torch.manual_seed(5)
    for name, parameter in model.named_parameters():
        # TRL keeps a copy of where it began, named `ref`.
        if "lora_" in name and ".ref." not in name:
            parameter.data += 0.1 * torch.randn_like(parameter)


def by_objective(objective: Objective, model: Any, rows: Sequence[Row | Contrast], tokenizer: Any) -> torch.Tensor:
    """The step's loss as training computes it, with the model a little on from where it began."""
    model.eval()
    examples = objective.prepare(model, objective.examples(rows, tokenizer))
    moved(model)
    model.train()
    batches = objective.collate(examples)
    assert len(batches) > 1
    return sum((objective.loss(model, batch) for batch in batches), torch.zeros(()))


def assert_same(model: Any, found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found.detach(), wanted.detach(), rtol=1e-4, atol=1e-5)
    found.backward()
    ours = adapter_gradients(model)
    wanted.backward()
    theirs = adapter_gradients(model)
    assert any(gradient.abs().max() > 1e-4 for gradient in theirs.values())
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


def begun(folder: Path, rows: Sequence[Row | Contrast], tokenizer: Any) -> tuple[Any, list[torch.Tensor]]:
    """A model, and what it says of the rows before it is moved."""
    model = a_trained_model(folder)
    model.eval()
    with torch.no_grad():
        return model, [say(model, row, tokenizer) for row in rows]


@pytest.mark.parametrize(("variant", "nll"), [("sigmoid", 0.0), ("sigmoid", 0.5), ("ipo", 0.0)])
def test_dpo_is_equation_7(tiny_model_folder: Path, tokenizer: Any, variant: Any, nll: float) -> None:
    rows = attempts()
    model, before = begun(tiny_model_folder, rows, tokenizer)
    found = by_objective(DirectPreference(FLOAT32, beta=0.3, variant=variant, nll=nll), model, rows, tokenizer)
    model.eval()
    now = [say(model, row, tokenizer) for row in rows]
    mean = variant == "ipo"
    gained = [(a - b).mean() if mean else (a - b).sum() for a, b in zip(now, before, strict=True)]
    losses = []
    for prompt in dict.fromkeys(row.prompt for row in rows):
        mine = sorted((row.id, place) for place, row in enumerate(rows) if row.prompt == prompt)
        right = [place for _, place in mine if isinstance(rows[place], Row)]
        left = [place for _, place in mine if isinstance(rows[place], Contrast)]
        for n in range(max(len(right), len(left))):
            a, b = right[n % len(right)], left[n % len(left)]
            margin = gained[a] - gained[b]
            loss = (margin - 1 / 0.6) ** 2 if mean else -logsigmoid(0.3 * margin)
            losses.append(loss - nll * now[a].mean())
    assert_same(model, found, torch.stack(losses).mean())


@pytest.mark.parametrize("variant", VARIANTS)
def test_grpo_is_the_clipped_advantage_of_the_group(tiny_model_folder: Path, tokenizer: Any, variant: str) -> None:
    rows = attempts()
    model, before = begun(tiny_model_folder, rows, tokenizer)
    objective = GroupRelative(FLOAT32, variant=variant, beta=0.1, unbiased=False, longest=20)
    found = by_objective(objective, model, rows, tokenizer)
    assert objective.tally.means()["clipped"] > 0
    model.eval()
    now = [say(model, row, tokenizer) for row in rows]
    losses = []
    for place, row in enumerate(rows):
        group = torch.tensor([float(isinstance(one, Row)) for one in rows if one.prompt == row.prompt])
        advantage = float(isinstance(row, Row)) - group.mean()
        if variant != "dr_grpo":
            advantage = advantage / (group.std() + 1e-4)
        change = now[place] - before[place]
        high = 0.28 if variant == "dapo" else 0.2
        clipped = change.exp().clamp(0.8, 1 + high) * advantage
        apart = torch.exp(-change) + change - 1
        losses.append(-torch.minimum(change.exp() * advantage, clipped) + 0.1 * apart)
    wanted = {
        "grpo": torch.stack([loss.mean() for loss in losses]).mean(),
        "dr_grpo": torch.cat(losses).sum() / (20 * len(losses)),
        "dapo": torch.cat(losses).mean(),
    }[variant]
    assert_same(model, found, wanted)


def test_kto_is_equations_7_and_8(tiny_model_folder: Path, tokenizer: Any) -> None:
    rows = attempts(2)
    # One batch, in which the divergence is estimated once.
    settings = FLOAT32.model_copy(update={"batch_tokens": 4096, "lane_tokens": 1024})
    model = a_trained_model(tiny_model_folder)
    model.eval()
    prompts = [render(rows[0].prompt, tokenizer), render(rows[-1].prompt, tokenizer)]
    mine = [
        sorted((row for row in rows if render(row.prompt, tokenizer) == p), key=lambda row: row.id) for p in prompts
    ]
    order = [0, 1] if min(row.id for row in mine[0]) < min(row.id for row in mine[1]) else [1, 0]

    def all_said() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        own = [say(model, row, tokenizer).sum() for row in rows]
        other = []
        for here, there in zip(order, reversed(order), strict=True):
            taken = [mine[there][i % len(mine[there])] for i in range(len(mine[here]))]
            for row in dict.fromkeys(taken):
                other.append(say(model, row, tokenizer, prompts[here]).sum())
        return own, other

    with torch.no_grad():
        before, before_other = all_said()
    objective = KahnemanTversky(settings, beta=0.3, undesirable=0.7)
    examples = objective.prepare(model, objective.examples(rows, tokenizer))
    moved(model)
    model.train()
    [batch] = objective.collate(examples)
    found = objective.loss(model, batch)
    model.eval()
    now, now_other = all_said()
    z = torch.stack([a - b for a, b in zip(now_other, before_other, strict=True)]).mean().clamp(min=0).detach()
    losses = []
    for row, a, b in zip(rows, now, before, strict=True):
        good = isinstance(row, Row)
        away = (a - b - z) if good else (z - (a - b))
        losses.append((1.0 if good else 0.7) * (1 - torch.sigmoid(0.3 * away)))
    assert_same(model, found, torch.stack(losses).mean())


def test_a_prompt_without_both_kinds_teaches_nothing(tokenizer: Any) -> None:
    only = [made_row("What is 1 + 1?", "2"), made_row("What is 1 + 1?", "It is 2"), wrong("What is 2 + 2?", "5")]
    assert DirectPreference(FLOAT32).examples(only, tokenizer) == []
    assert GroupRelative(FLOAT32).examples(only, tokenizer) == []


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dpo", {"beta": 0}),
        ("dpo", {"variant": "hinge"}),
        ("kto", {"beta": -1}),
        ("grpo", {"variant": "gspo"}),
        ("grpo", {"low": 2}),
    ],
)
def test_options_that_make_no_sense_are_refused(name: str, options: dict[str, Any]) -> None:
    made = {"dpo": DirectPreference, "kto": KahnemanTversky, "grpo": GroupRelative}[name]
    assert plugin(GROUP, name, "objective").found is made
    with pytest.raises(TrainError, match=name):
        made(FLOAT32, **options)
