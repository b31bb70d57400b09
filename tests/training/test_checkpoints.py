"""An interrupted training goes on to the same weights; too little memory makes it slower and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from made_rows import made_rows
from transformers import AutoTokenizer

from quintet.training.checkpoints import SEEN, Checkpoints
from quintet.training.errors import TrainError
from quintet.training.fit import fit, plan
from quintet.training.lora import load
from quintet.training.objective import Batch
from quintet.training.registry import checkpoints_of
from quintet.training.settings import TrainingSettings
from quintet.training.sft import RejectionSampling
from quintet.training.spec import TrainProgress, TrainSpec
from quintet.training.train import train

Make = Callable[..., TrainSpec]


async def killed_at(spec: TrainSpec, step: int) -> list[int]:
    """Steps that were made until the process was killed."""
    made: list[int] = []

    def tell(progress: TrainProgress) -> None:
        made.append(progress.step)
        if progress.step == step:
            for child in psutil.Process().children(recursive=True):
                child.kill()

    with pytest.raises(TrainError, match="SIGKILL"):
        await train(spec, tell)
    return made


@pytest.mark.slow
async def test_killed_in_the_middle_of_an_epoch_it_goes_on_to_the_same_weights(make_spec: Make, tmp_path: Path) -> None:
    # Dropout, so that random numbers too have to go on where they were.
    recipe: dict[str, Any] = {"rows": made_rows(24), "epochs": 2, "dropout": 0.1, "checkpoint_seconds": 1e-9}
    whole = await train(make_spec(**recipe, out=tmp_path / "whole"))
    spec = make_spec(**recipe)
    made = await killed_at(spec, 5)
    assert made[0] == 1
    after: list[TrainProgress] = []
    result = await train(spec, after.append)
    assert 1 < after[0].step <= made[-1] + 1
    assert result.weights == whole.weights
    assert result.metrics == whole.metrics
    assert not checkpoints_of(spec.out).exists()


@pytest.mark.slow
async def test_a_checkpoint_of_another_training_or_a_torn_one_counts_for_nothing(make_spec: Make) -> None:
    spec = make_spec(rows=made_rows(24), checkpoint_seconds=1e-9)
    await killed_at(spec, 4)
    held = Checkpoints(checkpoints_of(spec.out), spec.digest())
    _, seen = held.newest() or pytest.fail("no checkpoint was made")
    assert len(seen["losses"]) == seen["step"]
    assert Checkpoints(held.folder, "another").newest() is None
    for one in held.folder.iterdir():
        (one / SEEN).write_text(json.dumps(seen)[:-3])
    assert held.newest() is None
    steps: list[TrainProgress] = []
    await train(spec, steps.append)
    assert steps[0].step == 1


class Cramped(RejectionSampling):
    """As if there was memory for so many tokens at once."""

    room = 200

    def loss(self, model: object, batch: Batch) -> torch.Tensor:
        if batch["input_ids"].numel() > self.room:
            raise torch.OutOfMemoryError("no memory left")
        return super().loss(model, batch)


def fitted(objective: RejectionSampling, folder: Path, scratch: Path) -> tuple[list[float], dict[str, torch.Tensor]]:
    torch.manual_seed(3)
    model = load(folder, None, objective.settings)
    examples = objective.examples(made_rows(8), AutoTokenizer.from_pretrained(folder))
    steps = plan(examples, objective.settings, 0)
    losses = fit(model, objective, steps, objective.settings, 0, Checkpoints(scratch, "spec"), lambda _: None)
    return losses, {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}


FLOAT32 = TrainingSettings(dtype="float32", rank=4, alpha=8, epochs=1, lane_tokens=160, batch_tokens=640, threads=1)


def test_out_of_memory_it_computes_less_at_once_and_learns_the_same(tiny_model_folder: Path, tmp_path: Path) -> None:
    losses, weights = fitted(RejectionSampling(FLOAT32), tiny_model_folder, tmp_path / "a")
    cramped = Cramped(FLOAT32)
    found, others = fitted(cramped, tiny_model_folder, tmp_path / "b")
    assert cramped.settings.batch_tokens < FLOAT32.batch_tokens
    assert found == pytest.approx(losses, rel=1e-4)
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight, rtol=1e-3, atol=1e-5)


def test_where_one_row_alone_does_not_fit_it_says_so(tiny_model_folder: Path, tmp_path: Path) -> None:
    cramped = Cramped(FLOAT32)
    cramped.room = 10
    with pytest.raises(TrainError, match="as little at once as it can"):
        fitted(cramped, tiny_model_folder, tmp_path)


def test_an_exploding_loss_ends_the_training(tiny_model_folder: Path, tmp_path: Path) -> None:
    class Growing(RejectionSampling):
        times = 1.0

        def loss(self, model: object, batch: Batch) -> torch.Tensor:
            self.times *= 1.5
            return super().loss(model, batch) * self.times

    objective = Growing(FLOAT32.model_copy(update={"epochs": 6, "batch_rows": 2}))
    with pytest.raises(TrainError, match="has grown to"):
        fitted(objective, tiny_model_folder, tmp_path)
