"""The served model's weights: loaded once, adapters folded in and out without ever folding on top of a fold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from quintet.models import attention
from quintet.models.adapters import Delta
from quintet.models.catalogue import ModelFiles
from quintet.models.errors import AdapterError, ModelError
from quintet.models.linear import PackedLinear, PlainLinear, packs
from quintet.models.quiet import quiet
from quintet.records import BASE


class _Assignable(Protocol):
    def assign(self, weight: torch.Tensor) -> None: ...


class Weights:
    """A causal language model whose linear layers can be refolded.

    The base is read again from its memory-mapped file when an adapter leaves: what lies in memory is only what is
    served, and bfloat16 rounding never adds up.
    """

    def __init__(self, files: ModelFiles, dtype: torch.dtype, device: torch.device) -> None:
        from transformers import AutoModelForCausalLM

        self.model: Any
        try:
            with quiet():
                self.model = AutoModelForCausalLM.from_pretrained(files.path, dtype=dtype, local_files_only=True)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"model {files.name!r} in {files.path} does not load: {reason}") from error
        served: Any = self.model
        served.eval().requires_grad_(False).to(device)
        attention.install(self.model)
        self.dtype, self.device = dtype, device
        self.serving: str = BASE
        """Hash of the adapter folded in now, or the base; an id may be registered anew with other weights."""
        self.shapes: dict[str, tuple[int, int]] = {}
        """`(out, in)` of every linear layer, by module name."""
        self._layers: dict[str, _Assignable] = {}
        self._transposed: set[str] = set()
        self._folded: set[str] = set()
        self._packing = packs(self.dtype, self.device)
        self._file_of = _index(files.path)
        self._keys: dict[str, str] = {}
        self._kept: dict[str, torch.Tensor] = {}
        self._take_linear_layers()
        self._let_go_of_the_file()

    def _take_linear_layers(self) -> None:
        from transformers.pytorch_utils import Conv1D

        for name, module in list(self.model.named_modules()):
            if not isinstance(module, nn.Linear | Conv1D):
                continue
            stored = module.weight.data
            if isinstance(module, Conv1D):
                self._transposed.add(name)
            weight = stored.T if name in self._transposed else stored
            self.shapes[name] = (weight.shape[0], weight.shape[1])
            if key := self._key(name):
                self._keys[name] = key
            else:
                self._kept[name] = weight.clone()
            if self._packing:
                parent, _, child = name.rpartition(".")
                layer = PackedLinear(weight, module.bias)
                setattr(self.model.get_submodule(parent), child, layer)
                self._layers[name] = layer
            else:
                self._layers[name] = PlainLinear(module)

    def _let_go_of_the_file(self) -> None:
        """Copy what was not packed: one parameter that is a view of the mapped file keeps all of it in memory."""
        for module in self.model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if self._packing and parameter.device.type == "cpu":
                    module.register_parameter(name, nn.Parameter(parameter.clone(), requires_grad=False))

    def serve(self, adapter: str, deltas: dict[str, Delta]) -> None:
        """Fold an adapter into the base.

        Args:
            adapter: Hash of its weights, or `BASE`.
            deltas: What it adds to each layer; none for the base.

        Raises:
            AdapterError: Folding failed; the base is served then.
        """
        if adapter == self.serving:
            return
        self.serving = ""
        try:
            for name in sorted(self._folded - set(deltas)):
                self._assign(name, None)
            for name, delta in deltas.items():
                self._assign(name, delta)
        except Exception as error:
            for name in sorted(self._folded):
                self._assign(name, None)
            self.serving = BASE
            reason = f"{type(error).__name__}: {error}"
            raise AdapterError(f"adapter with weights {adapter[:16]}… could not be folded: {reason}") from error
        self.serving = adapter

    def _assign(self, name: str, delta: Delta | None) -> None:
        base = self.base(name)
        if delta is not None:
            self._folded.add(name)
            moved = Delta(delta.a.to(self.device), delta.b.to(self.device), delta.scale)
            base = moved.fold(base.to(self.device))
        self._layers[name].assign(base.to(self.device, self.dtype))
        if delta is None:
            self._folded.discard(name)

    def base(self, name: str) -> torch.Tensor:
        """The base weight of a linear layer as it lies in the file, `(out, in)`."""
        from safetensors import safe_open

        if name in self._kept:
            return self._kept[name]
        key = self._keys[name]
        with safe_open(self._file_of[key], framework="pt") as file:
            weight: torch.Tensor = file.get_tensor(key)
        return weight.T if name in self._transposed else weight

    def _key(self, name: str) -> str | None:
        """The name of a layer's weight in the files, if it is there."""
        prefix = f"{self.model.base_model_prefix}."
        candidates = [f"{name}.weight", f"{name}.weight".removeprefix(prefix)]
        embedding = self.model.get_input_embeddings()
        if self.model.get_submodule(name).weight is embedding.weight:
            # A file may hold another head besides, which is not what a tied model computes with.
            [tied] = [other for other, module in self.model.named_modules() if module is embedding]
            candidates = [f"{tied}.weight", f"{tied}.weight".removeprefix(prefix)]
        return next((key for key in candidates if key in self._file_of), None)


def _index(folder: Path) -> dict[str, str]:
    """Which file holds each tensor."""
    from safetensors import safe_open

    found: dict[str, str] = {}
    for path in _files(folder):
        try:
            with safe_open(str(path), framework="pt") as file:
                found.update(dict.fromkeys(file.keys(), str(path)))
        except Exception as error:
            raise ModelError(f"{path} is not a safetensors file: {error}") from error
    return found


def _files(folder: Path) -> Iterator[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = set(json.loads(index.read_text())["weight_map"].values())
        yield from (folder / name for name in sorted(names))
    else:
        yield from sorted(folder.glob("*.safetensors"))
