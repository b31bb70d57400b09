"""Adapters of one base are merged as PEFT merges them, and what cannot be merged is refused before anything is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from made_rows import made_rows
from safetensors.torch import load_file

from quintet.models.catalogue import ModelFiles, locate
from quintet.training.errors import RegistryError
from quintet.training.merging import METHODS, Method, merge
from quintet.training.registry import WEIGHTS, read_adapter
from quintet.training.spec import TrainSpec
from quintet.training.train import train

Make = Callable[..., TrainSpec]


@pytest.fixture(scope="module")
def base(tiny_model_folder: Path) -> ModelFiles:
    return locate(str(tiny_model_folder))


@pytest.fixture
async def adapters(make_spec: Make, tmp_path: Path) -> list[Path]:
    """Two of one shape."""
    specs = [make_spec(rows=made_rows(4, seed=seed), out=tmp_path / f"adapter-{seed}", seed=seed) for seed in (1, 2)]
    return [(await train(spec)).folder for spec in specs]


def changes(folder: Path) -> dict[str, torch.Tensor]:
    """What each layer's weight is changed by, from the files alone."""
    import json

    config = json.loads((folder / "adapter_config.json").read_text())
    held = load_file(folder / WEIGHTS)
    scale = config["lora_alpha"] / config["r"]
    return {
        name: scale * held[name.replace("lora_A", "lora_B")] @ weight
        for name, weight in held.items()
        if "lora_A" in name
    }


@pytest.mark.slow
async def test_cat_is_the_weighted_sum_of_the_changes(adapters: list[Path], base: ModelFiles, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    manifest = merge(adapters, [0.25, 0.75], "cat", 1.0, base, out)
    assert read_adapter(out) == manifest
    one, other, both = changes(adapters[0]), changes(adapters[1]), changes(out)
    assert max(float(value.abs().max()) for value in both.values()) > 1e-4
    for name, value in both.items():
        torch.testing.assert_close(value, 0.25 * one[name] + 0.75 * other[name], rtol=1e-3, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("method", [one for one in get_args(Method) if one != "cat"])
async def test_every_other_method_keeps_the_shape_and_depends_on_nothing_but_the_seed(
    adapters: list[Path], base: ModelFiles, tmp_path: Path, method: Any
) -> None:
    made = [
        merge(adapters, [0.5, 0.5], method, 0.4, base, tmp_path / f"{n}", seed=seed).weights
        for n, seed in enumerate((1, 1, 2))
    ]
    assert made[0] == made[1]
    assert (made[0] == made[2]) == (not method.startswith("dare"))
    merged = load_file(tmp_path / "0" / WEIGHTS)
    assert {name: value.shape for name, value in merged.items()} == {
        name: value.shape for name, value in load_file(adapters[0] / WEIGHTS).items()
    }


@pytest.mark.slow
async def test_unequal_ranks_and_layers_are_refused_and_say_what_would_do(
    adapters: list[Path], make_spec: Make, base: ModelFiles, tmp_path: Path
) -> None:
    higher = (await train(make_spec(rows=made_rows(3), rank=8, out=tmp_path / "adapter-8"))).folder
    fewer = (await train(make_spec(rows=made_rows(3), targets=("q_proj",), out=tmp_path / "adapter-q"))).folder
    out = tmp_path / "merged"
    for method in METHODS:
        if method != "cat":
            with pytest.raises(RegistryError, match=r"rank 4, adapter-8 rank 8: .* cat takes any"):
                merge([adapters[0], higher], [0.5, 0.5], method, 0.5, base, out)  # type: ignore[arg-type]
        with pytest.raises(RegistryError, match="different layers"):
            merge([adapters[0], fewer], [0.5, 0.5], method, 0.5, base, out)  # type: ignore[arg-type]
    assert not out.exists()
    merge([adapters[0], higher], [0.5, 0.5], "cat", 0.5, base, out)
    one, other, both = changes(adapters[0]), changes(higher), changes(out)
    for name, value in both.items():
        torch.testing.assert_close(value, 0.5 * (one[name] + other[name]), rtol=1e-3, atol=1e-6)
