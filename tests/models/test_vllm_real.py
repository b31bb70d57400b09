"""The packaged model served by real vLLM: what is asked and told, swaps and their proof, a server killed or stalled."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import psutil
import pytest
import torch
from peft import PeftModel
from small_models import ask, make_adapter
from transformers import AutoModelForCausalLM

from quintet.models.adapters import WEIGHTS
from quintet.models.catalogue import locate, sha256
from quintet.models.engine import Engine
from quintet.models.errors import ServerError
from quintet.models.requests import Reply, Request
from quintet.models.sampling import token_logprobs
from quintet.models.serving import opened
from quintet.models.settings import ModelSettings, VllmSettings
from quintet.models.trial import FAR
from quintet.models.vllm.engine import VllmEngine
from quintet.records import BASE

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]

SETTINGS = VllmSettings(stall_seconds=60, start_seconds=1200)
PROBE = (
    "<|im_start|>user\nName a river in France, and one in Italy.<|im_end|>\n<|im_start|>assistant\nThe Loire, the Po."
)
LONG = "What is 3 times 4? " * 20


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmEngine]:
    log = tmp_path_factory.mktemp("vllm") / "vllm.log"
    engine = opened(locate("smollm2-135m"), ModelSettings(engine="vllm"), SETTINGS, 8, log)
    assert isinstance(engine, VllmEngine)
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture(scope="module")
def local() -> Engine:
    return Engine(locate("smollm2-135m"), ModelSettings())


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory, engine: VllmEngine) -> dict[str, Path]:
    """Two adapters with the probe that PEFT computes."""
    made, base = {}, engine.files.path
    tokens = engine.renderer.tokenizer(PROBE, add_special_tokens=False)["input_ids"]
    for seed, name in enumerate(("one", "other")):
        folder = made[name] = tmp_path_factory.mktemp(name)
        make_adapter(base, folder, seed, size=0.045, r=8)
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16), folder)
        with torch.no_grad():
            mine = model(torch.tensor([tokens])).logits[0]
            with model.disable_adapter():
                start = model(torch.tensor([tokens])).logits[0]
        told = [token_logprobs(logits[:-1], torch.tensor(tokens[1:])).tolist() for logits in (mine, start)]
        probe = {"tokens": tokens, "logprobs": told[0], "start_logprobs": told[1]}
        (folder / "manifest.json").write_text(json.dumps({"probe": probe}))
    return made


def register(engine: VllmEngine, name: str, folder: Path) -> None:
    engine.register(name, folder, sha256(folder / WEIGHTS))


def apart(one: Reply, other: Reply) -> float:
    """Mean absolute difference of two replies' log-probabilities, which must be of the same tokens."""
    [mine], [others] = one.completions, other.completions
    assert mine.tokens == others.tokens
    return fmean(abs(a - b) for a, b in zip(mine.logprobs, others.logprobs, strict=True))


def given(adapter: str = BASE) -> Request:
    return ask(LONG, given="3 times 4 is 12, since 4 and 4 and 4 make 12.", adapter=adapter)


def test_both_engines_are_asked_the_same_and_say_the_same(engine: VllmEngine, local: Engine) -> None:
    questions = [ask("What is 3 times 4?", temperature=0, max_tokens=8), given(), Request(messages=(), given="The sea")]
    server = engine.server.starts
    for mine, theirs in zip(engine.generate(questions), local.generate(questions), strict=True):
        assert mine.error is None
        assert mine.prompt_tokens == theirs.prompt_tokens
        assert apart(mine, theirs) < FAR[torch.bfloat16] / 2
    # Two scores and a reply are too many at once for vLLM on a CPU.
    assert engine.server.starts == server


def test_many_samples_come_at_once_with_their_log_probabilities(engine: VllmEngine) -> None:
    replies = engine.generate(
        [ask(f"Name {number} animals.", n=4, max_tokens=16, temperature=1.0, seed=str(number)) for number in range(12)]
    )
    for reply in replies:
        assert len({one.text for one in reply.completions}) > 1
        for one in reply.completions:
            assert len(one.tokens) == len(one.logprobs) == len(one.behaviour_logprobs)
            # Among twenty each has a larger share than among all.
            assert all(mine >= among_all for mine, among_all in zip(one.behaviour_logprobs, one.logprobs, strict=True))
            assert (one.tokens[-1] in engine.renderer.stops) == (one.finish == "stop")


def test_more_prompts_than_vllm_reads_in_a_step(engine: VllmEngine) -> None:
    server = engine.server._process.pid
    requests = [ask(f"{number}: {LONG}", n=2, max_tokens=4, temperature=1.0, seed=str(number)) for number in range(40)]
    replies = engine.generate(requests)
    # vLLM reads no more than 2,048 tokens at once on a CPU, so it cuts prompts apart.
    assert sum(reply.prompt_tokens for reply in replies) > 2 * 2048
    assert [reply.error for reply in replies] == [None] * 40
    assert engine.server._process.pid == server


