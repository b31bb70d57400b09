"""Tiny random models of many families, each with a small tokenizer trained here and its family's style of template."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

LLAMA_3 = (
    "{%- if not date_string is defined %}{%- if strftime_now is defined %}"
    "{%- set date_string = strftime_now('%d %b %Y') %}{%- else %}{%- set date_string = '26 Jul 2024' %}"
    "{%- endif %}{%- endif %}"
    "{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] | trim %}"
    "{%- set messages = messages[1:] %}{%- else %}{%- set system = '' %}{%- endif %}"
    "{{- bos_token }}{{- '<|start_header_id|>system<|end_header_id|>\n\nToday: ' + date_string + '\n\n' + system }}"
    "{{- '<|eot_id|>' }}"
    "{%- for message in messages %}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    "{{- message['content'] | trim + '<|eot_id|>' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)
CHATML = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
GEMMA = (
    "{{ bos_token }}"
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}"
    "{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
)
"""Drops a system message without a word."""
PHI_3 = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
PLAIN = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)
"""What a user may give a model that has none."""

PADDING, UNKNOWN = "<pad>", "<unk>"
CORPUS = [
    "What is 34 + 7? End with: Answer: <final answer>",
    "Tell me about the sea and the wind, please, briefly.",
    'Judge the attempt as JSON: {"verdict": "accept", "score": 7, "why": "short and right"}',
    "The sum of 12 and 30 is 42. Therefore the answer is 42, and you doubt every result until you have checked it.",
    "user assistant system model Today: Say something about 12 boats. 34 + 7 = 41",
] * 3


@dataclass(frozen=True)
class Style:
    """A tokenizer and its template."""

    template: str
    eos: str
    turn_end: str
    """What ends an assistant's turn in the template."""
    bos: str | None = None
    special: tuple[str, ...] = ()
    sentencepiece: bool = False


STYLES = {
    "llama3": Style(
        LLAMA_3, "<|end_of_text|>", "<|eot_id|>", "<|begin_of_text|>", ("<|start_header_id|>", "<|end_header_id|>")
    ),
    "chatml": Style(CHATML, "<|endoftext|>", "<|im_end|>", None, ("<|im_start|>",)),
    "gemma": Style(GEMMA, "<eos>", "<end_of_turn>", "<bos>", ("<start_of_turn>",)),
    "mistral": Style(MISTRAL, "</s>", "</s>", "<s>", ("[INST]", "[/INST]"), sentencepiece=True),
    "phi3": Style(PHI_3, "<|endoftext|>", "<|end|>", None, ("<|user|>", "<|assistant|>", "<|system|>")),
    "gpt2": Style("", "<|endoftext|>", "<|endoftext|>", "<|endoftext|>"),
}

FAMILIES = {
    "llama": "llama3",
    "mistral": "mistral",
    "qwen2": "chatml",
    "qwen3": "chatml",
    "gemma": "gemma",
    "gemma2": "gemma",
    "gemma3": "gemma",
    "gpt2": "gpt2",
    "phi3": "phi3",
    "smollm3": "chatml",
}
"""The families that tests hold to transformers, each with the style of its template."""

OTHERS = {"cohere": "chatml", "granite": "chatml", "gpt_neox": "chatml", "olmo2": "chatml", "phi": "chatml"}
"""Families that are tried when they are opened."""

REFUSED = {"bloom": "chatml", "gpt_oss": "chatml", "mamba": "chatml", "llama4_text": "chatml", "qwen3_next": "chatml"}
"""Families that cannot be served."""

UNTRAINED = {"falcon": "chatml", "mixtral": "chatml"}
"""Families that are served, but cannot be trained."""


