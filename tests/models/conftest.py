"""Tiny random models of several architectures, and requests for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from quintet.models.catalogue import locate
from quintet.models.engine import Engine
from quintet.models.requests import Request, Sampling
from quintet.models.settings import ModelSettings
from quintet.records import Message

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


@pytest.fixture(scope="session")
def architectures(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny model by architecture, made once."""
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = make_model(tmp_path_factory.mktemp(name), name)
        return made[name]

    return get


@pytest.fixture(scope="session")
def llama(architectures: Callable[[str], Path]) -> Engine:
    """An engine on the tiny Llama in fp32; tests leave it serving whatever they like."""
    return Engine(locate(str(architectures("llama"))), EXACT)
