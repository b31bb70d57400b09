"""What saves memory changes nothing that is learnt, and what is missing for it is told."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from made_rows import made_rows
from transformers import AutoTokenizer

from quintet.training import attention
from quintet.training.errors import TrainError
from quintet.training.lora import load
from quintet.training.settings import TrainingSettings
from quintet.training.sft import RejectionSampling

FLOAT32 = TrainingSettings(dtype="float32", rank=4, alpha=8, lane_tokens=160, batch_tokens=320)


def learnt(folder: Path, settings: TrainingSettings) -> tuple[float, dict[str, torch.Tensor], int]:
    """Loss and gradients of a batch, and how often the first layer's attention was computed."""
    torch.manual_seed(1)
    model = load(folder, None, settings)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # at its start B is 0, and A would have no gradient
            torch.nn.init.normal_(parameter, std=0.3)
    computed = []
    model.get_base_model().model.layers[0].self_attn.register_forward_hook(lambda *_: computed.append(1))
    objective = RejectionSampling(settings)
    batch = objective.collate(objective.examples(made_rows(4), AutoTokenizer.from_pretrained(folder)))[0]
    model.train()
    loss = objective.loss(model, batch)
    loss.backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}
    return loss.item(), gradients, len(computed)


def test_activations_computed_anew_give_the_same_gradients(tiny_model_folder: Path) -> None:
    loss, gradients, once = learnt(tiny_model_folder, FLOAT32)
    again, others, twice = learnt(tiny_model_folder, FLOAT32.model_copy(update={"gradient_checkpointing": True}))
    assert (once, twice) == (1, 2)
    assert again == loss
    assert any(gradient.abs().max() > 0 for gradient in gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, rtol=0, atol=0)


def test_four_bits_without_bitsandbytes_fail_in_one_line(tiny_model_folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    with pytest.raises(TrainError, match="needs bitsandbytes: pip install bitsandbytes") as caught:
        load(tiny_model_folder, None, FLOAT32.model_copy(update={"quantize": "4bit"}))
    assert "\n" not in str(caught.value)


def test_what_computes_attention_is_said() -> None:
    assert attention.kernel("cpu") == "batched products (quintet-lanes)"
    # Where there is no kernel for lanes at all, training goes on to say so itself.
    assert "scaled_dot_product_attention" in attention.kernel("meta")