@cache
def tokenizer_of(style: str) -> Any:
    """A tokenizer of some 400 tokens: byte-level BPE, or a unigram model with `▁` for spaces."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    look = STYLES[style]
    special = list(dict.fromkeys([PADDING, *([look.bos] if look.bos else []), look.eos, look.turn_end, *look.special]))
    if look.sentencepiece:
        unigram = Tokenizer(models.Unigram())
        unigram.normalizer = normalizers.Replace(" ", "▁")
        alphabet = sorted({character for line in CORPUS for character in line} - {" "})
        trainer: Any = trainers.UnigramTrainer(
            vocab_size=300, special_tokens=[*special, UNKNOWN], unk_token=UNKNOWN, initial_alphabet=[*alphabet, "▁"]
        )
        unigram.train_from_iterator(CORPUS, trainer)
        # SentencePiece's way out for characters that it has not seen.
        bytes_ = [f"<0x{value:02X}>" for value in range(256)]
        vocabulary = unigram.get_vocab()
        state = json.loads(unigram.to_str())
        state["model"]["vocab"] += [[token, -20.0] for token in bytes_ if token not in vocabulary]
        state["model"]["byte_fallback"] = True
        made = Tokenizer.from_str(json.dumps(state))
        made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    else:
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        made.train_from_iterator(
            CORPUS, trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
        )
    if look.bos:
        # As these families' tokenizers do: whoever asks for special tokens gets what begins a text.
        made.post_processor = processors.TemplateProcessing(
            single=f"{look.bos} $A", special_tokens=[(look.bos, made.token_to_id(look.bos))]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token=look.bos, eos_token=look.eos, pad_token=PADDING
    )
    if look.template:
        tokenizer.chat_template = look.template
    return tokenizer


def config_of(family: str, **changes: Any) -> Any:
    """The config of a tiny model."""
    import transformers

    tokenizer = tokenizer_of(style_of(family))
    common: dict[str, Any] = {
        "vocab_size": len(tokenizer) + 3,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "max_position_embeddings": 512,
    }
    grouped = common | {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    mixed = ["sliding_attention", "full_attention", "sliding_attention"]
    small = {key: value for key, value in grouped.items() if key != "num_key_value_heads"}
    made: Any = {
        "llama": lambda: transformers.LlamaConfig(**grouped, tie_word_embeddings=True),
        "mistral": lambda: transformers.MistralConfig(**grouped, sliding_window=20),
        "qwen2": lambda: transformers.Qwen2Config(**grouped),
        "qwen3": lambda: transformers.Qwen3Config(
            **grouped, head_dim=16, use_sliding_window=True, sliding_window=20, max_window_layers=1
        ),
        "gemma": lambda: transformers.GemmaConfig(**grouped, head_dim=16),
        "gemma2": lambda: transformers.Gemma2Config(
            **grouped,
            head_dim=16,
            sliding_window=20,
            layer_types=mixed,
            query_pre_attn_scalar=12,
            attn_logit_softcapping=2.0,
            final_logit_softcapping=4.0,
        ),
        "gemma3": lambda: transformers.Gemma3TextConfig(
            **grouped, head_dim=16, sliding_window=20, layer_types=mixed, query_pre_attn_scalar=12
        ),
        "gpt2": lambda: transformers.GPT2Config(**common, n_embd=32, n_layer=3, n_head=4),
        "phi3": lambda: transformers.Phi3Config(**grouped, sliding_window=24),
        "smollm3": lambda: transformers.SmolLM3Config(**grouped, no_rope_layers=[1, 0, 1]),
        "cohere": lambda: transformers.CohereConfig(**grouped, logit_scale=0.3),
        "granite": lambda: transformers.GraniteConfig(**grouped, logits_scaling=3.0, attention_multiplier=0.2),
        "gpt_neox": lambda: transformers.GPTNeoXConfig(**small),
        "olmo2": lambda: transformers.Olmo2Config(**grouped),
        "phi": lambda: transformers.PhiConfig(**grouped),
        "falcon": lambda: transformers.FalconConfig(**small),
        "mixtral": lambda: transformers.MixtralConfig(**grouped, num_local_experts=2),
        "bloom": lambda: transformers.BloomConfig(vocab_size=common["vocab_size"], hidden_size=32, n_layer=2, n_head=4),
        "gpt_oss": lambda: transformers.GptOssConfig(**grouped, head_dim=8, num_local_experts=2, sliding_window=16),
        "mamba": lambda: transformers.MambaConfig(
            vocab_size=common["vocab_size"], hidden_size=32, num_hidden_layers=2, state_size=4
        ),
        "llama4_text": lambda: transformers.Llama4TextConfig(
            **grouped, head_dim=8, intermediate_size_mlp=48, num_local_experts=2, attention_chunk_size=16
        ),
        "qwen3_next": lambda: transformers.Qwen3NextConfig(
            **grouped,
            head_dim=8,
            num_experts=2,
            linear_num_value_heads=2,
            linear_num_key_heads=2,
            linear_key_head_dim=8,
            linear_value_head_dim=8,
            layer_types=["linear_attention", "linear_attention", "full_attention"],
        ),
    }[family]()
    for key, value in changes.items():
        setattr(made, key, value)
    return made


def make_family(folder: Path, family: str) -> Path:
    """Write a tiny random model and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_config(config_of(family))
        with torch.no_grad():
            for parameter in model.parameters():
                # Small initial weights give nearly flat logits, in which any mistake would hide.
                parameter.normal_(0, 0.3) if parameter.dim() > 1 else parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    tokenizer_of(style_of(family)).save_pretrained(folder)
    return folder


def style_of(family: str) -> str:
    """The style of a family's tokenizer."""
    return {**FAMILIES, **OTHERS, **REFUSED, **UNTRAINED}[family]


def template_for(family: str) -> str:
    """The template that a user gives a model without one; empty for the others."""
    return PLAIN if family == "gpt2" else ""
