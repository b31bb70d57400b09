"""The promises that only the packaged model can keep or break."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from small_models import ask, make_adapter, same, state
from transformers import AutoModelForCausalLM

from quintet.models.catalogue import PACKAGED, locate
from quintet.models.engine import Engine
from quintet.models.requests import Request
from quintet.models.settings import ModelSettings
from quintet.records import BASE, Message

pytestmark = pytest.mark.slow

QUESTIONS = [
    "What is 3 + 4?\nEnd with: Answer: <final answer>",
    "Name a colour.",
    "A farmer has 12 cows and buys 3 more each day for a week. How many are there on day three?",
    "What is the greatest common divisor of 12 and 18?\nEnd with: Answer: <final answer>",
]


@pytest.fixture(scope="module")
def served() -> Engine:
    return Engine(locate(PACKAGED), ModelSettings(device="cpu"))


def requests(**changes: object) -> list[Request]:
    return [ask(text, seed=str(place), **changes) for place, text in enumerate(QUESTIONS)]


def test_greedy_replies_in_fp32_are_those_of_transformers_generate() -> None:
    engine = Engine(locate(PACKAGED), ModelSettings(dtype="float32", device="cpu"))
    asked = requests(temperature=0, max_tokens=24)
    replies = engine.generate(asked)
    plain = AutoModelForCausalLM.from_pretrained(engine.files.path, dtype=torch.float32)
    for request, reply in zip(asked, replies, strict=True):
        ids = torch.tensor([engine.renderer.prompt(request)])
        out = plain.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24)
        assert list(reply.completions[0].tokens) == out[0, ids.shape[1] :].tolist()


def test_bfloat16_repeats_exactly_and_stays_near_fp32(served: Engine) -> None:
    asked = requests(n=4, max_tokens=24)
    replies = served.generate(asked)
    assert replies == served.generate(asked)
    plain = AutoModelForCausalLM.from_pretrained(served.files.path, dtype=torch.float32)
    apart = []
    for request, reply in zip(asked, replies, strict=True):
        prompt = served.renderer.prompt(request)
        for completion in reply.completions:
            with torch.no_grad():
                logits = plain(torch.tensor([prompt + list(completion.tokens)])).logits[0, len(prompt) - 1 : -1]
            exact = logits.log_softmax(-1).gather(1, torch.tensor(completion.tokens)[:, None]).squeeze(1)
            apart.append(np.abs(np.array(completion.logprobs) - exact.numpy()))
    assert np.concatenate(apart).mean() < 0.07


def test_an_adapter_is_folded_near_peft_and_leaves_the_base_bit_by_bit(served: Engine, tmp_path: Path) -> None:
    from peft import PeftModel

    weights = make_adapter(served.files.path, tmp_path, size=0.03)
    served.register("a", tmp_path, weights)
    before = state(served)
    tokens = served.renderer.prompt(ask(QUESTIONS[2]))
    at_base = served.logprobs(tokens)
    served._serve("a")
    folded = served.logprobs(tokens)
    served._serve(BASE)
    assert same(state(served), before)
    plain = AutoModelForCausalLM.from_pretrained(served.files.path, dtype=torch.float32)
    with torch.no_grad():
        logits = PeftModel.from_pretrained(plain, tmp_path)(torch.tensor([tokens])).logits[0, :-1]
    exact = logits.log_softmax(-1).gather(1, torch.tensor(tokens)[1:, None]).squeeze(1)
    assert (folded - exact).abs().mean() < 0.1
    assert (at_base - exact).abs().mean() > 3 * (folded - exact).abs().mean()


def test_the_engine_stays_within_a_modest_memory(served: Engine) -> None:
    served.generate(requests(n=24, max_tokens=32))
    before = psutil.Process().memory_info().rss
    for _ in range(2):
        served.generate(requests(n=24, max_tokens=32))
    assert psutil.Process().memory_info().rss - before < 100 * 2**20


def test_a_reply_that_has_begun_is_gone_on_with_as_if_it_had_not_been_cut() -> None:
    engine = Engine(locate(PACKAGED), ModelSettings(dtype="float32", device="cpu"))
    for whole in requests(temperature=0, max_tokens=24):
        text = engine.generate([whole])[0].completions[0].text
        begun = text[: max(len(text) // 2, 12)].rpartition(" ")[0]
        assert begun, text
        further = whole.model_copy(update={"messages": (*whole.messages, Message(role="assistant", content=begun))})
        rest = engine.generate([further])[0].completions[0].text
        assert (begun + rest).startswith(text)
