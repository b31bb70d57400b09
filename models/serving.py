"""The port behind which engines stand, and the choice between them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

from quintet.models.catalogue import ModelFiles
from quintet.models.errors import ModelError
from quintet.models.requests import Proof
from quintet.models.settings import ModelSettings, VllmSettings
from quintet.models.waves import Generator


class Serving(Generator, Protocol):
    """What serves the model and its adapters, for one thread at a time; `key` and `close` may be called from any."""

    @property
    def repeats(self) -> bool:
        """Whether the same list of requests gets the same replies."""

    def register(self, adapter: str, folder: Path, weights: str) -> None:
        """Make an adapter known under an id."""

    def forget(self, adapter: str) -> None:
        """Know it no more."""

    def prove(self, adapter: str) -> Proof:
        """Show which weights answer under its name."""

    def rest(self) -> None:
        """Give up what a training on the same GPU needs."""

    def wake(self) -> None:
        """Take it back."""

    def close(self) -> None:
        """Stop what is being generated, and let go of all."""


def engine_of(model: ModelSettings, vllm: VllmSettings) -> Literal["transformers", "vllm"]:
    """Which engine `auto` is on this machine, or the one that is named."""
    if model.engine != "auto":
        return model.engine
    if vllm.url:
        return "vllm"
    if not on_gpu(model):
        return "transformers"
    from quintet.models.vllm.interpreter import interpreter

    try:
        interpreter(vllm)
    except ModelError:
        return "transformers"
    return "vllm"


def on_gpu(model: ModelSettings) -> bool:
    """Whether the settings put the model on a GPU of this machine."""
    import torch

    return model.device.startswith("cuda") or (model.device == "auto" and torch.cuda.is_available())


def opened(
    files: ModelFiles,
    model: ModelSettings,
    vllm: VllmSettings,
    rank: int,
    log: Path,
    tell: Callable[[str], None] = lambda text: None,
) -> Serving:
    """Load the model, or have a server begin to.

    Args:
        files: What `locate` found.
        model: Engine, precision, device.
        vllm: The server.
        rank: Largest rank of an adapter.
        log: Where a server that is started says what it does.
        tell: Hears what happens to a server.

    Raises:
        ModelError: The model does not load or cannot chat, or there is no vLLM.
    """
    if engine_of(model, vllm) == "transformers":
        from quintet.models.engine import Engine

        return Engine(files, model)
    from quintet.models.vllm.engine import VllmEngine
    from quintet.models.vllm.server import Elsewhere, Started

    server = Elsewhere(vllm) if vllm.url else Started(files, model, vllm, rank, on_gpu(model), log)
    try:
        return VllmEngine(files, model, vllm, server, tell)
    except BaseException:
        server.close()
        raise
