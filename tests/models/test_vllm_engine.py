"""The engine before vLLM, on a stand-in that is a real process; `test_vllm_real.py` has the real one."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_vllm import LOGPROB, asked, installed, most_at_once
from small_models import ask, make_adapter

from quintet.models.catalogue import locate
from quintet.models.engine import Engine
from quintet.models.errors import AdapterError, ModelError, ServerError
from quintet.models.requests import Progress
from quintet.models.settings import ModelSettings, VllmSettings
from quintet.models.vllm.engine import VllmEngine
from quintet.models.vllm.server import Elsewhere, Started

Opens = Callable[..., VllmEngine]
MODEL = ModelSettings(dtype="float32", device="cpu", call_seconds=20)


@contextmanager
def opening(
    base: Path, folder: Path, wrong: str = "", model: ModelSettings = MODEL, gpu: bool = False, **settings: Any
) -> Iterator[VllmEngine]:
    """An engine on the fake, which is its own process."""
    files, vllm = locate(str(base)), VllmSettings(**{"start_seconds": 20, "stall_seconds": 20, **settings})
    with installed(folder, wrong), ExitStack() as closing:
        server = Started(files, model, vllm, rank=16, gpu=gpu, log=folder / "vllm.log")
        closing.callback(server.close)
        engine = VllmEngine(files, model, vllm, server)
        closing.callback(engine.close)
        yield engine


@pytest.fixture
def base(architectures: Callable[[str], Path]) -> Path:
    return architectures("llama")


@pytest.fixture
def engine(base: Path, tmp_path: Path) -> Iterator[VllmEngine]:
    with opening(base, tmp_path) as opened:
        yield opened


def adapter(base: Path, folder: Path, seed: int = 0, logprobs: float = -1.0) -> str:
    """An adapter whose probe says that it makes all tokens so likely, and its start by one nat less."""
    weights = make_adapter(base, folder, seed)
    probe = {"tokens": [1, 9, 400, 88], "logprobs": [logprobs] * 2, "start_logprobs": [logprobs - 1] * 2}
    (folder / "manifest.json").write_text(json.dumps({"weights": weights, "probe": probe}))
    return weights


def test_it_sends_the_tokens_that_the_in_process_engine_reads_and_says_what_comes_back(
    engine: VllmEngine, llama: Engine, tmp_path: Path
) -> None:
    seen: list[Progress] = []
    replies = engine.generate([ask("One", n=3, top_k=4), ask("Two", temperature=0, n=2)], seen.append)
    sent = {body["prompt"][-4:][0]: body for body in asked(tmp_path)}
    prompts = sorted(body["prompt"] for body in asked(tmp_path))
    assert prompts == sorted(llama.renderer.prompt(ask(text)) for text in ("One", "Two"))
    assert len(sent) >= 1
    first, second = replies
    assert [one.tokens[1] for one in first.completions] == [30, 31, 32]
    assert all(one.finish == "stop" and one.tokens[-1] in llama.renderer.stops for one in first.completions)
    assert first.completions[0].text == llama.renderer.text(list(first.completions[0].tokens))
    assert second.completions[0] == second.completions[1]
    assert second.completions[0].behaviour_logprobs == (0.0,) * 3
    assert (seen[-1].finished, seen[-1].tokens, seen[-1].requests) == (5, 15, 2)


def test_what_was_sampled_from_is_known_as_far_as_vllm_tells(engine: VllmEngine) -> None:
    [reply] = engine.generate([ask("One", top_k=4, temperature=0.5)])
    # The token itself, and three others of which each is one nat less likely.
    assert reply.completions[0].logprobs == (LOGPROB,) * 3
    assert reply.completions[0].behaviour_logprobs == pytest.approx([-math.log(1 + 3 * math.exp(-2))] * 3)
    for unknown in (ask("One", top_k=0), ask("One", top_k=50), ask("One", schema_={"type": "string"})):
        assert engine.generate([unknown])[0].completions[0].behaviour_logprobs == ()
    assert (
        engine.generate([ask("One", top_k=0, temperature=1.0)])[0].completions[0].behaviour_logprobs == (LOGPROB,) * 3
    )


def test_a_continuation_is_scored_by_the_prompts_log_probabilities(engine: VllmEngine) -> None:
    scored, nothing = engine.generate([ask("One", given=" and two"), ask("One", given="")])
    assert scored.completions[0].text == " and two"
    assert scored.completions[0].logprobs == (LOGPROB,) * len(scored.completions[0].tokens)
    assert nothing.completions[0].logprobs == ()


def test_many_are_in_flight_and_no_more_than_may_be(base: Path, tmp_path: Path) -> None:
    with opening(base, tmp_path, "slow", parallel=6) as engine:
        replies = engine.generate([ask(f"Question {number}", n=2) for number in range(5)])
    assert all(reply.error is None for reply in replies)
    assert most_at_once(tmp_path) == 3


def test_a_prompt_that_is_too_long_costs_only_its_own_reply(engine: VllmEngine) -> None:
    long, short = engine.generate([ask("word " * 600), ask("One")])
    assert "exceed the model's 512" in str(long.error)
    assert long.completions[0].finish == "error"
    assert short.error is None


def test_an_adapter_is_loaded_when_it_is_asked_for_replaced_in_place_and_unloaded(
    engine: VllmEngine, base: Path, tmp_path: Path
) -> None:
    one, other = (adapter(base, tmp_path / name, seed) for seed, name in enumerate(("one", "other")))
    engine.register("a", tmp_path / "one", one)
    assert not (tmp_path / "asked.jsonl").exists()
    engine.generate([ask("One", adapter="a")])
    engine.generate([ask("One", adapter="a")])
    assert [body["lora_path"] for body in asked(tmp_path, "load_lora_adapter")] == [str(tmp_path / "one")]
    engine.register("a", tmp_path / "other", other)
    engine.generate([ask("One", adapter="a")])
    assert [body["lora_path"] for body in asked(tmp_path, "load_lora_adapter")][1:] == [str(tmp_path / "other")]
    # What vLLM has kept of the prompt is the old weights', and it knows adapters by their names.
    assert [body["cache_salt"] for body in asked(tmp_path)] == [one, one, other]
    engine.forget("a")
    assert [body["lora_name"] for body in asked(tmp_path, "unload_lora_adapter")] == ["a", "a"]
    with pytest.raises(ModelError, match="'a' is not registered; known: none"):
        engine.generate([ask("One", adapter="a")])


def test_the_right_adapter_is_proved(engine: VllmEngine, base: Path, tmp_path: Path) -> None:
    engine.register("a", tmp_path / "a", adapter(base, tmp_path / "a"))
    proof = engine.prove("a")
    assert (proof.served, proof.other, proof.ok, proof.decided) == (0.0, 1.0, True, True)


def test_another_folder_under_an_adapters_name_is_caught(engine: VllmEngine, base: Path, tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        engine.register(name, tmp_path / name, adapter(base, tmp_path / name, seed))
    engine.prove("a")
    engine.server.client._told(
        "POST", "/v1/load_lora_adapter", {"lora_name": "a", "lora_path": str(tmp_path / "b"), "load_inplace": True}
    )
    with pytest.raises(ServerError, match=f"what vLLM serves as a is from {tmp_path / 'b'}, not from {tmp_path / 'a'}"):
        engine.prove("a")


def test_other_weights_under_the_right_path_are_caught(engine: VllmEngine, base: Path, tmp_path: Path) -> None:
    right = adapter(base, tmp_path / "a")
    engine.register("a", tmp_path / "a", right)
    assert engine.prove("a").ok
    honest = (tmp_path / "a" / "manifest.json").read_text()
    # The server reads what is only a moment there; afterwards path and hash are right again.
    probe = json.loads(honest)
    probe["probe"]["logprobs"] = probe["probe"]["start_logprobs"]
    (tmp_path / "a" / "manifest.json").write_text(json.dumps(probe))
    engine.server.client._told(
        "POST", "/v1/load_lora_adapter", {"lora_name": "a", "lora_path": str(tmp_path / "a"), "load_inplace": True}
    )
    (tmp_path / "a" / "manifest.json").write_text(honest)
    proof = engine.prove("a")
    assert (proof.ok, proof.served, proof.other) == (False, 1.0, 0.0)


def test_an_adapter_damaged_since_it_was_registered_is_not_served(
    engine: VllmEngine, base: Path, tmp_path: Path
) -> None:
    engine.register("a", tmp_path / "a", adapter(base, tmp_path / "a"))
    (tmp_path / "a" / "adapter_model.safetensors").write_bytes(b"something else")
    with pytest.raises(AdapterError, match="is damaged: SHA-256"):
        engine.generate([ask("One", adapter="a")])


def test_a_server_that_dies_over_its_work_is_started_anew_and_asked_for_the_rest(base: Path, tmp_path: Path) -> None:
    said: list[str] = []
    with opening(base, tmp_path, "die", parallel=1) as engine:
        engine._tell = said.append
        engine.register("a", tmp_path / "a", adapter(base, tmp_path / "a"))
        replies = engine.generate([ask(f"Question {number}", adapter="a") for number in range(5)])
    assert [reply.error for reply in replies] == [None] * 5
    # Two were answered, the third ended it, three were asked again; the new server had to be given the adapter.
    assert len(asked(tmp_path)) == 2 + 1 + 3
    assert len(asked(tmp_path, "load_lora_adapter")) == 2
    assert any("what it did not answer is asked again" in line for line in said)


def test_a_server_that_is_lost_between_two_waves_is_started_anew(base: Path, tmp_path: Path) -> None:
    with opening(base, tmp_path, stall_seconds=1) as engine:
        engine.register("a", tmp_path / "a", adapter(base, tmp_path / "a"))
        for harm in (signal.SIGKILL, signal.SIGSTOP, None):
            assert engine.generate([ask("One", adapter="a")])[0].error is None
            if harm is not None:
                os.killpg(engine.server._process.pid, harm)  # type: ignore[attr-defined]
    assert len(asked(tmp_path, "load_lora_adapter")) == 3


def test_a_stalled_server_is_started_anew(base: Path, tmp_path: Path) -> None:
    with opening(base, tmp_path, "stall", stall_seconds=1.5) as engine:
        replies = engine.generate([ask("One"), ask("Two")])
    assert [reply.error for reply in replies] == [None, None]
    assert (tmp_path / "vllm.log").read_text().count("the fake serves") == 2


def test_a_server_that_is_lost_too_often_ends_the_run(base: Path, tmp_path: Path) -> None:
    with (
        opening(base, tmp_path, "stall", stall_seconds=1.2, restarts=0) as engine,
        pytest.raises(
            ServerError, match=r"made nothing for \d s; it was lost too often in one wave \(vllm.restarts = 0\)"
        ) as lost,
    ):
        engine.generate([ask("One")])
    assert lost.value.fault


def test_a_server_that_does_not_start_says_why(base: Path, tmp_path: Path) -> None:
    with (
        opening(base, tmp_path, "never") as engine,
        pytest.raises(ServerError, match="vLLM did not start: ValueError: no such model, says the fake; all it said"),
    ):
        engine.generate([ask("One")])


def test_an_answer_that_takes_too_long_is_cut_off_and_the_others_stay(base: Path, tmp_path: Path) -> None:
    model = MODEL.model_copy(update={"call_seconds": 0.5})
    with opening(base, tmp_path, "slow", model) as engine:
        [reply] = engine.generate([ask("One", n=2)])
    assert [one.finish for one in reply.completions] == ["time", "time"]
    assert reply.error == "2 of 2 samples were cut short by the time limit or by cancellation"


def test_a_wave_that_nobody_waits_for_ends_at_once(base: Path, tmp_path: Path) -> None:
    with opening(base, tmp_path, "stall") as engine:
        engine.server.up(lambda: False)
        begun = time.monotonic()
        [reply] = engine.generate([ask("One")], cancelled=lambda: time.monotonic() > begun + 0.5)
    assert reply.completions[0].finish == "time"
    assert time.monotonic() - begun < 15


def test_the_server_ends_with_a_process_that_is_killed(base: Path, tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from quintet.models.catalogue import locate
        from quintet.models.settings import ModelSettings, VllmSettings
        from quintet.models.vllm.server import Started

        server = Started(locate(sys.argv[1]), ModelSettings(), VllmSettings(), 16, False, Path(sys.argv[2]))
        server.up(lambda: False)
        print(server._process.pid, flush=True)
        time.sleep(60)
        """
    )
    with installed(tmp_path):
        command = [sys.executable, "-c", script, str(base), str(tmp_path / "vllm.log")]
        parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        guard = psutil.Process(int(parent.stdout.readline()))
        processes = [guard, *guard.children(recursive=True)]
        assert len(processes) == 2
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        _, alive = psutil.wait_procs(processes, timeout=20)
    assert not alive