def test_replies_are_held_to_a_schema(engine: VllmEngine) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "maximum": 99}},
        "required": ["name", "age"],
    }
    [reply] = engine.generate([ask("Who are you?", n=4, max_tokens=40, schema_=schema)])
    for one in reply.completions:
        assert set(json.loads(one.text)) == {"name", "age"}
    [refused] = engine.generate([ask("Who are you?", schema_={"type": "nonsense"})])
    assert "Invalid type: nonsense" in str(refused.error)


def test_adapters_are_swapped_and_each_is_proved(engine: VllmEngine, adapters: dict[str, Path]) -> None:
    for name, folder in adapters.items():
        register(engine, name, folder)
        proof = engine.prove(name)
        assert proof.ok
        assert proof.decided
        assert proof.served < 0.1 < proof.other
    base, one, other = engine.generate([given(), given("one"), given("other")])
    assert apart(base, one) > 0.1
    assert apart(one, other) > 0.1


def test_an_adapter_replaced_under_its_name_and_path_answers_as_the_new_one(
    engine: VllmEngine, adapters: dict[str, Path], tmp_path: Path
) -> None:
    asked = ask(LONG, adapter="a", temperature=0, max_tokens=4)
    place = tmp_path / "a"
    shutil.copytree(adapters["one"], place)
    register(engine, "a", place)
    # A second time, from what vLLM has kept of the prompt.
    before = [engine.generate([asked])[0] for _ in range(2)]
    shutil.rmtree(place)
    shutil.copytree(adapters["other"], place)
    register(engine, "a", place)
    assert engine.prove("a").ok
    register(engine, "other", adapters["other"])
    after, right = (engine.generate([asked.model_copy(update={"adapter": name})])[0] for name in ("a", "other"))
    assert after.completions[0].logprobs != before[1].completions[0].logprobs
    assert apart(after, right) < 0.02


def test_a_wrong_adapter_served_on_purpose_is_caught(
    engine: VllmEngine, adapters: dict[str, Path], tmp_path: Path
) -> None:
    def smuggle(folder: Path) -> None:
        # Not in place: vLLM would read the file again at each step, the right one included.
        engine.server.client.unload("a")
        engine.server.client.load("a", str(folder))

    place = tmp_path / "a"
    shutil.copytree(adapters["one"], place)
    register(engine, "a", place)
    assert engine.prove("a").ok
    smuggle(adapters["other"])
    with pytest.raises(ServerError, match="what vLLM serves as a is from"):
        engine.prove("a")
    # Other weights, while path and hash are right again by the time that they are looked at.
    shutil.copy(adapters["other"] / WEIGHTS, place / WEIGHTS)
    smuggle(place)
    shutil.copy(adapters["one"] / WEIGHTS, place / WEIGHTS)
    register(engine, "other", adapters["other"])
    proof = engine.prove("a")
    assert not proof.ok
    assert proof.mistaken == "other"
    assert proof.served > 0.1
    engine.forget("a")


def test_an_adapter_is_unloaded(engine: VllmEngine, adapters: dict[str, Path]) -> None:
    register(engine, "one", adapters["one"])
    engine.generate([given("one")])
    assert "one" in {model["id"] for model in engine.server.client.models()}
    engine.forget("one")
    assert "one" not in {model["id"] for model in engine.server.client.models()}


def while_it_works(engine: VllmEngine, adapters: dict[str, Path], harm: Callable[[Any], Any]) -> list[str]:
    """Harm the server in the middle of a wave, and see that the wave is answered; what was said meanwhile."""
    register(engine, "one", adapters["one"])
    engine.prove("one")
    said: list[str] = []
    engine._tell = said.append
    requests = [ask(f"Tell me of the number {number}.", adapter="one", max_tokens=40) for number in range(30)]
    harmed = threading.Event()

    def soon() -> None:
        time.sleep(2)
        harm(engine.server)
        harmed.set()

    threading.Thread(target=soon).start()
    replies = engine.generate(requests)
    assert harmed.is_set()
    assert [reply.error for reply in replies] == [None] * 30
    assert engine.prove("one").ok
    return said


def test_a_server_killed_in_the_middle_is_started_anew_with_its_adapters(
    engine: VllmEngine, adapters: dict[str, Path]
) -> None:
    def kill(server: Any) -> None:
        for process in psutil.Process(server._process.pid).children(recursive=True):
            process.kill()

    said = while_it_works(engine, adapters, kill)
    assert any("what it did not answer is asked again" in line for line in said)


def test_a_server_that_stalls_is_started_anew(engine: VllmEngine, adapters: dict[str, Path]) -> None:
    said = while_it_works(engine, adapters, lambda server: os.killpg(server._process.pid, signal.SIGSTOP))
    assert any("made nothing for" in line for line in said)
