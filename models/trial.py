"""Tries a model of a kind that no test of ours holds, before anything rests on it: batches against a plain forward."""

from __future__ import annotations

from typing import Any

import torch

from quintet.models import attention
from quintet.models.batch import Batch, Prompt, Sample
from quintet.models.errors import ModelError
from quintet.models.requests import Sampling
from quintet.models.sampling import token_logprobs, uniforms
from quintet.models.settings import ModelSettings

KNOWN = frozenset({"gemma", "gemma2", "gemma3_text", "gpt2", "llama", "mistral", "phi3", "qwen2", "qwen3", "smollm3"})
"""Types of models (`model_type` in `config.json`) that the tests hold to transformers' own results."""

# Log-probabilities of the same weights differ by 0.04 to 0.07 nats on average between kernels in bfloat16, and by
# 0.2 to 0.4 from another adapter's; farther than this, neither of two candidates is what is served.
FAR = {torch.bfloat16: 0.25, torch.float32: 0.01}
"""Mean absolute difference, in nats, above which two computations are not of the same weights."""

_NEW = 6


def try_out(model: Any, settings: ModelSettings, tokens: list[int], far: float) -> None:
    """Compare what batches say of random tokens with what transformers computes, where the model's type is not known.

    Args:
        model: A causal language model of transformers, its attention exchanged.
        settings: Sizes of batch, prefill and cache.
        tokens: A prompt.
        far: Largest mean difference, in nats.

    Raises:
        ModelError: They disagree, or the model cannot be run in batches.
    """
    kind = model.config.model_type
    if kind in KNOWN:
        return
    # Nearly uniform draws: the likeliest tokens would say little about the rest.
    sampling = Sampling(temperature=1e6, top_k=0, max_tokens=_NEW)
    prompts = [Prompt(tokens[:length], [_sample(sampling, length)]) for length in (len(tokens), len(tokens) * 2 // 3)]
    try:
        Batch(model, settings, frozenset(), lambda: False, lambda finished, made: None).run(prompts)
        apart = max(_apart(model, prompt) for prompt in prompts)
    except ModelError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise ModelError(
            f"models of type {kind!r} are not supported: they do not run on masks and caches made for batches "
            f"({type(error).__name__}: {reason}); take another model"
        ) from error
    if not apart <= far:
        raise ModelError(
            f"models of type {kind!r} are not supported: in batches their log-probabilities are {apart:.3f} nats from "
            "transformers' own; take another model"
        )


def _sample(sampling: Sampling, number: int) -> Sample:
    return Sample(sampling, uniforms("trial", number, sampling.max_tokens))


def _apart(model: Any, prompt: Prompt) -> float:
    """Mean absolute difference to a plain forward with transformers' own masks and attention."""
    [sample] = prompt.samples
    ids = torch.tensor([prompt.tokens + sample.tokens], device=model.device)
    with attention.plain(model):
        logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt.tokens) - 1 : -1]
    exact = token_logprobs(logits, ids[0, len(prompt.tokens) :]).cpu()
    return float((exact - torch.tensor(sample.logprobs)).abs().mean())
