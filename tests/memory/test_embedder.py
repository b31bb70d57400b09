"""Embedding is offline, repeatable to the bit, and leaves torch as it was."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quintet.memory.embedder import Embedder, embedder_folder
from quintet.memory.errors import LedgerError

SENTENCES = [
    *(f"What is {a} times {b}?" for a in (3, 17, 250) for b in (4, 99)),
    "Carry the one before you add the tens.",
    "",
    " ",
    "Straße, naïve, 東京, 🎲",
    "a lone surrogate \ud800 that a model wrote",
    "very long " * 600,
]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=14), st.integers(0, 2**32))
def test_the_same_bits_in_every_company(embedder: Embedder, texts: list[str], seed: int):
    alone = embedder.embed(texts)
    embedder._held.clear()
    shuffled = list(texts)
    random.Random(seed).shuffle(shuffled)
    together = embedder.embed(shuffled)
    for text, vector in zip(shuffled, together, strict=True):
        assert np.array_equal(vector, alone[texts.index(text)])


def test_unit_vectors_that_mean_something(embedder: Embedder):
    vectors = embedder.embed(["How do I add two numbers?", "What is the sum of two numbers?", "The cat sleeps."])
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors[0] @ vectors[1] > 0.6 > 0.3 > vectors[0] @ vectors[2]
    assert embedder.embed([]).shape[0] == 0


def test_it_agrees_with_sentence_transformers(embedder: Embedder):
    texts = [text for text in SENTENCES if "surrogate" not in text]
    theirs = embedder._model.encode(texts, normalize_embeddings=True)
    assert np.abs(embedder.embed(texts) - theirs).max() < 1e-5


def test_a_text_is_embedded_once(embedder: Embedder, monkeypatch: pytest.MonkeyPatch):
    first = embedder.embed(["seen before"])
    monkeypatch.setattr(embedder, "_encode", lambda texts: pytest.fail(f"embedded again: {texts}"))
    assert np.array_equal(embedder.embed(["seen before", "seen before"]), np.vstack([first, first]))


def test_other_threads_keep_their_threads(embedder: Embedder):
    import torch

    before = torch.get_num_threads()
    seen = []
    encode = embedder._model.forward

    def looking(*given):
        with ThreadPoolExecutor(1) as other:
            seen.append((torch.get_num_threads(), other.submit(torch.get_num_threads).result()))
        return encode(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedder._model, "forward", looking)
        embedder.embed(["never seen before in any test"])
    assert seen == [(1, before)]
    assert torch.get_num_threads() == before


def test_a_folder_without_a_model_is_one_line(tmp_path: Path):
    with pytest.raises(LedgerError, match="holds no sentence-transformers model"):
        Embedder(tmp_path).embed(["a"])
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / "config.json").write_text("{broken")
    assert embedder_folder(tmp_path) == tmp_path


def test_a_damaged_model_is_one_line(embedder: Embedder, tmp_path: Path):
    folder = Path(shutil.copytree(embedder.folder, tmp_path / "copy"))
    [weights] = folder.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(LedgerError, match="copy cannot be loaded: ") as caught:
        Embedder(folder).embed(["a"])
    assert "\n" not in str(caught.value)


OFFLINE = """
import socket, sys

def refuse(*_, **__):
    raise AssertionError("network")

socket.socket.connect = socket.getaddrinfo = refuse
from quintet.memory.settings import MemorySettings
import quintet.memory, quintet.memory.workspace, quintet.memory.memory
assert not {"torch", "chromadb", "sqlalchemy", "sentence_transformers"} & set(sys.modules), "a heavy import"
import torch
before = (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_rng_state().tolist(),
          torch.are_deterministic_algorithms_enabled())
from quintet.memory.embedder import Embedder
assert Embedder().embed(["hello"]).shape == (1, 384)
after = (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_rng_state().tolist(),
         torch.are_deterministic_algorithms_enabled())
assert before == after
print("as it was")
"""


@pytest.mark.slow
def test_offline_lazily_and_without_a_trace_in_torch():
    done = subprocess.run([sys.executable, "-c", OFFLINE], capture_output=True, text=True, check=False)
    assert done.stdout == "as it was\n", done.stderr
    assert "Loading weights" not in done.stderr
