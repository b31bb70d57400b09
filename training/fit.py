"""`transformers.Trainer` with an objective on top: it owns the optimiser, the schedule and the devices."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from quintet.training.errors import TrainError
from quintet.training.objective import Batch, Example, Objective
from quintet.training.settings import TrainingSettings
from quintet.training.spec import TrainProgress

Step = list[Example]


def plan(examples: Sequence[Example], settings: TrainingSettings, seed: int) -> list[Step]:
    """The examples of every optimiser step, all epochs in a row; each epoch is shuffled anew.

    Args:
        examples: All there are; every epoch sees each once.
        settings: `epochs`, and the `batch_rows` that a step holds at least, the last of an epoch aside.
        seed: Of the shuffles.
    """
    steps: list[Step] = []
    for epoch in range(settings.epochs):
        order = list(examples)
        random.Random(f"{seed}/{epoch}").shuffle(order)
        step: Step = []
        for example in order:
            step.append(example)
            if sum(len(held.segments) for held in step) >= settings.batch_rows:
                steps.append(step)
                step = []
        if step:
            steps.append(step)
    return steps


def rate(step: int, steps: int, settings: TrainingSettings) -> float:
    """Share of the peak learning rate at a step, counted from 0; never 0, since steps are few and none is spare.

    Args:
        step: The step.
        steps: How many there are.
        settings: `schedule` and `warmup`.
    """
    rising = int(settings.warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    left = (steps - step) / (steps - rising)
    return {"linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2, "constant": 1.0}[settings.schedule]


class LossModule(nn.Module):
    """The objective's loss as a forward pass, so that wrappers for many devices see every computation."""

    def __init__(self, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Batch) -> torch.Tensor:
        """The batch's share of its step's loss."""
        return self.objective.loss(self.model, batch)


class ObjectiveTrainer(Trainer):
    """Trainer over steps that the objective cuts into batches itself; `losses` holds each step's loss."""

    losses: list[float]
    recipe: TrainingSettings

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LambdaLR:
        """The learning rate by `rate`; Trainer's own schedules waste the first step at 0."""
        optimizer = optimizer or self.optimizer
        if optimizer is None:
            raise TypeError("the optimizer is made before its schedule")
        last = num_training_steps - 1
        scheduler = LambdaLR(optimizer, lambda step: rate(min(step, last), num_training_steps, self.recipe))
        self.lr_scheduler = scheduler
        return scheduler

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Accumulate one step's gradient; its loss, detached.

        Raises:
            TrainError: The loss is not finite.
        """
        model.train()
        total = torch.zeros((), device=self.args.device)
        for number, batch in enumerate(self._prepare_inputs(inputs), start=1):
            # Processes exchange gradients once a step, after its last batch.
            with nullcontext() if number == len(inputs) else self.accelerator.no_sync(model):
                loss = self.compute_loss(model, batch)
                self.accelerator.backward(loss)
            total += loss.detach()
        if not math.isfinite(total):
            raise TrainError(f"the loss is {total:g} at step {self.state.global_step + 1}: lower the learning rate")
        self.losses.append(float(total))
        return total

    def compute_loss(self, model: nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The objective's loss."""
        loss: torch.Tensor = model(inputs)
        return loss


class _Report(TrainerCallback):
    """Tells each step's loss and pace."""

    def __init__(self, sizes: Sequence[int], losses: list[float], tell: Callable[[TrainProgress], None]) -> None:
        self.sizes, self.losses, self.tell = sizes, losses, tell
        self.begun = 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.begun = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        done = state.global_step
        pace = sum(self.sizes[:done]) / max(time.monotonic() - self.begun, 1e-9)
        self.tell(
            TrainProgress(
                step=done,
                steps=len(self.sizes),
                loss=self.losses[-1],
                tokens_per_second=pace,
                seconds_left=sum(self.sizes[done:]) / pace,
            )
        )


def fit(
    model: nn.Module,
    objective: Objective,
    steps: Sequence[Step],
    settings: TrainingSettings,
    seed: int,
    scratch: Path,
    tell: Callable[[TrainProgress], None],
) -> list[float]:
    """Train the model's unfrozen weights in place; each step's loss.

    Args:
        model: A causal language model with its adapter.
        objective: What is learnt.
        steps: As `plan` returns them.
        settings: The recipe.
        seed: Of dropout.
        scratch: A folder that Trainer makes and leaves empty.
        tell: Called after each step.

    Raises:
        TrainError: The loss is not finite.
    """
    arguments = TrainingArguments(
        output_dir=str(scratch),
        max_steps=len(steps),
        per_device_train_batch_size=1,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.clip,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=settings.device == "cpu",
        dataloader_pin_memory=False,
        seed=seed % 2**32,
    )
    trainer = ObjectiveTrainer(
        model=LossModule(model, objective),
        args=arguments,
        train_dataset=list(steps),
        data_collator=lambda drawn: objective.collate(drawn[0]),  # type: ignore[arg-type,return-value]
    )
    trainer.losses, trainer.recipe = [], settings
    sizes = [sum(example.tokens for example in step) for step in steps]
    trainer.add_callback(_Report(sizes, trainer.losses, tell))
    trainer.train()
    return trainer.losses