def test_a_server_on_a_gpu_sleeps_while_an_adapter_is_trained_and_is_given_its_adapters_anew(
    base: Path, tmp_path: Path
) -> None:
    def paths() -> list[str]:
        return [json.loads(line)["path"] for line in (tmp_path / "asked.jsonl").read_text().splitlines()]

    with opening(base, tmp_path, gpu=True) as engine:
        engine.register("a", tmp_path / "a", adapter(base, tmp_path / "a"))
        engine.prove("a")
        engine.rest()
        engine.wake()
        assert engine.prove("a").ok
        load = ["/v1/load_lora_adapter", "/v1/completions"]
        assert paths() == [*load, "/sleep?level=1", "/wake_up", "/v1/unload_lora_adapter", *load]
        assert "--enable-sleep-mode" in (tmp_path / "vllm.log").read_text()
    elsewhere = tmp_path / "cpu"
    with opening(base, elsewhere) as engine:
        engine.rest()
        assert "--enable-sleep-mode" not in (elsewhere / "vllm.log").read_text()


def test_a_server_elsewhere_is_asked_and_left_alone(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = locate(str(base))
    with opening(base, tmp_path) as ours:
        ours.server.up(lambda: False)
        url, key = ours.server.client.url, ours.server._key  # type: ignore[attr-defined]
        monkeypatch.setenv("THEIR_KEY", key)
        settings = VllmSettings(url=f"{url}/v1/", key_env="THEIR_KEY", start_seconds=5)
        engine = VllmEngine(files, MODEL, settings, Elsewhere(settings))
        assert engine.generate([ask("One")])[0].error is None
        engine.close()
        assert ours.generate([ask("One")])[0].error is None
        monkeypatch.setenv("THEIR_KEY", "another")
        engine = VllmEngine(files, MODEL, settings, Elsewhere(settings))
        with pytest.raises(ServerError, match=r"answered 401: Unauthorized; name the variable .* \(vllm.key_env\)"):
            engine.generate([ask("One")])
        monkeypatch.delenv("THEIR_KEY")
        with pytest.raises(ModelError, match=r"THEIR_KEY \(vllm.key_env\) is not set"):
            Elsewhere(settings)


def test_a_server_elsewhere_that_is_down_ends_the_run(base: Path) -> None:
    settings = VllmSettings(url="http://127.0.0.1:9", start_seconds=0.1)
    engine = VllmEngine(locate(str(base)), MODEL, settings, Elsewhere(settings))
    with pytest.raises(ServerError, match=r"vLLM at http://127.0.0.1:9 \(vllm.url\) gave no answer for 0.1 s"):
        engine.generate([ask("One")])


def test_the_key_tells_engines_and_weights_apart(engine: VllmEngine, llama: Engine, base: Path, tmp_path: Path) -> None:
    keys = {engine.key(ask("Hi")), llama.key(ask("Hi")), engine.key(ask("Hi", n=2))}
    for seed in (1, 2):
        engine.register("a", tmp_path / str(seed), adapter(base, tmp_path / str(seed), seed))
        keys.add(engine.key(ask("Hi", adapter="a")))
    assert len(keys) == 5
    assert engine.key(ask("Hi")) == engine.key(ask("Hi"))
