"""Every family is served as transformers itself would serve it, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from families import (
    CHATML,
    FAMILIES,
    GEMMA,
    OTHERS,
    PLAIN,
    REFUSED,
    STYLES,
    UNTRAINED,
    template_for,
    tokenizer_of,
)
from peft import PeftModel
from pydantic import BaseModel, Field
from safetensors.torch import load_file, save_file
from small_models import EXACT, ask, make_adapter, same, state
from transformers import AutoModelForCausalLM

from quintet.models import trial
from quintet.models.catalogue import locate
from quintet.models.engine import Engine
from quintet.models.errors import ModelError
from quintet.models.masks import Sight, sight
from quintet.models.prompts import end_of_turn, load_tokenizer, read_template, render
from quintet.models.requests import Request
from quintet.records import BASE, Message

QUESTIONS = [
    "Hi",
    "What is 3 + 4?",
    "Tell me about the sea and the wind, please, briefly; " * 3,
    "Why?",
    "You doubt every result until you have checked it another way. List: a, b",
]


class Verdict(BaseModel):
    verdict: Literal["accept", "revise", "reject"]
    score: int = Field(ge=0, le=10)
    why: str = Field(max_length=12)


@pytest.fixture
def open_family(folder_of: Callable[[str], Path]) -> Callable[..., Engine]:
    def get(family: str, **settings: object) -> Engine:
        files = locate(str(folder_of(family)), chat_template=template_for(family))
        return Engine(files, EXACT.model_copy(update=settings))

    return get


def plain(engine: Engine) -> torch.nn.Module:
    """The same weights by transformers alone."""
    return AutoModelForCausalLM.from_pretrained(engine.files.path, dtype=torch.float32, attn_implementation="eager")


def exact_logprobs(model: torch.nn.Module, prompt: list[int], said: tuple[int, ...]) -> np.ndarray:
    ids = torch.tensor([[*prompt, *said]])
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(1, torch.tensor(said)[:, None])[:, 0].numpy()


@pytest.mark.parametrize("family", [*FAMILIES, *OTHERS, *UNTRAINED])
def test_greedy_replies_are_those_of_transformers_generate(open_family: Callable[..., Engine], family: str) -> None:
    engine = open_family(family, batch=3, prefill_tokens=150)
    requests = [ask(text, temperature=0, max_tokens=30) for text in QUESTIONS]
    replies = engine.generate(requests)
    prompts = [engine.renderer.prompt(request) for request in requests]
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    model = plain(engine)
    out = model.generate(
        ids,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=30,
        eos_token_id=sorted(engine.renderer.stops),
        pad_token_id=0,
    )
    for reply, row, prompt in zip(replies, out[:, longest:].tolist(), prompts, strict=True):
        [completion] = reply.completions
        assert list(completion.tokens) == row[: len(completion.tokens)]
        assert completion.finish == "stop" or len(completion.tokens) == 30
        np.testing.assert_allclose(completion.logprobs, exact_logprobs(model, prompt, completion.tokens), atol=1e-3)


@pytest.mark.parametrize("family", ["mistral", "qwen3", "gemma2", "gemma3", "phi3"])
def test_a_sliding_window_is_kept_in_prefix_refill_and_shift(open_family: Callable[..., Engine], family: str) -> None:
    engine = open_family(family, batch=4, prefill_tokens=60)
    requests = [
        ask(text, n=3, top_k=0, temperature=1.0, max_tokens=70, seed=str(n)) for n, text in enumerate(QUESTIONS)
    ]
    model = plain(engine)
    for request, reply in zip(requests, engine.generate(requests), strict=True):
        for completion in reply.completions:
            exact = exact_logprobs(model, engine.renderer.prompt(request), completion.tokens)
            np.testing.assert_allclose(completion.logprobs, exact, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_logprobs_of_given_tokens_are_those_of_transformers(open_family: Callable[..., Engine], family: str) -> None:
    engine = open_family(family)
    tokens = engine.renderer.prompt(ask(QUESTIONS[2]))
    np.testing.assert_allclose(
        engine.logprobs(tokens), exact_logprobs(plain(engine), tokens[:1], tuple(tokens[1:])), atol=1e-3
    )


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma", "gpt2", "qwen2", "phi3"])
def test_constrained_replies_parse_under_every_kind_of_tokenizer(
    open_family: Callable[..., Engine], family: str
) -> None:
    engine = open_family(family)
    request = ask("Judge!", schema_=Verdict.model_json_schema(), n=5, temperature=1.5, top_k=0, max_tokens=200)
    [reply] = engine.generate([request])
    assert reply.error is None
    for completion in reply.completions:
        assert completion.finish == "stop"
        Verdict.model_validate_json(completion.text)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_folded_adapter_is_peft_s_and_the_base_returns_bit_by_bit(
    open_family: Callable[..., Engine], tmp_path: Path, family: str, dtype: str
) -> None:
    engine = open_family(family, dtype=dtype)
    base = engine.files.path
    weights = make_adapter(base, tmp_path, target_modules="all-linear", fan_in_fan_out=family == "gpt2")
    engine.register("a", tmp_path, weights)
    tokens = engine.renderer.prompt(ask(QUESTIONS[1]))
    before, at_base = state(engine), engine.logprobs(tokens)
    engine._serve("a")
    folded = engine.logprobs(tokens)
    assert (folded - at_base).abs().mean() > 0.1
    if dtype == "float32":
        adapted = PeftModel.from_pretrained(plain(engine), tmp_path)
        np.testing.assert_allclose(folded, exact_logprobs(adapted, tokens[:1], tuple(tokens[1:])), atol=1e-3)
    engine._serve(BASE)
    assert same(state(engine), before)


@pytest.mark.parametrize("family", REFUSED)
def test_what_cannot_be_served_right_is_refused_in_one_line(open_family: Callable[..., Engine], family: str) -> None:
    with pytest.raises(ModelError, match=rf"models of type '{family}' .*; take another model") as raised:
        open_family(family)
    assert "\n" not in str(raised.value)


def test_a_model_that_batches_would_serve_wrong_is_found_out(
    open_family: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "KNOWN", frozenset())
    open_family("gemma2")
    monkeypatch.setattr("quintet.models.batch.sight", lambda config: Sight(None))
    with pytest.raises(ModelError, match=r"'gemma2' are not supported: in batches .* nats from transformers' own"):
        open_family("gemma2")


def test_a_window_that_the_model_does_not_know_of_changes_nothing() -> None:
    from transformers import LlamaConfig, MistralConfig

    assert sight(LlamaConfig(sliding_window=16)) == Sight(None)
    assert sight(MistralConfig(sliding_window=16)) == Sight(16)


# --- prompts -----------------------------------------------------------------------------------------------


def messages(*said: tuple[str, str]) -> list[Message]:
    return [Message.model_validate({"role": role, "content": content}) for role, content in said]


def loaded(folder_of: Callable[[str], Path], family: str):
    return load_tokenizer(folder_of(family), family, template_for(family))


CONVERSATIONS = [
    messages(("user", "Hi")),
    messages(("system", "persona"), ("user", "one"), ("assistant", "two"), ("user", "three")),
    messages(("system", "persona"), ("system", "lesson"), ("user", "one"), ("user", "two")),
    messages(("system", "persona")),
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=len)
def test_all_that_is_said_is_in_the_prompt_and_it_begins_once(
    folder_of: Callable[[str], Path], family: str, conversation: list[Message]
) -> None:
    tokenizer = loaded(folder_of, family)
    tokens = render(tokenizer, conversation)
    text = tokenizer.decode(tokens)
    places = [text.index(message.content) for message in conversation]
    assert places == sorted(places)
    if tokenizer.bos_token_id not in (None, tokenizer.eos_token_id):
        assert tokens.count(tokenizer.bos_token_id) == (family not in {"qwen2", "qwen3", "smollm3", "phi3"})


def test_a_persona_that_the_template_refuses_begins_the_users_message(folder_of: Callable[[str], Path]) -> None:
    gemma, mistral = loaded(folder_of, "gemma"), loaded(folder_of, "mistral")
    asked = messages(("system", "Be brief."), ("user", "Hi"))
    assert gemma.decode(render(gemma, asked)) == (
        "<bos><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\n"
    )
    assert mistral.decode(render(mistral, asked)) == "<s>[INST] Be brief.\n\nHi [/INST]"


def test_what_the_template_takes_is_left_as_it_is(folder_of: Callable[[str], Path]) -> None:
    tokenizer = loaded(folder_of, "qwen2")
    asked = messages(("system", "a"), ("user", "b"), ("user", "c"))
    chat = [message.model_dump() for message in asked]
    whole = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    assert render(tokenizer, asked) == whole


@pytest.mark.parametrize("family", FAMILIES)
def test_a_reply_ends_at_the_templates_end_of_turn(open_family: Callable[..., Engine], family: str) -> None:
    engine = open_family(family)
    end = engine.tokenizer.convert_tokens_to_ids(STYLES[FAMILIES[family]].turn_end)
    assert end_of_turn(engine.tokenizer) == end
    assert end in engine.renderer.stops
    assert engine.tokenizer.eos_token_id in engine.renderer.stops
    engine._constrainer = None
    [reply] = engine.generate([ask("Go", schema_={"enum": ["yes"]}, n=2)])
    assert [completion.text for completion in reply.completions] == ['"yes"', '"yes"']


def test_generation_stops_at_the_end_of_turn_and_its_text_is_not_said(open_family: Callable[..., Engine]) -> None:
    engine = open_family("gemma")
    requests: list[Request] = [ask(text, n=8, top_k=0, temperature=3.0, max_tokens=200) for text in QUESTIONS]
    end = end_of_turn(engine.tokenizer)
    ended = [c for reply in engine.generate(requests) for c in reply.completions if c.tokens[-1] == end]
    assert ended
    for completion in ended:
        assert completion.finish == "stop"
        assert end not in completion.tokens[:-1]
        assert "<end_of_turn>" not in completion.text


def test_a_date_in_the_template_stands_still(folder_of: Callable[[str], Path]) -> None:
    tokenizer = loaded(folder_of, "llama")
    assert "Today: 26 Jul 2024" in tokenizer.decode(render(tokenizer, messages(("user", "Hi"))))


def test_without_a_template_the_line_says_what_to_do(folder_of: Callable[[str], Path]) -> None:
    with pytest.raises(ModelError, match=r"has no chat template; take an instruct .*model\.chat_template = ") as raised:
        Engine(locate(str(folder_of("gpt2"))), EXACT)
    assert "\n" not in str(raised.value)


def test_a_template_is_given_as_text_or_as_a_file_and_is_part_of_the_key(
    folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = str(folder_of("gpt2"))
    (tmp_path / "chat.jinja").write_text(PLAIN)
    engines = [Engine(locate(folder, chat_template=given), EXACT) for given in (PLAIN, str(tmp_path / "chat.jinja"))]
    other = Engine(locate(folder, chat_template=CHATML), EXACT)
    keys = [engine.key(ask("Hi")) for engine in (*engines, other)]
    assert keys[0] == keys[1] != keys[2]
    with pytest.raises(ModelError, match=r"model.chat_template = 'nowhere.jinja' is neither"):
        read_template("nowhere.jinja")
    with pytest.raises(ModelError, match=r"chat template of model .* cannot be used"):
        Engine(locate(folder, chat_template="{% for %}"), EXACT)


def test_a_model_whose_turns_have_no_end_is_refused(folder_of: Callable[[str], Path], tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(tokenizer_object=tokenizer_of("gpt2").backend_tokenizer).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="has no token that ends a turn"):
        load_tokenizer(tmp_path, "endless", PLAIN)


def test_messages_that_the_template_refuses_fail_their_request_alone(open_family: Callable[..., Engine]) -> None:
    engine = open_family("gemma")
    assert "must alternate" in GEMMA
    odd = Request(messages=tuple(messages(("assistant", "Hi"), ("user", "Ho"))))
    bad, fine = engine.generate([odd, ask("Hi", max_tokens=2)])
    assert bad.error
    assert bad.error.startswith("the chat template refuses these messages: ")
    assert fine.error is None


def test_a_tokenizer_of_another_model_is_found_out(folder_of: Callable[[str], Path], tmp_path: Path) -> None:
    for path in folder_of("qwen2").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tokenizer = load_tokenizer(tmp_path, "grown", "")
    tokenizer.add_tokens([f"<extra{number}>" for number in range(9)])
    tokenizer.save_pretrained(tmp_path)
    engine = Engine(locate(str(tmp_path)), EXACT)
    bad, fine = engine.generate([ask("Hi <extra8>"), ask("Hi", schema_={"enum": ["yes"]})])
    assert bad.error
    assert "the tokenizer is another model's" in bad.error
    assert fine.completions[0].text == '"yes"'


@pytest.mark.parametrize("extra", [{}, {"lm_head.weight": torch.ones(3, 3)}], ids=["as-published", "two-heads"])
def test_weights_are_found_under_the_names_that_gpt2_was_published_with(
    folder_of: Callable[[str], Path], tmp_path: Path, extra: dict[str, torch.Tensor]
) -> None:
    for path in folder_of("gpt2").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    file = tmp_path / "model.safetensors"
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in load_file(file).items()}
    extra = {name: torch.ones_like(tensors["wte.weight"]) for name in extra}
    save_file(tensors | extra, file, metadata={"format": "pt"})
    engine = Engine(locate(str(tmp_path), chat_template=PLAIN), EXACT)
    assert not engine._weights._kept
    weights = make_adapter(tmp_path, tmp_path / "a", target_modules=["c_attn", "lm_head"], fan_in_fan_out=True)
    engine.register("a", tmp_path / "a", weights)
    before = state(engine)
    engine._serve("a")
    engine._serve(BASE)
    assert same(state(engine), before)
