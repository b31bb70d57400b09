"""Tiny random models and adapters of several kinds, requests for them, and ways to compare what is served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from quintet.models.adapters import WEIGHTS
from quintet.models.catalogue import locate, sha256
from quintet.models.engine import Engine
from quintet.models.requests import Request, Sampling
from quintet.models.settings import ModelSettings
from quintet.records import Message

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
EXACT = ModelSettings(dtype="float32", device="cpu", threads=1)


def ask(text: str, **changes: Any) -> Request:
    """A request with one user message; `temperature`, `top_k` and `max_tokens` go to its sampling."""
    names = ("temperature", "top_k", "max_tokens")
    sampling = Sampling(**{name: changes.pop(name) for name in names if name in changes})
    return Request(messages=(Message(role="user", content=text),), sampling=sampling, **changes)


def make_model(folder: Path, architecture: str) -> Path:
    """Write a tiny random model with the packaged tokenizer."""
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        Gemma2Config,
        GemmaConfig,
        GPT2Config,
        LlamaConfig,
        Qwen2Config,
        Qwen3Config,
    )

    tokenizer = AutoTokenizer.from_pretrained(locate("smollm2-135m").path)
    common: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
        "max_position_embeddings": 512,
    }
    grouped = common | {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
    }
    config: Any = {
        "llama": lambda: LlamaConfig(**grouped, tie_word_embeddings=True),
        "qwen2": lambda: Qwen2Config(**grouped),
        "qwen3": lambda: Qwen3Config(**grouped),
        "gemma": lambda: GemmaConfig(**grouped),
        "gemma2": lambda: Gemma2Config(**grouped, sliding_window=256, query_pre_attn_scalar=8),
        "gpt2": lambda: GPT2Config(**common, n_embd=32, n_layer=2, n_head=4),
    }[architecture]()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                # Small initial weights give nearly flat logits, in which any mistake would hide.
                parameter.normal_(0, 0.3) if parameter.dim() > 1 else parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_adapter(base: Path, folder: Path, seed: int = 0, size: float = 0.2, **config: Any) -> str:
    """Write a random LoRA and return the hash of its weights."""
    lora: dict[str, Any] = {"r": 4, "lora_alpha": 8, "target_modules": ALL, **config}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), LoraConfig(**lora))
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.data.normal_(0, size)
    model.save_pretrained(folder, save_embedding_layers=False)
    return sha256(folder / WEIGHTS)


def state(engine: Engine) -> dict[str, torch.Tensor]:
    """Everything that is served, packed weights included."""
    found = {name: value.clone() for name, value in engine.model.state_dict().items()}
    for name, module in engine.model.named_modules():
        if hasattr(module, "packed"):
            found[name] = module.packed.to_dense().clone()
    return found


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
