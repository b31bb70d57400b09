from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import EXACT, ask

from quintet.models.catalogue import locate
from quintet.models.engine import Engine
from quintet.models.errors import ModelError
from quintet.models.requests import Progress, Reply, Request
from quintet.models.sampling import choose, uniforms

QUESTIONS = [
    "Hi",
    "What is 3 + 4?",
    "Tell me about the sea and the wind, please, briefly.",
    "Why?",
    "List: a, b",
]


def tokens_of(replies: list[Reply]) -> list[list[tuple[int, ...]]]:
    return [[completion.tokens for completion in reply.completions] for reply in replies]


def greedy_by_transformers(engine: Engine, request: Request) -> list[int]:
    """What `generate` makes of the prompt alone."""
    ids = torch.tensor([engine.renderer.prompt(request)])
    model = type(engine.model).from_pretrained(engine.files.path, dtype=torch.float32)
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=request.sampling.max_tokens
    )
    return out[0, ids.shape[1] :].tolist()


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "gemma", "gemma2", "gpt2"])
def test_greedy_replies_are_those_of_transformers_generate(
    architectures: Callable[[str], Path], architecture: str
) -> None:
    small = EXACT.model_copy(update={"batch": 3})
    engine = Engine(locate(str(architectures(architecture))), small)
    requests = [ask(text, temperature=0, max_tokens=5 + 3 * place) for place, text in enumerate(QUESTIONS)]
    replies = engine.generate(requests)
    for request, reply in zip(requests, replies, strict=True):
        assert list(reply.completions[0].tokens) == greedy_by_transformers(engine, request)


def test_same_seed_gives_the_same_tokens_and_another_seed_others(llama: Engine) -> None:
    def run(seed: str) -> list[list[tuple[int, ...]]]:
        return tokens_of(llama.generate([ask(text, seed=seed, n=3, max_tokens=12) for text in QUESTIONS]))

    assert run("a") == run("a")
    assert run("a") != run("b")


def test_samples_of_one_request_differ(llama: Engine) -> None:
    [reply] = llama.generate([ask("Hi", n=6, max_tokens=12)])
    assert len({completion.tokens for completion in reply.completions}) > 1


def test_a_sample_does_not_depend_on_its_neighbours(llama: Engine) -> None:
    mine = ask("What is 3 + 4?", seed="mine", n=4, max_tokens=14)
    alone = llama.generate([mine])[0]
    others = [ask(text, seed="others", n=5, max_tokens=9) for text in QUESTIONS]
    among = llama.generate([*others[:2], mine, *others[2:]])[2]
    assert tokens_of([alone]) == tokens_of([among])
    for one, other in zip(alone.completions, among.completions, strict=True):
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-4)


def test_fewer_samples_are_the_first_of_more(llama: Engine) -> None:
    few, more = (llama.generate([ask("Hi", n=n, max_tokens=12)]) for n in (2, 5))
    assert tokens_of(few)[0] == tokens_of(more)[0][:2]


def test_replies_do_not_depend_on_the_batch_size(architectures: Callable[[str], Path], llama: Engine) -> None:
    """Refilling, compaction and shifts of the time axis leave every sample as it is."""
    requests = [ask(text, seed=str(place), n=7, max_tokens=90) for place, text in enumerate(QUESTIONS)]
    tight = EXACT.model_copy(update={"batch": 4, "prefill_tokens": 40})
    small = Engine(locate(str(architectures("llama"))), tight)
    assert tokens_of(small.generate(requests)) == tokens_of(llama.generate(requests))


def test_logprobs_are_those_of_a_plain_forward(llama: Engine) -> None:
    request = ask("What is 3 + 4?", n=3, temperature=0.7, top_k=5, max_tokens=10)
    for completion in llama.generate([request, ask("Hi", n=2)])[0].completions:
        prompt = llama.renderer.prompt(request)
        ids = torch.tensor([prompt + list(completion.tokens)])
        with torch.no_grad():
            logits = llama.model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float()
        chosen = torch.tensor(completion.tokens)[:, None]
        raw = logits.log_softmax(-1).gather(1, chosen).squeeze(1)
        kept, places = (logits / 0.7).topk(5)
        behaviour = torch.where(places == chosen, kept.log_softmax(-1), 0).sum(1)
        np.testing.assert_allclose(completion.logprobs, raw, atol=1e-4)
        np.testing.assert_allclose(completion.behaviour_logprobs, behaviour, atol=1e-4)


def test_a_greedy_choice_is_certain_under_the_behaviour_distribution(llama: Engine) -> None:
    [reply] = llama.generate([ask("Hi", temperature=0, max_tokens=6)])
    assert set(reply.completions[0].behaviour_logprobs) == {0.0}
    assert all(value < 0 for value in reply.completions[0].logprobs)


@settings(max_examples=30, deadline=None)
@given(top_k=st.sampled_from([0, 1, 3, 7]), temperature=st.sampled_from([0.5, 1.0, 2.0]), seed=st.integers(0, 10**6))
def test_tokens_are_drawn_with_the_probability_reported(top_k: int, temperature: float, seed: int) -> None:
    logits = torch.from_numpy(np.random.default_rng(seed).normal(0, 1.5, (1, 9))).float()
    plan = ask("x", top_k=top_k, temperature=temperature).sampling
    count = 600
    draws = [(place + 0.5) / count for place in range(count)]
    choice = choose(logits.expand(count, -1), [plan] * count, draws)
    allowed = logits[0].topk(top_k or 9).indices.tolist()
    assert set(choice.tokens) <= set(allowed)
    for token in set(choice.tokens):
        reported = np.exp(choice.behaviour[choice.tokens.index(token)])
        assert abs(choice.tokens.count(token) / count - reported) <= 1.01 / count


