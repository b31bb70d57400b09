"""Adapters for use elsewhere: PEFT's folder, or a whole model with the adapter folded into its weights."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from quintet.models.catalogue import ModelFiles
from quintet.models.quiet import quiet
from quintet.training.errors import RegistryError
from quintet.training.registry import CONFIG, WEIGHTS, aside_of


def export_peft(adapter: Path, base: ModelFiles, out: Path) -> None:
    """Copy an adapter's weights and config; the config then names the folder of the base model.

    Args:
        adapter: Its folder in the registry, checked.
        base: The model it belongs to.
        out: Where to; not there yet.

    Raises:
        RegistryError: It cannot be written.
    """

    def fill(aside: Path) -> None:
        shutil.copyfile(adapter / WEIGHTS, aside / WEIGHTS)
        config = json.loads((adapter / CONFIG).read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = str(base.path)
        (aside / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    _put(out, fill)


def export_merged(adapter: Path, base: ModelFiles, out: Path) -> None:
    """Fold an adapter into its base model and save that, with its tokenizer, as transformers reads it.

    The folding is done in float32 and stored in the base model's own type.

    Args:
        adapter: Its folder in the registry, checked.
        base: The model it belongs to.
        out: Where to; not there yet.

    Raises:
        RegistryError: It cannot be written.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    def merge(aside: Path) -> None:
        dtype = AutoConfig.from_pretrained(base.path, local_files_only=True).dtype or torch.bfloat16
        model = AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float32, local_files_only=True)
        merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
        merged.to(dtype).save_pretrained(aside)
        AutoTokenizer.from_pretrained(base.path, local_files_only=True).save_pretrained(aside)

    with quiet():
        _put(out, merge)


def _put(out: Path, fill: Callable[[Path], None]) -> None:
    """Write a folder aside, then give it its name."""
    aside = aside_of(out)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        fill(aside)
        os.replace(aside, out)
    except OSError as error:
        raise RegistryError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
