"""The loop before a stand-in for vLLM: a lost server ends the run, and resume asks only what was not answered."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from fake_vllm import SAYS, asked, installed
from parity import Parity
from tiny import tiny_settings
from transformers import AutoTokenizer

from quintet import Loop
from quintet.memory.workspace import Workspace
from quintet.models.errors import ServerError
from quintet.records import Adapter, Call


def errors(error: BaseException) -> list[BaseException]:
    """What an error consists of."""
    if isinstance(error, BaseExceptionGroup):
        return [one for part in error.exceptions for one in errors(part)]
    return [error]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_run_whose_server_is_lost_is_resumed_and_nothing_is_asked_twice(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings(
        tiny_model_folder,
        vllm={"parallel": 4, "restarts": 0, "start_seconds": 30},
        rounds=1,
        evaluation={"steer_items": 0},
    )
    settings = settings.model_copy(update={"model": settings.model.model_copy(update={"engine": "vllm"})})
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    monkeypatch.setenv(SAYS, json.dumps(tokenizer("Answer: even")["input_ids"]))
    workspace, said = tmp_path / "runs", list[str]()
    with installed(tmp_path, "die"):
        loop = Loop(settings, tasks=[Parity()], workspace=workspace)
        with pytest.raises((ServerError, BaseExceptionGroup)) as lost:
            list(loop.stream())
        assert all(isinstance(one, ServerError) for one in errors(lost.value))
        with Workspace(workspace).ledger() as ledger:
            run = ledger.run("tiny-1")
            assert run.info.status == "failed"
            # A call that the server never answered is no failed one: it is asked again.
            assert all(call.completions for call in run.find(Call))
        for event in Loop.resume("tiny-1", workspace, tasks=[Parity()]).stream():
            said.append(str(event.get("text", "")))
    with Workspace(workspace).ledger() as ledger:
        run = ledger.run("tiny-1")
        assert run.info.status == "finished"
        [adapter] = run.find(Adapter)
    assert any(line.startswith(f"{adapter.id} is served: 0.000 nats from its own") for line in said)
    # What was in flight when the server died was asked a second time; what was on record was not.
    times = Counter(json.dumps(body, sort_keys=True) for body in asked(tmp_path))
    assert 1 <= sum(count > 1 for count in times.values()) <= 4 + 3
