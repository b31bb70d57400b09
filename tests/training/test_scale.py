"""The tables of docs/scale.md are those that the script computes, for the model that it names."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

ROOT = Path(__file__).parents[2]


@pytest.fixture
def scale(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    sys.modules.pop("scale", None)
    return importlib.import_module("scale")


def test_the_page_holds_what_the_script_computes(scale: ModuleType) -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    for mark, table in scale.TABLES.items():
        begin, end = f"<!-- {mark}: written by benchmarks/scale.py -->", f"<!-- end of {mark} -->"
        held = page.split(begin)[1].split(end)[0].strip()
        assert held == "\n".join(table()), f"{mark}: run python benchmarks/scale.py"


def test_the_arithmetics_model_is_the_one_that_transformers_builds(scale: ModuleType) -> None:
    model = scale.MODEL
    with torch.device("meta"):
        built = Qwen2ForCausalLM(
            Qwen2Config(
                vocab_size=model.vocabulary,
                hidden_size=model.hidden,
                intermediate_size=model.inner,
                num_hidden_layers=model.layers,
                num_attention_heads=model.heads,
                num_key_value_heads=model.key_heads,
            )
        )
    assert built.num_parameters() == model.parameters
    linear = [module for module in built.modules() if isinstance(module, torch.nn.Linear)]
    assert sum(module.weight.numel() for module in linear) == model.computed
    adapted = [module for module in linear if module is not built.lm_head]
    assert sum(16 * sum(module.weight.shape) for module in adapted) == model.adapter(16)


def test_more_gpus_are_never_slower_and_never_cheaper(scale: ModuleType) -> None:
    times = [sum(scale.seconds(place).values()) for place in scale.PLACES]
    assert times == sorted(times, reverse=True)
    one, more = scale.seconds(scale.PLACES[0]), scale.seconds(scale.PLACES[1])
    for part in ("reading", "generating", "training"):
        assert more[part] == pytest.approx(one[part] / 8)
    assert scale.seconds(scale.PLACES[0], per_token=6)["training"] == pytest.approx(1.5 * one["training"])
