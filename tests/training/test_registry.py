"""An adapter is used whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from quintet.training.errors import RegistryError
from quintet.training.registry import Registry
from quintet.training.spec import Manifest, Probe


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "adapters")
    write_adapter(registry.path("adapter-1"), b"weights")
    return registry


def write_adapter(folder: Path, weights: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(weights)
    (folder / "adapter_config.json").write_text("{}")
    manifest = Manifest(
        spec="spec",
        weights=hashlib.sha256(weights).hexdigest(),
        metrics={},
        probe=Probe(tokens=(1, 2), logprobs=(-1.0,), start_logprobs=(-2.0,)),
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())


def test_a_whole_adapter_is_known_by_the_hash_of_its_weights(registry: Registry) -> None:
    assert registry.ids() == ["adapter-1"]
    assert registry.check("adapter-1") == hashlib.sha256(b"weights").hexdigest()


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["missing", "overwritten"])
def test_damage_is_told_in_one_line_that_names_the_file(registry: Registry, name: str, damage: str) -> None:
    file = registry.path("adapter-1") / name
    file.unlink()
    if damage == "overwritten":
        file.write_bytes(b"\xff{")
    with pytest.raises(RegistryError) as caught:
        registry.check("adapter-1")
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_id_cannot_lead_out_of_the_folder(registry: Registry) -> None:
    for bad in ("../x", "a/b", "", ".part"):
        with pytest.raises(RegistryError, match="adapter id"):
            registry.path(bad)


def test_an_adapter_is_adopted_whole_and_never_over_another(registry: Registry, tmp_path: Path) -> None:
    write_adapter(tmp_path / "elsewhere", b"other weights")
    weights = registry.adopt(tmp_path / "elsewhere", "adapter-2")
    assert registry.check("adapter-2") == weights == registry.adopt(tmp_path / "elsewhere", "adapter-2")
    with pytest.raises(RegistryError, match="another adapter"):
        registry.adopt(tmp_path / "elsewhere", "adapter-1")
    assert registry.ids() == ["adapter-1", "adapter-2"]
