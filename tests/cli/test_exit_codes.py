"""Exit codes: 0 done, 2 the user's input is wrong, 130 Ctrl-C, 1 anything else; and one line for each."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

import quintet as package
from quintet.agents.errors import AgentError, NoAnswerError
from quintet.agents.strategies.decoding import SelfConsistency
from quintet.cli import main
from quintet.cli.frame import guarded
from quintet.errors import QuintetError
from quintet.evaluation.errors import EvaluationError, SuiteError
from quintet.graph.errors import LoopError, SettingsError
from quintet.memory.errors import IndexDamaged, LedgerError
from quintet.memory.workspace import Workspace
from quintet.models.adapters import WEIGHTS
from quintet.models.engine import Engine
from quintet.models.errors import AdapterError, ModelError
from quintet.models.requests import Proof
from quintet.plugins import PluginError
from quintet.records import Adapter
from quintet.tasks.errors import LevelTooNarrow
from quintet.training.errors import RegistryError, TrainError

Typed = Callable[..., Result]

CONFIG = """
name = "tiny"
rounds = 1
[model]
name = "{model}"
[proposer]
families = ["gcd"]
tasks = 4
[evaluation]
families = {{ gcd = [3] }}
steer_items = 4
gate_items = 12
retention_items = 0
final_items = 12
"""


def one_line(result: Result) -> str:
    """What a command that failed says, and all that it says."""
    assert "Traceback" not in result.output
    [line] = [line for line in result.stderr.splitlines() if line.startswith("quintet:")]
    return line


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("unknown key"), 2),
        (LoopError("no such role"), 2),
        (ModelError("no such model"), 2),
        (AgentError("no such template"), 2),
        (PluginError("no such metric"), 2),
        (SuiteError("too few", "gate"), 2),
        (LevelTooNarrow("gcd", 0, "gate", 1, 2), 2),
        (LedgerError("no such run"), 2),
        (TrainError("no such layer"), 2),
        (LoopError("what is served is another adapter", fault=True), 1),
        (ModelError("generation failed", fault=True), 1),
        (AdapterError("damaged"), 1),
        (NoAnswerError("no answer"), 1),
        (EvaluationError("no pair"), 1),
        (RegistryError("damaged"), 1),
        (LedgerError("no space", fault=True), 1),
        (IndexDamaged("damaged"), 1),
        (ExceptionGroup("episodes", [NoAnswerError("no answer"), LoopError("and more")]), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_the_exit_code_says_whether_the_input_is_wrong(error: BaseException, code: int) -> None:
    @click.command()
    @guarded
    def fails() -> None:
        raise error

    result = CliRunner().invoke(fails)
    assert result.exit_code == code
    one_line(result)


def test_all_errors_of_all_rooms_are_one_family() -> None:
    modules = [path.parent.name for path in Path(package.__file__).parent.glob("*/errors.py")]
    assert len(modules) > 6
    for room in modules:
        module = importlib.import_module(f"quintet.{room}.errors")
        own = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if kind.__module__ == module.__name__]
        assert own
        assert all(issubclass(kind, QuintetError) for kind in own)


def test_a_damaged_adapter_is_not_the_users_input(quintet: Typed, workspace: Path) -> None:
    with Workspace(workspace).ledger() as ledgers:
        adapter = ledgers.run().find(Adapter)[-1].id
    weights = workspace / "adapters" / adapter / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    for arguments in (["solve", "Is 12 even?"], ["adapters", "export", adapter, str(workspace / "out")]):
        result = quintet(*arguments)
        assert result.exit_code == 1, result.output
        assert "is damaged" in one_line(result)


def test_neither_is_a_damaged_ledger(quintet: Typed, workspace: Path) -> None:
    ledger = workspace / "ledger.db"
    held = bytearray(ledger.read_bytes())
    held[4096 : len(held) // 2] = b"?" * (len(held) // 2 - 4096)
    ledger.write_bytes(held)
    result = quintet("show")
    assert result.exit_code == 1, result.output
    assert "SQLITE_CORRUPT" in one_line(result)


def test_neither_is_an_engine_that_fails(quintet: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Engine, "generate", fail)
    result = quintet("solve", "Is 12 even?")
    assert result.exit_code == 1, result.output
    assert "generation failed: RuntimeError: out of memory" in one_line(result)


@pytest.mark.parametrize("act", ["prepare", "solve"])
@pytest.mark.parametrize("command", [["solve", "Is 12 even?"], ["eval", "--suite", "steer"]])
def test_neither_is_a_strategy_that_raises_and_it_is_named(
    quintet: Typed, monkeypatch: pytest.MonkeyPatch, command: list[str], act: str
) -> None:
    async def fail(*_: Any) -> None:
        raise ValueError("no votes")

    monkeypatch.setattr(SelfConsistency, act, fail)
    result = quintet(*command, "--strategy", "self_consistency")
    assert result.exit_code == 1, result.output
    assert one_line(result) == "quintet: strategy 'self_consistency' raised ValueError: no votes"


def test_a_strategy_that_cannot_be_made_is_named_too(quintet: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("too few")

    monkeypatch.setattr(SelfConsistency, "__init__", fail)
    result = quintet("solve", "Is 12 even?", "--strategy", "self_consistency")
    assert result.exit_code == 2, result.output
    assert one_line(result) == "quintet: strategy 'self_consistency' cannot be made: ValueError: too few"


def test_neither_is_a_model_that_serves_something_else(quintet: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    def prove(_: Engine, adapter: str) -> Proof:
        return Proof(adapter=adapter, served=1.0, other=0.0, decided=True, ok=False)

    monkeypatch.setattr(Engine, "prove", prove)
    result = quintet("solve", "Is 12 even?")
    assert result.exit_code == 1, result.output
    assert "what is served is not adapter-" in one_line(result)


@pytest.mark.parametrize(
    ("setting", "said"),
    [("proposer.seconds=0.001", "proposer stalled for more than 0.001 s"), ("model.call_seconds=1e-9", "cut short")],
)
def test_neither_is_a_proposer_that_stalls_or_a_model_that_is_too_slow(
    setting: str, said: str, tiny_model_folder: Path, tmp_path: Path
) -> None:
    config = tmp_path / "tiny.toml"
    config.write_text(CONFIG.format(model=tiny_model_folder))
    arguments = ["run", str(config), "--set", setting, "--workspace", str(tmp_path / "runs")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1, result.output
    assert said in one_line(result)
