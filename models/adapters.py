"""Reads LoRA adapters in PEFT's format and says what is wrong with a damaged one before any weight is touched.

LoRA: Hu et al. 2021, arXiv 2106.09685, eq. 3: W = W0 + (alpha / r) B A; rank-stabilised scaling (alpha / sqrt r):
Kalajdzievski 2023, arXiv 2312.03732.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError, model_validator

from quintet.models.errors import AdapterError
from quintet.records import Part

WEIGHTS = "adapter_model.safetensors"
_CONFIG = "adapter_config.json"
_KEY = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<part>[AB])\.weight$")
_ASKED = "must be a plain LoRA on linear layers"
# Settings of PEFT that change what the tensors mean; folding B A into W would then be wrong.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "use_dora": (False, None),
    "bias": ("none", None),
    "lora_bias": (False, None),
    "modules_to_save": (None, []),
    "trainable_token_indices": (None,),
    "alora_invocation_tokens": (None,),
    "arrow_config": (None,),
    "use_bdlora": (None, False),
    "target_parameters": (None, []),
    "layer_replication": (None, []),
    "use_qalora": (False, None),
    "monteclora_config": (None,),
    "kasa_config": (None,),
    # PEFT changes the base weights as it makes the adapter, unless they are converted when it is saved.
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal"),
}


class Delta(NamedTuple):
    """What an adapter adds to one weight."""

    a: torch.Tensor
    """`(rank, in)`"""
    b: torch.Tensor
    """`(out, rank)`"""
    scale: float

    def fold(self, base: torch.Tensor) -> torch.Tensor:
        """`base + scale * B A` in fp32, `(out, in)`."""
        return torch.addmm(base.float(), self.b.float(), self.a.float(), alpha=self.scale)


class AdapterSource(NamedTuple):
    """A registered adapter."""

    id: str
    folder: Path
    weights: str
    """SHA-256 that `adapter_model.safetensors` must have."""


def read(source: AdapterSource, shapes: Mapping[str, tuple[int, int]], revision: str) -> dict[str, Delta]:
    """Read an adapter and check it against its hash and the model.

    Args:
        source: Where it is, and the hash of its weights.
        shapes: `(out, in)` of each of the model's linear layers, by module name.
        revision: The model's; an adapter whose manifest names another base is refused.

    Returns:
        The delta of each module it adapts.

    Raises:
        AdapterError: It is damaged, of a kind that cannot be folded, or made for another model.
    """
    from safetensors.torch import load

    where = f"adapter {source.id}: {source.folder}"
    config = _config(source.folder, where)
    try:
        data = (source.folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise AdapterError(f"{where}/{WEIGHTS} cannot be read: {error.strerror}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != source.weights:
        raise AdapterError(f"{where}/{WEIGHTS} is damaged: SHA-256 is {found[:16]}…, expected {source.weights[:16]}…")
    try:
        tensors = load(data)
    except Exception as error:
        raise AdapterError(f"{where}/{WEIGHTS} is not safetensors: {error}") from error
    base = manifest(source.folder).get("base")
    if isinstance(base, str) and base != revision:
        raise AdapterError(f"{where} was made for base weights {base[:16]}…, the model served is {revision[:16]}…")
    deltas = _deltas(tensors, config, shapes, where)
    _complete(deltas, config, shapes, where)
    return deltas


class Probe(Part):
    """What an adapter's training wrote down so that it can be recognised when it is served."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Log-probabilities of the last tokens, with the adapter."""
    start_logprobs: tuple[float, ...]
    """The same with the weights that training started from."""

    @model_validator(mode="after")
    def _fits(self) -> Probe:
        if not 0 < len(self.logprobs) == len(self.start_logprobs) < len(self.tokens):
            raise ValueError("logprobs and start_logprobs must be of one length, below that of tokens")
        return self


def read_probe(source: AdapterSource) -> Probe:
    """The probe in an adapter's manifest.

    Raises:
        AdapterError: There is none that can be used.
    """
    try:
        return Probe.model_validate(manifest(source.folder).get("probe"))
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise AdapterError(
            f"adapter {source.id}: {source.folder}/manifest.json holds no usable probe: {reason}"
        ) from error


