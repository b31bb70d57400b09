"""A tiny random Llama with the real tokenizer, for tests in which the state machine is the point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quintet.graph.settings import Settings


def tiny_model(folder: Path) -> Path:
    """Write the model to a folder, and return it."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from quintet.models.catalogue import locate

    tokenizer = AutoTokenizer.from_pretrained(locate("smollm2-135m").path)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).to(torch.bfloat16)
        # The end-of-turn row is zero, being the padding too, and a random model would never stop: a long one makes
        # that token likely now and then.
        model.get_input_embeddings().weight.data[tokenizer.eos_token_id] = 0.4 * torch.randn(config.hidden_size)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_settings(model: Path, **changes: Any) -> Settings:
    """Settings of a run of seconds on the tiny model and the parity family."""
    values: dict[str, Any] = {
        "name": "tiny",
        "rounds": 2,
        "proposer": {"families": ["parity"], "tasks": 4, "invented": 2},
        "solver": {"samples": 3, "max_tokens": 8, "revise_below": 1.0},
        "critic": {"max_tokens": 24},
        "curator": {"longest": 64},
        "trainer": {"least_rows": 1},
        "model": {"name": str(model)},
        "evaluation": {
            "families": {"parity": [0]},
            "steer_items": 4,
            "gate_items": 12,
            "retention_items": 0,
            "final_items": 12,
            "alpha": 0.4,
            "minimum_effect": 0.0,
        },
    }
    for key, value in changes.items():
        values[key] = {**values[key], **value} if isinstance(value, dict) and key in values else value
    return Settings.compose(values)
