"""Roles that speak through an endpoint or a second model in process, while the solver is the model that is trained."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from parity import Parity
from stub_endpoint import Answer, Stub, babbles, endpoint, says, sends, stalls
from tiny import tiny_settings

from quintet import Loop
from quintet.agents.roles import EpisodeRole, Said
from quintet.agents.table import Episode
from quintet.graph.joining import joining
from quintet.graph.settings import Settings
from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.models.catalogue import locate
from quintet.models.chat import LocalChat
from quintet.models.engine import Engine
from quintet.models.settings import ModelSettings
from quintet.models.waves import Waves
from quintet.records import Attempt, Call, Critique, Decision, Reply

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "mixed-models.toml"
ADVICE = "Count the letters before you answer."


def skeptic() -> EpisodeRole:
    [role] = joining(Settings(join=(f"{ROOT / 'examples' / 'skeptic.py'}:Skeptic",))).roles
    assert isinstance(role, EpisodeRole)
    return role


def helpful(handler: Any, stub: Stub) -> None:
    """Answers critic and skeptic with what they are asked for, with words around it."""
    question = stub.bodies[-1]["messages"][-1]["content"]
    said = {"doubt": "Is it even?"} if "doubt" in question else {"advice": ADVICE}
    says(f"Sure, here it is:\n```json\n{json.dumps(said)}\n```")(handler, stub)


def settings(model: Path, url: str, **chat: Any) -> Settings:
    """The tiny run, with a judge for the critic and the skeptic."""
    values = {"model": "judge-1", "base_url": url, "seconds": 20, **chat}
    return tiny_settings(
        model, rounds=1, chats={"judge": values}, critic={"chat": "judge"}, roles={"skeptic": {"chat": "judge"}}
    )


@contextmanager
def ledger_of(workspace: Path, run: str = "tiny-1") -> Iterator[RunLedger]:
    with Workspace(workspace).ledger() as ledger:
        yield ledger.run(run)


def spoke(ledger: RunLedger) -> dict[str, set[str]]:
    """The models that answered, by role."""
    calls = sorted((call for call in ledger.find(Call) if call.completions), key=lambda call: call.role)
    return {role: {call.model for call in of} for role, of in itertools.groupby(calls, key=lambda call: call.role)}


def test_critic_and_skeptic_speak_through_the_endpoint_and_nobody_else(tiny_model_folder: Path, tmp_path: Path) -> None:
    with endpoint(helpful) as stub:
        loop = Loop(settings(tiny_model_folder, stub.url), roles=[skeptic()], tasks=[Parity()], workspace=tmp_path)
        loop.run()
    with ledger_of(tmp_path) as ledger:
        models = spoke(ledger)
        assert models.pop("critic") == models.pop("skeptic") == {"stub-1"}
        assert set(models) >= {"solver", "proposer", "evaluation"}
        assert set.union(*models.values()) == {str(tiny_model_folder)}
        assert {critique.feedback for critique in ledger.find(Critique) if critique.call} == {ADVICE}
        replies = [reply for reply in ledger.find(Reply) if reply.role == "skeptic"]
        assert replies
        assert all(reply.content == {"doubt": "Is it even?"} for reply in replies)
        for call in ledger.find(Call, role="critic"):
            assert (call.prompt_tokens, call.options["temperature"], call.options["max_tokens"]) == (7, 0.0, 24)
        # The stub reports 7 tokens of prompt and 3 of answer; the ledger counts both.
        judged = [call for call in ledger.find(Call) if call.role in ("critic", "skeptic")]
        used = ledger.role_tokens()[1]
        assert used["critic"] + used["skeptic"] == 10 * len(judged)
        # Each revision heeds what the endpoint said.
        revisions = {attempt.call for attempt in ledger.find(Attempt) if attempt.revises}
        assert revisions
        assert all(ADVICE in str(ledger.get(call)) for call in revisions)


@pytest.mark.slow
def test_what_was_answered_before_an_interruption_is_not_asked_again(tiny_model_folder: Path, tmp_path: Path) -> None:
    def answered() -> int:
        with ledger_of(tmp_path) as ledger:
            return sum(call.model == "stub-1" and bool(call.completions) for call in ledger.find(Call))

    with endpoint(helpful) as stub:
        loop = Loop(settings(tiny_model_folder, stub.url), roles=[skeptic()], tasks=[Parity()], workspace=tmp_path)
        for event in loop.stream():
            if event.get("stage") == "episodes" and event.get("event") == "progress":
                break
        # What was on its way when the run was dropped still arrives.
        asked = -1
        while asked != len(stub.bodies):
            asked = len(stub.bodies)
            time.sleep(1)
        before = answered()
        assert before
        Loop.resume("tiny-1", tmp_path, roles=[skeptic()], tasks=[Parity()]).run()
        assert len(stub.bodies) - asked == answered() - before
    with ledger_of(tmp_path) as ledger:
        assert ledger.find(Decision)


class Sometimes(EpisodeRole):
    """Speaks about every other task only, so that the others are a role ahead."""

    template = "Is that odd?"

    async def act(self, episode: Episode) -> Said:
        odd = int(episode.task.id[-1], 16) % 2
        return await super().act(episode) if odd else None


@pytest.mark.timeout(120)
def test_two_models_in_process_sit_at_one_table_and_nobody_waits_in_vain(
    tiny_model_folder: Path, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    other = folder_of("qwen2")
    waves = Waves(Engine(locate(str(other)), ModelSettings(device="cpu")))
    models = dict.fromkeys(("critic", "sometimes"), LocalChat(waves=waves, model="other"))
    one_round, roles = tiny_settings(tiny_model_folder, rounds=1), [Sometimes(), skeptic()]
    Loop(one_round, roles=roles, tasks=[Parity()], models=models, workspace=tmp_path).run()
    waves.close()
    with ledger_of(tmp_path) as ledger:
        replies = ledger.find(Reply)
        assert {reply.role for reply in replies} == {"sometimes", "skeptic"}
        # Where `sometimes` is silent, the skeptic asks the one model while `sometimes` asks the other.
        spoken = {reply.task for reply in replies if reply.role == "sometimes"}
        assert spoken < {reply.task for reply in replies if reply.role == "skeptic"}
        models_of = spoke(ledger)
        assert models_of["sometimes"] == models_of["critic"] == {"other"}
        assert models_of["skeptic"] == models_of["solver"] == {str(tiny_model_folder)}


def every_failure() -> Answer:
    """An endpoint that fails each time in another way."""
    ways = itertools.cycle(
        [
            sends('{"error": {"message": "out of memory"}}', 500),
            babbles,
            sends("<html>Sign in</html>", kind="text/html"),
            sends('{"hello": 1}'),
            sends('{"choices": []}'),
            says("I would rather not say."),
            says('{"advice": 7, "doubt": 7}'),
            says(""),
            stalls,
        ]
    )

    def answer(handler: Any, stub: Stub) -> None:
        next(ways)(handler, stub)

    return answer


@pytest.mark.slow
@pytest.mark.parametrize("down", [False, True])
def test_an_endpoint_that_fails_costs_replies_and_never_the_round(
    down: bool, tiny_model_folder: Path, tmp_path: Path
) -> None:
    with endpoint(every_failure()) as stub:
        if down:
            stub.answer = says("never heard")
        url = "http://127.0.0.1:9/v1" if down else stub.url
        failing = settings(tiny_model_folder, url, seconds=0.5, retries=0)
        Loop(failing, roles=[skeptic()], tasks=[Parity()], workspace=tmp_path).run()
    with ledger_of(tmp_path) as ledger:
        assert ledger.find(Decision)
        # The verifier's verdicts stand.
        assert {critique.attempt for critique in ledger.find(Critique)} == {a.id for a in ledger.find(Attempt)}
        errors = [call.error for call in ledger.find(Call) if call.role in ("critic", "skeptic") and call.error]
        assert errors
        assert all(error.startswith(f"ModelError: judge-1 at {url} ") and "\n" not in error for error in errors)
        replies = [reply for reply in ledger.find(Reply) if reply.role == "skeptic"]
        assert replies
        assert all(reply.error and not reply.content and "\n" not in reply.error for reply in replies)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def served(folder: Path, port: int, log: Path) -> Iterator[Callable[[], int]]:
    """`transformers serve` on a local folder, offline; yields how many questions it has answered."""
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(folder), "--host", "127.0.0.1"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("w") as file:
        server = subprocess.Popen([*command, "--port", str(port)], stdout=file, stderr=file, env=environment)
    try:
        until = time.monotonic() + 120
        while True:
            assert server.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < until, log.read_text()[-2000:]
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                break
            except OSError:
                time.sleep(0.2)
        yield lambda: log.read_text().count('POST /v1/chat/completions HTTP/1.1" 200')
    finally:
        os.kill(server.pid, signal.SIGTERM)
        server.wait(30)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_example_runs_against_a_real_server_and_asks_it_nothing_twice(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    folder, port = locate("smollm2-135m").path, free_port()
    where = [f"chats.judge.model={folder}", f"chats.judge.base_url=http://127.0.0.1:{port}/v1"]
    example = Settings.load(EXAMPLE, where, environment={})
    # The example's endpoint and roles, on the tiny run.
    taken = example.model_dump(mode="json", exclude_unset=True, include={"name", "chats", "critic", "roles"})
    loop = Loop(
        tiny_settings(tiny_model_folder, rounds=1, **taken), roles=[skeptic()], tasks=[Parity()], workspace=tmp_path
    )

    def judged() -> list[Call]:
        with ledger_of(tmp_path, "mixed-models-1") as ledger:
            return [call for call in ledger.find(Call) if call.role in ("critic", "skeptic") and call.completions]

    with served(folder, port, tmp_path / "first.log") as first:
        for event in loop.stream():
            if event.get("stage") == "episodes" and event.get("event") == "progress":
                break
        before = judged()
        assert 0 < len(before) <= first()
    with served(folder, port, tmp_path / "second.log") as second:
        Loop.resume("mixed-models-1", tmp_path, roles=[skeptic()], tasks=[Parity()]).run()
        calls = judged()
        assert second() == len(calls) - len(before)

    with ledger_of(tmp_path, "mixed-models-1") as ledger:
        assert ledger.find(Decision)
        models = spoke(ledger)
        assert models["critic"] == models["skeptic"] == {f"{folder}@main"}
        assert models["solver"] == {str(tiny_model_folder)}
        assert all(call.prompt_tokens > 20 and call.completions[0].text.strip() for call in calls)
        # A model of this size does not always keep to the form that it is told in words.
        replies = [reply for reply in ledger.find(Reply) if reply.role == "skeptic"]
        assert replies
        assert all(reply.content.get("doubt") or "nonsense" in (reply.error or "") for reply in replies)