def others(source: AdapterSource, known: Iterable[AdapterSource]) -> dict[str, tuple[float, ...]]:
    """Log-probabilities of an adapter's probe with the other adapters, where their manifests hold the same probe."""
    tokens = read_probe(source).tokens
    found: dict[str, tuple[float, ...]] = {}
    for other in known:
        with suppress(AdapterError):
            probe = read_probe(other)
            if other.id != source.id and probe.tokens == tokens:
                found[other.id] = probe.logprobs
    return found


def manifest(folder: Path) -> dict[str, Any]:
    """The adapter's `manifest.json`, empty if it has none that can be read."""
    try:
        content = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _config(folder: Path, where: str) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / _CONFIG).read_text())
        for key, plain in _PLAIN.items():
            if config.get(key, plain[0]) not in plain:
                raise AdapterError(f"{where}/{_CONFIG}: {key} = {config[key]!r} is not supported; it {_ASKED}")
        if not (isinstance(config["r"], int) and isinstance(config["lora_alpha"], int | float)):
            raise TypeError("r and lora_alpha must be numbers")
    except OSError as error:
        raise AdapterError(f"{where}/{_CONFIG} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AdapterError(f"{where}/{_CONFIG} is not a LoRA config: {type(error).__name__}: {error}") from error
    return config


def _deltas(
    tensors: dict[str, torch.Tensor], config: dict[str, Any], shapes: Mapping[str, tuple[int, int]], where: str
) -> dict[str, Delta]:
    pairs: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.match(key)
        if match is None:
            raise AdapterError(f"{where}: tensor {key} is not a LoRA weight; it {_ASKED}")
        if not torch.isfinite(tensor).all():
            raise AdapterError(f"{where}: tensor {key} holds NaN or infinity; train it anew")
        pairs.setdefault(match["module"], {})[match["part"]] = tensor
    deltas: dict[str, Delta] = {}
    for module, pair in sorted(pairs.items()):
        if module not in shapes:
            raise AdapterError(f"{where}: the model has no linear layer {module}; it was made for another base")
        if len(pair) < 2:
            raise AdapterError(f"{where}: lora_{'A' if 'B' in pair else 'B'} of {module} is missing")
        rank, scale = _rank_and_scale(module, config)
        out, width = shapes[module]
        for part, wanted in (("A", (rank, width)), ("B", (out, rank))):
            shape = tuple(pair[part].shape)
            if shape != wanted:
                raise AdapterError(
                    f"{where}: lora_{part} of {module} has shape {shape}, the model and rank need {wanted}"
                )
        deltas[module] = Delta(pair["A"], pair["B"], scale)
    if not deltas:
        raise AdapterError(f"{where}/{WEIGHTS} holds no LoRA tensors")
    return deltas


def _rank_and_scale(module: str, config: dict[str, Any]) -> tuple[int, float]:
    """A pattern's key is a module's name or a regular expression for its end, as PEFT reads it."""

    def of(pattern: str, otherwise: Any) -> Any:
        for key, value in (config.get(pattern) or {}).items():
            if re.match(rf"(.*\.)?({key})$", module):
                return value
        return otherwise

    rank = int(of("rank_pattern", config["r"]))
    alpha = float(of("alpha_pattern", config["lora_alpha"]))
    return rank, alpha / (rank**0.5 if config.get("use_rslora") else rank)


def _complete(
    deltas: dict[str, Delta], config: dict[str, Any], shapes: Mapping[str, tuple[int, int]], where: str
) -> None:
    """Every layer that the config targets must be there, as far as the config says which."""
    targets = config.get("target_modules")
    if not isinstance(targets, list) or config.get("layers_to_transform") or config.get("exclude_modules"):
        return
    for module in shapes:
        wanted = any(module == target or module.endswith("." + target) for target in targets)
        if wanted and module not in deltas:
            raise AdapterError(f"{where}: tensors of {module} are missing, though target_modules names it")
