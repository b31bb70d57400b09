"""An adapter folder is written aside and then gets its name, so that it is there whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from quintet.models.catalogue import sha256
from quintet.training import lora
from quintet.training.registry import MANIFEST, WEIGHTS, aside_of
from quintet.training.spec import Manifest

if TYPE_CHECKING:
    from peft import PeftModel


def put(model: PeftModel, manifest: Manifest, out: Path, name: str, adapter: str = lora.ADAPTER) -> Manifest:
    """Write an adapter's weights, config and manifest; the manifest with the weights' hash.

    Args:
        model: That holds it.
        manifest: All but the hash.
        out: The folder to be.
        name: The base model's.
        adapter: Which of the model's.

    Raises:
        OSError: It cannot be written.
    """
    aside = aside_of(out)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        lora.save(model, aside, name, adapter)
        manifest = manifest.model_copy(update={"weights": sha256(aside / WEIGHTS)})
        (aside / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
        shutil.rmtree(out, ignore_errors=True)
        os.replace(aside, out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return manifest
