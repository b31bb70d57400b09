"""`transformers.Trainer` with an objective on top: it owns the optimiser, the schedule and the devices."""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from quintet.training import ranks
from quintet.training.checkpoints import Checkpoints
from quintet.training.errors import TrainError
from quintet.training.objective import Batch, Example, Objective, Tally
from quintet.training.settings import TrainingSettings
from quintet.training.spec import TrainProgress

Step = list[Example]

STEP = "step"
"""Under this name a step's examples travel through Trainer."""

TRAINED = "trained.safetensors"
"""The weights of a checkpoint."""

FIRST = 5
"""Steps whose losses say what is usual."""

LEAST_TOKENS = 16
"""No fewer tokens than this are computed at once."""


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
    objective: Objective
    recipe: TrainingSettings
    checkpoints: Checkpoints

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
        """Accumulate one step's gradient; its loss, detached. Out of memory, it computes fewer tokens at once.

        Raises:
            TrainError: The loss is not finite or explodes, or one row alone takes more memory than there is; of several
                processes, one has too little memory.
        """
        model.train()
        drawn = torch.get_rng_state()
        while True:
            try:
                total = self._accumulated(model, inputs[STEP])
                break
            except (MemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                if ranks.world() > 1:
                    # The others are in the middle of theirs, and would have to begin anew too.
                    now = self.objective.settings.batch_tokens
                    raise TrainError(f"a process is out of memory: set training.batch_tokens below {now}") from error
                if not self._halved():
                    raise TrainError("out of memory, though it computes as little at once as it can") from error
                # A step's gradients are the first since the last update: what there is of them is begun anew.
                model.zero_grad()
                torch.set_rng_state(drawn)
        value, step = float(total), self.state.global_step + 1
        if not math.isfinite(value):
            raise TrainError(f"the loss is {value:g} at step {step}: lower the learning rate")
        first = [abs(loss) for loss in self.losses[:FIRST]]
        if len(first) == FIRST and abs(value) > self.recipe.explode * max(1.0, *first):
            raise TrainError(f"the loss has grown to {value:g} at step {step}: lower the learning rate")
        self.losses.append(value)
        return total

    def _accumulated(self, model: nn.Module, step: Step) -> torch.Tensor:
        total = torch.zeros((), device=self.args.device)
        batches = self.objective.collate(step)
        own = [(batch, 1) for batch in ranks.share(batches)]
        # All compute equally often, since they exchange weights and gradients: who has a batch less takes one for
        # nothing.
        count = -(-len(batches) // ranks.world())
        own += [(batches[-1], 0)] * (count - len(own))
        for number, (batch, counts) in enumerate(own, start=1):
            # Processes exchange gradients once a step, after its last batch.
            last = number == count
            self.accelerator.gradient_state._set_sync_gradients(last)
            with nullcontext() if last else self.accelerator.no_sync(model):
                seen = dict(self.objective.tally.sums)
                loss = self.compute_loss(model, self._prepare_inputs(batch)) * counts
                # The exchange takes the mean over processes, and a step's loss is the sum of its batches'.
                self.accelerator.backward(loss * ranks.world())
            if counts:
                total += loss.detach()
            else:
                self.objective.tally.sums = seen
        whole: torch.Tensor = self.accelerator.reduce(total, reduction="sum")
        return whole

    def _halved(self) -> bool:
        """Halve what is computed at once; false where that changes nothing any more."""
        now = self.objective.settings
        if now.batch_tokens <= LEAST_TOKENS:
            return False
        half = max(now.batch_tokens // 2, LEAST_TOKENS)
        smaller = {"batch_tokens": half, "lane_tokens": min(now.lane_tokens, half)}
        self.objective.settings = now.model_copy(update=smaller)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True

    def compute_loss(self, model: nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The objective's loss."""
        loss: torch.Tensor = model(inputs)
        return loss

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        step, whole = self.state.global_step, True
        seen = {"losses": self.losses, "tally": everyones_tally(self.objective.tally).sums}
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, RuntimeError, SafetensorError) as error:
            # A full disk, say: training goes on, and an interruption costs more.
            whole = False
            sys.stderr.write(f"step {step}: no checkpoint: {error}\n")
        # Each process has written its own random numbers' state.
        if all(ranks.everyones(whole)) and ranks.rank() == 0:
            try:
                self.checkpoints.seal(self.checkpoints.folder / f"checkpoint-{step}", step, seen)
            except OSError as error:
                sys.stderr.write(f"step {step}: no checkpoint: {error}\n")

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """What is trained alone: the base model stands elsewhere."""
        folder = Path(output_dir or self.args.output_dir or "")
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: weight.detach().contiguous() for name, weight in self._trained()}, folder / TRAINED)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        saved = load_file(Path(resume_from_checkpoint, TRAINED))
        with torch.no_grad():
            for name, weight in self._trained():
                weight.copy_(saved[name])

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        model = self.accelerator.unwrap_model(self.model)
        return ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)


