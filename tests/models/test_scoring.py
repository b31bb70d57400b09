from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import EXACT, ask, make_adapter
from transformers import AutoModelForCausalLM

from quintet.models.catalogue import PACKAGED, locate
from quintet.models.engine import Engine
from quintet.models.requests import Request
from quintet.models.settings import ModelSettings
from quintet.records import Completion, digest

ASKED = ["Hi", "What is 3 + 4?", "Tell me about the sea and the wind, please, briefly."]
SAID = ["7", "3 + 4 = 7. Answer: 7", "The sea is wide; the wind is not.", "Answer: seven"]
LONG = "The sea is wide and the wind is strong. " * 12


def wanted() -> list[Request]:
    """Every text after every question, and by itself."""
    asked = [ask(question, given=said) for question in ASKED for said in SAID]
    return [*asked, *(Request(messages=(), given=said) for said in SAID)]


def score(engine: Engine, requests: Sequence[Request]) -> list[Completion]:
    replies = engine.generate(requests)
    assert not [reply.error for reply in replies if reply.error]
    return [reply.completions[0] for reply in replies]


def by_transformers(model: torch.nn.Module, engine: Engine, request: Request) -> np.ndarray:
    """Log-probabilities from a plain forward over the whole text."""
    prompt = engine.renderer.prompt(request)
    said = engine.renderer.given(request)
    with torch.no_grad():
        logits = model(torch.tensor([prompt + said])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(1, torch.tensor(said)[:, None]).squeeze(1).numpy()


def plain(engine: Engine) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(engine.files.path, dtype=torch.float32)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma", "gemma2", "gpt2"])
def test_scores_are_those_of_a_plain_forward(architectures: Callable[[str], Path], architecture: str) -> None:
    engine = Engine(locate(str(architectures(architecture))), EXACT)
    requests = [*wanted(), ask("Hi", given=LONG), ask(LONG, given="7")]
    model = plain(engine)
    for request, completion in zip(requests, score(engine, requests), strict=True):
        np.testing.assert_allclose(completion.logprobs, by_transformers(model, engine, request), atol=2e-4)


def test_scores_in_pieces_and_in_narrow_passes_are_the_same(
    architectures: Callable[[str], Path], llama: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [*wanted(), ask("Hi", given=LONG), ask("Ho", given=LONG[:200])]
    whole = score(llama, requests)
    monkeypatch.setattr("quintet.models.scoring._PIECE", 7)
    narrow = EXACT.model_copy(update={"prefill_tokens": 40, "cache_mb": 1})
    for one, other in zip(score(Engine(locate(str(architectures("llama"))), narrow), requests), whole, strict=True):
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(
    chosen=st.lists(
        st.tuples(st.sampled_from(["", *ASKED]), st.lists(st.integers(0, 300), max_size=20)), min_size=1, max_size=12
    )
)
def test_a_score_does_not_depend_on_its_neighbours(llama: Engine, chosen: list[tuple[str, list[int]]]) -> None:
    requests = [
        ask(question, given=tuple(said)) if question else Request(messages=(), given=tuple(said))
        for question, said in chosen
    ]
    together = score(llama, requests)
    for request, completion in zip(requests, together, strict=True):
        assert completion.tokens == request.given
        assert len(completion.logprobs) == len(completion.tokens)
        np.testing.assert_allclose(completion.logprobs, score(llama, [request])[0].logprobs, atol=1e-4)


def test_what_was_generated_is_scored_as_it_was_when_it_was_generated(llama: Engine) -> None:
    asked = ask("What is 3 + 4?", n=4, max_tokens=12)
    said = llama.generate([asked])[0].completions
    scores = score(llama, [ask("What is 3 + 4?", given=completion.tokens) for completion in said])
    for one, other in zip(said, scores, strict=True):
        assert one.text == other.text
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)


def test_scoring_beside_generating_changes_nothing_that_is_generated(llama: Engine) -> None:
    asked = [ask(question, n=3, max_tokens=9) for question in ASKED]
    mixed = llama.generate([*asked[:1], *wanted(), *asked[1:]])
    assert [*mixed[:1], *mixed[-2:]] == llama.generate(asked)


def test_an_adapter_scores_as_itself(architectures: Callable[[str], Path], tmp_path: Path) -> None:
    from peft import PeftModel

    engine = Engine(locate(str(architectures("llama"))), EXACT)
    engine.register("a", tmp_path, make_adapter(engine.files.path, tmp_path))
    requests = [ask("Hi", given=said, adapter=adapter) for said in SAID for adapter in ("base", "a")]
    scores = score(engine, requests)
    model, tuned = plain(engine), PeftModel.from_pretrained(plain(engine), tmp_path)
    for request, completion in zip(requests, scores, strict=True):
        exact = by_transformers(tuned if request.adapter == "a" else model, engine, request)
        np.testing.assert_allclose(completion.logprobs, exact, atol=5e-4)


def test_what_cannot_be_scored_fails_alone(llama: Engine) -> None:
    long, odd, fine = llama.generate([ask("Hi", given="word " * 600), ask("Hi", given=(10**6,)), ask("Hi", given="7")])
    assert long.error
    assert "exceed the model's 512" in long.error
    assert odd.error
    assert "token 1000000 is to be scored" in odd.error
    assert [reply.completions[0].finish for reply in (long, odd, fine)] == ["error", "error", "stop"]


def test_a_cancelled_score_is_no_score(llama: Engine) -> None:
    [reply] = llama.generate([ask("Hi", given="seven")], cancelled=lambda: True)
    assert (reply.completions[0].finish, reply.completions[0].logprobs) == ("time", ())
    assert reply.error


def test_keys_of_ordinary_requests_are_what_they_were_before_texts_were_scored(llama: Engine) -> None:
    request = ask("Hi", n=2, seed="s")
    before = request.model_dump(mode="json", exclude={"given"})
    before |= {"revision": llama.files.revision, "dtype": "float32", "weights": ""}
    assert llama.key(request) == digest(before)
    texts = [ask("Hi", given="7"), ask("Hi", given=(7,)), ask("Hi", given=""), ask("Ho", given="7")]
    assert len({llama.key(one) for one in (request, *texts)}) == 5


def test_a_given_text_is_scored_once_and_under_no_schema() -> None:
    for change in ({"n": 2}, {"schema_": {}}):
        with pytest.raises(ValueError, match="scored as it is"):
            ask("Hi", given="7", **change)
    with pytest.raises(ValueError, match="at least one message"):
        Request(messages=())


@pytest.mark.slow
def test_the_packaged_models_scores_in_fp32_are_those_of_transformers() -> None:
    engine = Engine(locate(PACKAGED), ModelSettings(dtype="float32", device="cpu"))
    model = plain(engine)
    requests = [*wanted(), ask("Tell me of the sea.", given=LONG)]
    for request, completion in zip(requests, score(engine, requests), strict=True):
        np.testing.assert_allclose(completion.logprobs, by_transformers(model, engine, request), atol=1e-3)
