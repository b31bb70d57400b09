"""Losses and gradients agree with TRL's on the same tensors, through tiny trainers of TRL's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from test_contrasts import attempts, moved  # type: ignore[import-not-found]
from test_packing import FLOAT32, adapter_gradients  # type: ignore[import-not-found]
from transformers import AutoTokenizer

from quintet.training.dpo import DirectPreference
from quintet.training.grpo import GroupRelative
from quintet.training.kto import KahnemanTversky
from quintet.training.lora import load
from quintet.training.objective import Example, Objective, Segment

ONE_BATCH = FLOAT32.model_copy(update={"batch_tokens": 8192, "lane_tokens": 2048})


@pytest.fixture(scope="module")
def tokenizer(tiny_model_folder: Path):
    return AutoTokenizer.from_pretrained(tiny_model_folder)


def padded(pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> dict[str, torch.Tensor]:
    """Prompts with completions, as TRL's collators lay them out."""
    longest = max(len(prompt) + len(said) for prompt, said in pairs)
    rows = [
        ([*prompt, *said], [0] * len(prompt) + [1] * len(said), longest - len(prompt) - len(said))
        for prompt, said in pairs
    ]
    return {
        "input_ids": torch.tensor([ids + [0] * rest for ids, _, rest in rows]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * rest for ids, _, rest in rows]),
        "completion_mask": torch.tensor([mask + [0] * rest for _, mask, rest in rows]),
    }


def ours(objective: Objective, model: Any, examples: list[Example]) -> torch.Tensor:
    model.train()
    [batch] = objective.collate(examples)
    return objective.loss(model, batch)


def fresh(folder: Path) -> Any:
    """A model with an adapter that changes nothing yet, so that TRL's reference is where ours begins."""
    torch.manual_seed(1)
    model = load(folder, None, FLOAT32)
    model.eval()
    return model


def agree(model: Any, found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found.detach(), wanted.detach(), rtol=1e-4, atol=1e-5)
    found.backward()
    mine = adapter_gradients(model)
    wanted.backward()
    theirs = adapter_gradients(model)
    assert any(gradient.abs().max() > 1e-4 for gradient in theirs.values())
    for name, gradient in theirs.items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


def arguments(kind: type, folder: Path, **further: Any) -> Any:
    quiet = {"report_to": [], "use_cpu": True, "bf16": False, "gradient_checkpointing": False, "disable_tqdm": True}
    return kind(output_dir=str(folder), **quiet, **further)


@pytest.mark.parametrize("variant", ["sigmoid", "ipo"])
def test_dpo(tiny_model_folder: Path, tokenizer: Any, tmp_path: Path, variant: Any) -> None:
    from trl import DPOConfig, DPOTrainer

    model = fresh(tiny_model_folder)
    objective = DirectPreference(ONE_BATCH, beta=0.3, variant=variant)
    examples = objective.prepare(model, objective.examples(attempts(), tokenizer))
    kept = Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}])
    trainer = DPOTrainer(
        model=model,
        args=arguments(DPOConfig, tmp_path, beta=0.3, loss_type=[variant]),
        train_dataset=kept,
        processing_class=tokenizer,
    )
    moved(model)
    found = ours(objective, model, examples)
    model.eval()
    sides = [[(one.prompt, one.segments[side].tokens) for one in examples] for side in (0, 1)]
    wanted = trainer.compute_loss(model, padded([*sides[0], *sides[1]]))
    agree(model, found, wanted)


def test_kto(tiny_model_folder: Path, tokenizer: Any, tmp_path: Path) -> None:
    from trl import KTOConfig, KTOTrainer

    model = fresh(tiny_model_folder)
    objective = KahnemanTversky(ONE_BATCH, beta=0.3, undesirable=0.7)
    examples = objective.prepare(model, objective.examples(attempts(), tokenizer))
    kept = Dataset.from_list([{"prompt": "a", "completion": "b", "label": True}] * 2)
    trainer = KTOTrainer(
        model=model,
        args=arguments(KTOConfig, tmp_path, beta=0.3, undesirable_weight=0.7, per_device_train_batch_size=2),
        train_dataset=kept,
        processing_class=tokenizer,
    )
    moved(model)
    found = ours(objective, model, examples)
    model.eval()
    own = [(example.prompt, one) for example in examples for one in example.segments if not one.extra]
    other = [(example.prompt, one) for example in examples for one in example.segments if one.extra]
    inputs = padded([(prompt, one.tokens) for prompt, one in own])
    apart = {f"KL_{name}": value for name, value in padded([(p, one.tokens) for p, one in other]).items()}
    labels = torch.tensor([one.reward == 1 for _, one in own])
    wanted = trainer.compute_loss(model, {**inputs, **apart, "label": labels})
    agree(model, found, wanted)


@pytest.mark.parametrize(("variant", "unbiased"), [("grpo", False), ("dr_grpo", True), ("dapo", True)])
def test_grpo(tiny_model_folder: Path, tokenizer: Any, tmp_path: Path, variant: str, unbiased: bool) -> None:
    from trl import GRPOConfig, GRPOTrainer

    model = fresh(tiny_model_folder)
    objective = GroupRelative(ONE_BATCH, variant=variant, low=0.2, high=0.28, beta=0.1, unbiased=unbiased, longest=20)
    # Prompts of one length: TRL pads them on the left, which the attention of our training does not see.
    examples = objective.prepare(model, objective.examples(attempts(5), tokenizer))
    assert len({len(example.prompt) for example in examples}) == 1
    trainer = GRPOTrainer(
        model=model,
        args=arguments(
            GRPOConfig,
            tmp_path,
            loss_type=variant,
            beta=0.1,
            epsilon=0.2,
            epsilon_high=0.28,
            max_completion_length=20,
            num_generations=2,
            use_bias_correction_kl=unbiased,
            per_device_train_batch_size=2,
        ),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        train_dataset=Dataset.from_list([{"prompt": "a"}] * 2),
        processing_class=tokenizer,
    )
    trainer.current_gradient_accumulation_steps = 1
    moved(model)
    found = ours(objective, model, examples)
    model.eval()
    held: list[tuple[tuple[int, ...], Segment]] = [
        (one.prompt, segment) for one in examples for segment in one.segments
    ]
    front = max(len(prompt) for prompt, _ in held)
    back = max(len(one.tokens) for _, one in held)

    def right(values: Sequence[float], fill: float = 0) -> list[float]:
        return [*values, *[fill] * (back - len(values))]

    inputs = {
        "prompt_ids": torch.tensor([[0] * (front - len(prompt)) + list(prompt) for prompt, _ in held]),
        "prompt_mask": torch.tensor([[0] * (front - len(prompt)) + [1] * len(prompt) for prompt, _ in held]),
        "completion_ids": torch.tensor([right(one.tokens) for _, one in held]),
        "completion_mask": torch.tensor([right([1] * len(one.tokens)) for _, one in held]),
        "advantages": torch.tensor([one.extra[0] for _, one in held]),
        "old_per_token_logps": torch.tensor([right(one.before) for _, one in held]),
        "ref_per_token_logps": torch.tensor([right(one.before) for _, one in held]),
        "num_items_in_batch": torch.tensor(sum(len(one.tokens) for _, one in held)),
    }
    wanted = trainer._compute_loss(model.train(False), inputs)
    agree(model, found, wanted)
