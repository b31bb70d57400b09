"""The processes of one training, where there are several: which this one is, and what it does of the whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from quintet.training.errors import TrainError

if TYPE_CHECKING:
    import torch

    from quintet.training.settings import TrainingSettings

Item = TypeVar("Item")


def join(settings: TrainingSettings) -> torch.device:
    """Meet the other processes, if a launcher started several; the device that this one computes on.

    Raises:
        TrainError: There are more of them than GPUs.
    """
    import torch
    from accelerate import PartialState

    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if not on_cpu(settings) and beside > torch.accelerator.device_count():
        there = torch.accelerator.device_count()
        raise TrainError(f"training.launch: {beside} processes, and {there} GPUs: each takes one of its own")
    device: torch.device = PartialState(cpu=on_cpu(settings)).device
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # Afterwards, since accelerate and the launcher have a number of their own.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(settings.threads or max(1, cores // beside))
    return device


def leave() -> None:
    """Part from the other processes."""
    import torch.distributed as dist

    if world() > 1:
        dist.destroy_process_group()


def on_cpu(settings: TrainingSettings) -> bool:
    """Whether it is trained without an accelerator."""
    import torch

    return settings.device == "cpu" or not torch.accelerator.is_available()


def world() -> int:
    """How many processes there are."""
    import torch.distributed as dist

    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is; the first, 0, tells, writes and decides."""
    import torch.distributed as dist

    return dist.get_rank() if world() > 1 else 0


def share(items: Sequence[Item]) -> Sequence[Item]:
    """This process's part of what is to be done: the parts of all processes together are everything, once."""
    return items[rank() :: world()]


def everyones(value: Any) -> list[Any]:
    """The values of all processes, by rank; all have to ask."""
    import torch.distributed as dist

    if world() == 1:
        return [value]
    found: list[Any] = [None] * world()
    dist.all_gather_object(found, value)
    return found
