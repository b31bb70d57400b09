"""The adapter on the base model: PEFT's LoRA with a faster forward and backward pass, made, continued and saved."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import Linear
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import nn
from torch.distributed.tensor import DTensor
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from quintet.models.errors import ModelError
from quintet.models.masks import sight
from quintet.training import attention
from quintet.training.errors import TrainError
from quintet.training.registry import CONFIG, WEIGHTS
from quintet.training.settings import TrainingSettings

ADAPTER = "default"


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
    base = _base(model, getattr(torch, settings.dtype), settings.quantize == "4bit")
    if settings.gradient_checkpointing:
        _checkpoint(base, model)
    if start is None:
        targets = settings.targets if isinstance(settings.targets, str) else list(settings.targets)
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=targets,
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in base.modules()),
            task_type="CAUSAL_LM",
        )
        _use_training_layers(config, settings.quantize != "none")
        try:
            return _served(get_peft_model(base, config), model)
        except ValueError as error:
            raise TrainError(f"{model} takes no adapter on {settings.targets!r}: {_first_line(error)}") from None
    config = LoraConfig.from_pretrained(str(start))
    if (config.r, config.lora_alpha) != (settings.rank, settings.alpha):
        raise TrainError(
            f"{start} has rank {config.r} and alpha {config.lora_alpha}, the settings say {settings.rank} and "
            f"{settings.alpha}: continue with the adapter's own, or start from the base"
        )
    config.lora_dropout = settings.dropout
    _use_training_layers(config, settings.quantize != "none")
    try:
        return _served(PeftModel.from_pretrained(base, str(start), is_trainable=True, config=config), model)
    except (OSError, ValueError, RuntimeError) as error:
        raise TrainError(f"{start} is no adapter of {model}: {_first_line(error)}") from None


def plain(model: Path) -> Any:
    """The frozen base model without an adapter, in the type that adapters are proved in.

    Raises:
        TrainError: It cannot be read.
    """
    return _base(model, torch.bfloat16)


def _base(model: Path, dtype: torch.dtype, quantized: bool = False) -> Any:
    """The frozen model, with attention that takes lanes and no dropout but the adapter's."""
    attention.register()
    options = _four_bits(dtype) if quantized else {}
    try:
        config = AutoConfig.from_pretrained(model, local_files_only=True)
        text = config.get_text_config()
        # The recipe's dropout is the adapter's alone: GPT-2's config would drop a tenth of everything besides.
        for key in [key for key in vars(text) if "dropout" in key or key.endswith("pdrop")]:
            if isinstance(getattr(text, key), float):
                setattr(text, key, 0.0)
        sight(config)
        return AutoModelForCausalLM.from_pretrained(
            model, config=config, dtype=dtype, attn_implementation=attention.NAME, local_files_only=True, **options
        )
    except ModelError as error:
        raise TrainError(f"{model}: {error}") from None
    except KeyError as error:
        if error.args != (attention.NAME,):
            raise
        raise TrainError(f"{model}: attention of models of type {config.model_type!r} cannot be exchanged") from None
    except (OSError, ValueError) as error:
        raise TrainError(f"{model} is no model folder that can be trained: {_first_line(error)}") from None


def _four_bits(dtype: torch.dtype) -> dict[str, Any]:
    """How transformers loads weights in 4 bits, as in QLoRA (arXiv 2305.14314, section 3).

    Raises:
        TrainError: There is no bitsandbytes.
    """
    from importlib.util import find_spec

    if find_spec("bitsandbytes") is None:
        raise TrainError("training.quantize = '4bit' needs bitsandbytes: pip install bitsandbytes")
    from transformers import BitsAndBytesConfig

    config: Any = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    # Weights are quantised on their way to the device: there they are, and are not moved again.
    device = torch.cuda.current_device() if torch.cuda.is_available() else "cpu"
    return {"quantization_config": config, "device_map": {"": device}}


def _checkpoint(base: Any, folder: Path) -> None:
    """Have each layer's activations computed anew for its gradient.

    Raises:
        TrainError: The model's architecture cannot do that.
    """
    # Its name in transformers before and after 5.20.
    enable = getattr(base, "activation_checkpointing_enable", None) or base.gradient_checkpointing_enable
    try:
        enable({"use_reentrant": False})
    except ValueError as error:
        raise TrainError(f"training.gradient_checkpointing: {folder}: {_first_line(error)}") from None


def is_apart(model: nn.Module) -> bool:
    """Whether its weights are in pieces, each process holding its own (FSDP)."""
    return any(isinstance(weight, DTensor) for weight in model.parameters())


def trained(model: nn.Module) -> dict[str, torch.Tensor]:
    """The weights that are not frozen, by name, on the CPU; where they are in pieces, all processes have to ask."""
    found = {}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            whole = weight.full_tensor() if isinstance(weight, DTensor) else weight
            found[name] = whole.detach().cpu()
    return found


def _served(model: PeftModel, folder: Path) -> PeftModel:
    """The model, if what is adapted is what `likelihood` computes with and what the engine can fold.

    Raises:
        TrainError: Its output head is adapted, or weights that are no linear layer's, as PEFT does with experts.
    """
    base: Any = model.get_base_model()
    if isinstance(base.get_output_embeddings(), BaseTunerLayer):
        raise TrainError(f"{folder}: the output head cannot be trained; leave it out of training.targets")
    config: Any = model.peft_config[ADAPTER]
    if others := config.target_parameters:
        raise TrainError(
            f"{folder} has weights outside of linear layers ({', '.join(sorted(others))}), which cannot be served with "
            "an adapter; name linear layers in training.targets, such as q_proj, k_proj, v_proj, o_proj"
        )
    return model


def save(model: PeftModel, folder: Path, name: str, adapter: str = ADAPTER) -> None:
    """Write the adapter's config and weights, in PEFT's format, into an existing folder.

    Args:
        model: The trained model.
        folder: Where to.
        name: The base model's name.
        adapter: Which of the model's.

    Raises:
        OSError: They cannot be written.
    """
    config = model.peft_config[adapter].to_dict()
    config |= {
        "base_model_name_or_path": name,
        "inference_mode": True,
        "target_modules": sorted(config["target_modules"]),
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    weights = get_peft_model_state_dict(model, adapter_name=adapter, save_embedding_layers=False)
    path = folder / WEIGHTS
    try:
        save_file({key: value.contiguous() for key, value in sorted(weights.items())}, path, metadata={"format": "pt"})
    except Exception as error:
        raise OSError(f"{path} cannot be written: {_first_line(error)}") from None
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _use_training_layers(config: LoraConfig, quantized: bool) -> None:
    # PEFT has a layer of its own for quantised weights, which are linear layers too.
    plain = config.lora_dropout == 0 and not (config.use_dora or config.lora_bias)
    if plain and not quantized:
        config._register_custom_module({nn.Linear: TrainingLinear})


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
