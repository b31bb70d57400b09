"""Adapters for use elsewhere: PEFT's folder, or a whole model with the adapter folded into its weights."""

from __future__ import annotations

import json
import math
import os
import shutil
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quintet.models.catalogue import ModelFiles
from quintet.models.quiet import quiet
from quintet.training.errors import RegistryError
from quintet.training.registry import CONFIG, WEIGHTS, aside_of

if TYPE_CHECKING:
    import torch

CARD = "README.md"
"""Under this name model hubs look for a model's card."""

_TYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Types of weights, as safetensors and as torch call them."""


def export_peft(adapter: Path, base: ModelFiles, out: Path, card: str = "") -> None:
    """Copy an adapter's weights and config; the config then names the folder of the base model.

    Args:
        adapter: Its folder in the registry, checked.
        base: The model it belongs to.
        out: Where to; not there yet.
        card: What stands beside it as `README.md`.

    Raises:
        RegistryError: It cannot be written.
    """

    def fill(aside: Path) -> None:
        shutil.copyfile(adapter / WEIGHTS, aside / WEIGHTS)
        config = json.loads((adapter / CONFIG).read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = str(base.path)
        (aside / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        (aside / CARD).write_text(card, encoding="utf-8")

    _put(out, fill)


def export_merged(adapter: Path, base: ModelFiles, out: Path, card: str = "") -> None:
    """Fold an adapter into its base model and save that, with its tokenizer, as transformers reads it.

    The folding is done in float32 and stored in the base model's own type; the tokenizer is given the chat template
    that the model was trained under.

    Args:
        adapter: Its folder in the registry, checked.
        base: The model it belongs to.
        out: Where to; not there yet.
        card: What stands beside it as `README.md`.

    Raises:
        RegistryError: The model or the adapter cannot be read, or the result cannot be written.
    """
    with quiet(), warnings.catch_warnings():
        # What transformers means to change is not for whoever exports to mend.
        warnings.simplefilter("ignore", FutureWarning)
        model, tokenizer, dtype = _base(base)
        merged = _folded(model, adapter, base).to(dtype)

        def fill(aside: Path) -> None:
            merged.save_pretrained(aside)
            tokenizer.save_pretrained(aside)
            (aside / CARD).write_text(card, encoding="utf-8")

        _put(out, fill)


def _base(base: ModelFiles) -> tuple[Any, Any, torch.dtype]:
    """The model in float32, its tokenizer, and the type that it is stored in.

    Raises:
        RegistryError: They cannot be read.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    try:
        dtype = AutoConfig.from_pretrained(base.path, local_files_only=True).dtype or _stored_type(base.path)
        model: Any = AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float32, local_files_only=True)
        tokenizer: Any = AutoTokenizer.from_pretrained(base.path, local_files_only=True)
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise RegistryError(f"model {base.name!r} in {base.path} cannot be read: {_line(error)}") from error
    tokenizer.chat_template = base.chat_template or tokenizer.chat_template
    return model, tokenizer, dtype


def _folded(model: Any, adapter: Path, base: ModelFiles) -> Any:
    """The model with the adapter in its weights.

    Raises:
        RegistryError: The adapter cannot be read, or does not fit.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    try:
        return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise RegistryError(f"{adapter} cannot be folded into model {base.name!r}: {_line(error)}") from error


def _stored_type(folder: Path) -> torch.dtype:
    """The floating type that most of a model's weights are stored in.

    Raises:
        ValueError: There is none that torch computes with.
    """
    import torch
    from safetensors import safe_open

    sizes = Counter[str]()
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - no mapping
                stored = file.get_slice(name)
                sizes[stored.get_dtype()] += math.prod(stored.get_shape())
    known = [name for name, _ in sizes.most_common() if name in _TYPES]
    if not known:
        raise ValueError(f"weights of type {', '.join(sizes) or 'none'}")
    dtype: torch.dtype = getattr(torch, _TYPES[known[0]])
    return dtype


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _put(out: Path, fill: Callable[[Path], None]) -> None:
    """Write a folder aside, then give it its name."""
    from safetensors import SafetensorError

    aside = aside_of(out)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        fill(aside)
        os.replace(aside, out)
    except (OSError, SafetensorError) as error:
        # A full disk is an error of safetensors' own.
        reason = getattr(error, "strerror", None) or _line(error)
        raise RegistryError(f"{out} cannot be written: {reason}", fault=False) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