def test_random_numbers_depend_on_seed_and_sample_alone() -> None:
    assert np.array_equal(uniforms("s", 1, 5), uniforms("s", 1, 9)[:5])
    assert not np.array_equal(uniforms("s", 1, 5), uniforms("s", 2, 5))
    assert not np.array_equal(uniforms("s", 1, 5), uniforms("t", 1, 5))


def test_global_random_state_is_left_alone(llama: Engine) -> None:
    state, numpy_state = torch.random.get_rng_state(), str(np.random.get_state())
    llama.generate([ask("Hi", n=3, max_tokens=5)])
    assert torch.equal(state, torch.random.get_rng_state())
    assert numpy_state == str(np.random.get_state())


def test_cancelled_every_sample_ends_by_time(llama: Engine) -> None:
    [reply] = llama.generate([ask("Hi", n=2)], cancelled=lambda: True)
    assert [completion.finish for completion in reply.completions] == ["time", "time"]
    assert reply.error
    assert "2 of 2" in reply.error


def test_cancellation_is_noticed_within_a_step(llama: Engine) -> None:
    seen: list[Progress] = []
    requests = [ask(text, n=3, max_tokens=300) for text in QUESTIONS]
    replies = llama.generate(requests, progress=seen.append, cancelled=lambda: len(seen) == 4)
    assert len(seen) == 4
    cut = [completion for reply in replies for completion in reply.completions if completion.finish == "time"]
    assert cut
    assert all(len(completion.tokens) <= 4 for completion in cut)


def test_the_time_limit_is_each_calls_own_however_long_the_wave(
    architectures: Callable[[str], Path], llama: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A clock that goes on by a second a step.
    steps: list[Progress] = []
    monkeypatch.setattr("quintet.models.batch.monotonic", lambda: float(len(steps)))
    slow = EXACT.model_copy(update={"batch": 2, "call_seconds": 15.0})
    engine = Engine(locate(str(architectures("llama"))), slow)
    requests = [ask(text, seed=str(place), n=2, max_tokens=12) for place, text in enumerate(QUESTIONS)]
    replies = engine.generate(requests, progress=steps.append)
    assert len(steps) > 3 * slow.call_seconds
    assert not any(reply.error for reply in replies)
    assert tokens_of(replies) == tokens_of(llama.generate(requests))


def test_a_call_beyond_its_time_is_cut_and_leaves_the_others_theirs(
    architectures: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Progress] = []
    monkeypatch.setattr("quintet.models.batch.monotonic", lambda: float(len(steps)))
    slow = EXACT.model_copy(update={"batch": 2, "call_seconds": 15.0})
    engine = Engine(locate(str(architectures("llama"))), slow)
    # The longest prompt is the first to be prefilled.
    requests = [ask(QUESTIONS[2], max_tokens=100), *(ask(text, max_tokens=9) for text in QUESTIONS)]
    long, *others = engine.generate(requests, progress=steps.append)
    assert [completion.finish for completion in long.completions] == ["time"]
    assert len(long.completions[0].tokens) < 20
    assert long.error
    assert not any(reply.error for reply in others)


def test_progress_adds_up_to_what_was_generated(llama: Engine) -> None:
    seen: list[Progress] = []
    replies = llama.generate([ask(text, n=3, max_tokens=7) for text in QUESTIONS], progress=seen.append)
    total = sum(len(completion.tokens) for reply in replies for completion in reply.completions)
    assert (seen[-1].tokens, seen[-1].finished, seen[-1].sequences) == (total, 15, 15)


def test_a_prompt_that_does_not_fit_fails_alone(llama: Engine) -> None:
    long, fine = llama.generate([ask("word " * 600), ask("Hi", max_tokens=3)])
    assert long.error
    assert "exceed the model's 512" in long.error
    assert [completion.finish for completion in long.completions] == ["error"]
    assert fine.error is None


def test_memory_limit_shrinks_the_batch_and_changes_nothing_else(
    architectures: Callable[[str], Path], llama: Engine
) -> None:
    requests = [ask(text, n=5, max_tokens=200) for text in QUESTIONS]
    engine = Engine(locate(str(architectures("llama"))), EXACT.model_copy(update={"cache_mb": 1}))
    assert tokens_of(engine.generate(requests)) == tokens_of(llama.generate(requests))


def test_key_covers_what_determines_the_replies(llama: Engine) -> None:
    base = ask("Hi")
    variants = [base, ask("Ho"), ask("Hi", n=2), ask("Hi", seed="1"), ask("Hi", top_k=3), ask("Hi", schema_={})]
    assert len({llama.key(request) for request in variants}) == len(variants)
    assert llama.key(base) == llama.key(ask("Hi"))


def test_unknown_adapter_is_named_with_the_known_ones(llama: Engine) -> None:
    with pytest.raises(ModelError, match="'nope' is not registered; known: "):
        llama.generate([ask("Hi", adapter="nope")])