def everyones_tally(tally: Tally) -> Tally:
    """What all processes have seen."""
    whole = Tally()
    for sums in ranks.everyones(tally.sums):
        for name, (total, count) in sums.items():
            before = whole.sums.get(name, (0.0, 0))
            whole.sums[name] = (before[0] + total, before[1] + count)
    return whole


def _out_of_memory(error: Exception) -> bool:
    said = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in said


class _Report(TrainerCallback):
    """Tells each step's loss and pace, and has a checkpoint made now and then."""

    def __init__(
        self, sizes: Sequence[int], losses: list[float], every: float, tell: Callable[[TrainProgress], None]
    ) -> None:
        self.sizes, self.losses, self.every, self.tell = sizes, losses, every, tell
        self.begun = self.saved = 0.0
        self.first = 0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.begun = self.saved = time.monotonic()
        self.first = state.global_step

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        done, now = state.global_step, time.monotonic()
        pace = sum(self.sizes[self.first : done]) / max(now - self.begun, 1e-9)
        self.tell(
            TrainProgress(
                step=done,
                steps=len(self.sizes),
                loss=self.losses[-1],
                tokens_per_second=pace,
                seconds_left=sum(self.sizes[done:]) / pace,
            )
        )
        # Clocks differ, and all have to take part: the first process decides.
        if self.every and ranks.everyones(now - self.saved >= self.every)[0] and done < len(self.sizes):
            control.should_save, self.saved = True, now


def fit(
    model: nn.Module,
    objective: Objective,
    steps: Sequence[Step],
    settings: TrainingSettings,
    seed: int,
    checkpoints: Checkpoints,
    tell: Callable[[TrainProgress], None],
) -> list[float]:
    """Train the model's unfrozen weights in place; each step's loss.

    Args:
        model: A causal language model with its adapter.
        objective: What is learnt; in the end it has tallied what all processes saw.
        steps: As `plan` returns them.
        settings: The recipe.
        seed: Of dropout.
        checkpoints: Where they are kept; training goes on from the newest.
        tell: Called after each step, in every process.

    Raises:
        TrainError: The loss is not finite.
    """
    arguments = TrainingArguments(
        output_dir=str(checkpoints.folder),
        max_steps=len(steps),
        per_device_train_batch_size=1,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.clip,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        save_strategy="no",
        # The one before stays until the new one is whole.
        save_total_limit=2,
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=ranks.on_cpu(settings),
        dataloader_pin_memory=False,
        seed=seed % 2**32,
    )
    # One process trains on one GPU: where Trainer sees more, it would cut lanes apart for them (`DataParallel`).
    arguments._n_gpu = min(arguments.n_gpu, 1)
    trainer = ObjectiveTrainer(
        model=LossModule(model, objective),
        args=arguments,
        # Trainer deals them out to the processes in turn, and each shall have a share of every one.
        train_dataset=[step for step in steps for _ in range(ranks.world())],
        data_collator=lambda drawn: {STEP: drawn[0]},
    )
    trainer.losses, trainer.objective, trainer.recipe = [], objective, settings
    trainer.checkpoints = checkpoints
    sizes = [sum(example.tokens for example in step) for step in steps]
    # Weights in pieces would have to be put together for each checkpoint.
    whole = not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled)
    trainer.add_callback(_Report(sizes, trainer.losses, settings.checkpoint_seconds if whole else 0.0, tell))
    found = checkpoints.newest() if whole else None
    if found is not None:
        trainer.losses += found[1]["losses"]
        if ranks.rank() == 0:
            objective.tally.sums = {name: (total, count) for name, (total, count) in found[1]["tally"].items()}
    trainer.train(resume_from_checkpoint=str(found[0]) if found else None)
    objective.tally.sums = everyones_tally(objective.tally).sums
    return trainer.losses
