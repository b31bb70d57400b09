"""The adapter on the base model: PEFT's LoRA with a faster forward and backward pass, made, continued and saved."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import Linear
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import nn
from transformers import AutoModelForCausalLM

from quintet.training import attention
from quintet.training.errors import TrainError
from quintet.training.registry import CONFIG, WEIGHTS
from quintet.training.settings import TrainingSettings

ADAPTER = "default"

_LOGIT_CHANGES = ("final_logit_softcapping", "logit_scale", "logits_scaling")
"""Config keys of models whose logits are more than the head's product, which `likelihood` computes alone."""


class _LoraProduct(torch.autograd.Function):
    """y = x Wᵀ + s (x Aᵀ) Bᵀ (LoRA, arXiv 2106.09685, eq. 3) with W frozen, in as few passes over memory as it needs.

    Autograd on PEFT's own forward casts the whole of x to the adapter's float32, keeps the copy, and adds whole
    matrices three times; here only A and B (16 rows each) are cast, and the additions happen inside the products.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        lora_a: torch.Tensor,
        lora_b: torch.Tensor,
        scaling: float,
    ) -> torch.Tensor:
        flat = x.flatten(0, -2)
        a, b = lora_a.to(x.dtype), lora_b.to(x.dtype)
        low = flat @ a.T
        y = nn.functional.linear(flat, weight, bias).addmm_(low, b.T, alpha=scaling)
        ctx.save_for_backward(flat, weight, a, b, low)
        ctx.scaling = scaling
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        flat, weight, a, b, low = ctx.saved_tensors
        dy = grad_outputs[0].flatten(0, -2)
        d_low = (dy @ b).mul_(ctx.scaling)
        d_a = d_low.T @ flat
        d_b = (dy.T @ low).mul_(ctx.scaling)
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = (dy @ weight).addmm_(d_low, a).view(*grad_outputs[0].shape[:-1], -1)
        return d_x, None, None, d_a.float(), d_b.float(), None


class TrainingLinear(Linear):
    """PEFT's LoRA layer, faster in training mode; in evaluation mode it is PEFT's own computation."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """The adapted layer's output, of shape (..., features out)."""
        base = self.base_layer
        if not self.training or self.merged or self.disable_adapters or x.dtype != base.weight.dtype:
            output: torch.Tensor = super().forward(x, *args, **kwargs)
            return output
        product: torch.Tensor = _LoraProduct.apply(  # type: ignore[no-untyped-call]
            x,
            base.weight,
            base.bias,
            self.lora_A[ADAPTER].weight,
            self.lora_B[ADAPTER].weight,
            self.scaling[ADAPTER],
        )
        return product


def load(model: Path, start: Path | None, settings: TrainingSettings) -> PeftModel:
    """The base model with a new adapter, or with the one to continue, ready to train.

    Raises:
        TrainError: The model or the adapter cannot be read, or the adapter has another shape than the settings.
    """
    dtype = getattr(torch, settings.dtype)
    try:
        attention.register()
        base = AutoModelForCausalLM.from_pretrained(
            model, dtype=dtype, attn_implementation=attention.NAME, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise TrainError(f"{model} is no readable model folder: {_first_line(error)}") from None
    kinds = set(getattr(base.config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if kinds:
        raise TrainError(f"{model} has layers of kind {', '.join(sorted(kinds))}: only attention can share a prompt")
    text = base.config.get_text_config()
    scaled = [name for name in _LOGIT_CHANGES if getattr(text, name, None) not in {None, 1}]
    head = base.get_output_embeddings()  # type: ignore[no-untyped-call]
    if scaled or getattr(head, "bias", None) is not None:
        raise TrainError(f"{model} changes its logits after the head ({', '.join(scaled) or 'bias'}): not supported")
    if start is None:
        targets = settings.targets if isinstance(settings.targets, str) else list(settings.targets)
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=targets,
            task_type="CAUSAL_LM",
        )
        _use_training_layers(config)
        return get_peft_model(base, config)
    config = LoraConfig.from_pretrained(str(start))
    if (config.r, config.lora_alpha) != (settings.rank, settings.alpha):
        raise TrainError(
            f"{start} has rank {config.r} and alpha {config.lora_alpha}, the settings say {settings.rank} and "
            f"{settings.alpha}: continue with the adapter's own, or start from the base"
        )
    config.lora_dropout = settings.dropout
    _use_training_layers(config)
    try:
        return PeftModel.from_pretrained(base, str(start), is_trainable=True, config=config)
    except (OSError, ValueError, RuntimeError) as error:
        raise TrainError(f"{start} is no adapter of {model}: {_first_line(error)}") from None


def save(model: PeftModel, folder: Path, name: str) -> None:
    """Write the adapter's config and weights, in PEFT's format, into an existing folder.

    Args:
        model: The trained model.
        folder: Where to.
        name: The base model's name.

    Raises:
        OSError: They cannot be written.
    """
    config = model.peft_config[ADAPTER].to_dict()
    config |= {
        "base_model_name_or_path": name,
        "inference_mode": True,
        "target_modules": sorted(config["target_modules"]),
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    weights = get_peft_model_state_dict(model, adapter_name=ADAPTER, save_embedding_layers=False)
    path = folder / WEIGHTS
    try:
        save_file({key: value.contiguous() for key, value in sorted(weights.items())}, path, metadata={"format": "pt"})
    except Exception as error:
        raise OSError(f"{path} cannot be written: {_first_line(error)}") from None
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _use_training_layers(config: LoraConfig) -> None:
    if config.lora_dropout == 0 and not (config.use_dora or config.lora_bias):
        config._register_custom_module({nn.Linear: TrainingLinear})


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
