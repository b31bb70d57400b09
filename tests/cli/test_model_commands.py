"""`solve`, `chat`, `eval` and `adapters` on a finished run: what they print, record, and refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from parity import CANARY

from quintet.cli.talking import Talk
from quintet.graph.adapters import standing
from quintet.memory.workspace import Workspace
from quintet.models.catalogue import locate
from quintet.models.engine import Engine
from quintet.models.requests import Request, Sampling
from quintet.models.settings import ModelSettings
from quintet.records import Adapter, Call, Evaluation, Message, Rollback

Typed = Callable[..., Result]
Answered = Callable[..., Any]


@pytest.fixture
def ids(workspace: Path) -> list[str]:
    with Workspace(workspace).ledger() as ledgers:
        return [adapter.id for adapter in ledgers.run().find(Adapter)]


@pytest.mark.parametrize("strategy", ["greedy", "self_consistency", "revise", "recall"])
def test_a_question_is_solved_by_each_strategy_and_recorded(
    strategy: str, answered: Answered, workspace: Path, ids: list[str]
) -> None:
    [solved] = answered("solve", "Is 12 even?", "--strategy", strategy, "--samples", "3")
    assert solved["adapter"] == ids[-1]
    assert solved["strategy"] == strategy
    assert isinstance(solved["solution"]["text"], str)
    samples = [step for step in solved["solution"]["steps"] if step["what"] == "sample"]
    assert len(samples) == (3 if strategy == "self_consistency" else 0)
    with Workspace(workspace).ledger() as ledgers:
        calls = ledgers.run().find(Call, round=0)
    assert calls
    assert {call.adapter for call in calls} == {ids[-1]}


def test_two_adapters_solve_side_by_side_and_a_beginning_of_an_id_will_do(answered: Answered, ids: list[str]) -> None:
    found = answered("solve", "Is 12 even?", "--adapter", "base", "--adapter", ids[0][:14])
    assert [solved["adapter"] for solved in found] == ["base", ids[0]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["solve", "x", "--strategy", "self-consistency"], "did you mean 'self_consistency'?"),
        (["solve", "x", "--adapter", "adapter-none"], "has no adapter 'adapter-none'; there are base"),
        (["solve", "x", "--family", "paritty"], "did you mean 'parity'?"),
        (["solve", "x", "--run", "tiny-9"], "no run 'tiny-9'"),
        (["solve", "x", "--model", "m", "--run", "tiny-1"], "model m as it is has no run and no adapters"),
        (["solve", "x", "--model", "m", "--adapter", "adapter-none"], "model m as it is has no run and no adapters"),
        (["eval", "--suite", "gate", "--round", "9"], "the gate of round 9 is yet unseen"),
        (["eval", "--suite", "retention"], "has no retention suite: evaluation.retention_items is 0"),
        (["eval", "--suite", "steer", "--strategy", "plan", "--strategy", "plan"], "plan is named twice"),
        (["solve", "x", "--strategy", "oracle"], "oracle is an upper bound: it chooses by the truth"),
        (["adapters", "rollback", "nobody"], "has no adapter 'nobody'"),
        (["adapters", "export", "adapter-none", "out"], "no record has the id"),
    ],
)
def test_what_is_wrong_is_one_line_and_said_before_a_model_is_loaded(
    arguments: list[str], said: str, quintet: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quintet.models.engine.Engine", None)
    result = quintet(*arguments)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("quintet:")]) == 1


def test_two_strategies_are_compared_on_the_same_items(answered: Answered, ids: list[str]) -> None:
    arguments = ("--suite", "steer", "--strategy", "greedy", "--strategy", "self_consistency", "--samples", "3")
    found = answered("eval", *arguments)
    assert list(found["ways"]) == [ids[-1], f"{ids[-1]}, self_consistency"]
    assert {way["score"]["n"] for way in found["ways"].values()} == {4}
    [against] = found["comparisons"].values()
    assert against["won"] + against["lost"] <= 4
    assert against["adjusted"] == against["p_value"]


def test_all_strategies_are_compared_at_one_budget_and_asked_again_answer_the_same(
    answered: Answered, quintet: Typed, workspace: Path
) -> None:
    named = ["greedy", "self_consistency", "best_of_n", "beam", "tree", "revise", "reflect", "plan", "debate", "oracle"]
    arguments = ["eval", "--suite", "steer", "--adapter", "base", "--tokens", "30", "--items", "3"]
    arguments += [word for name in named for word in ("--strategy", name)]
    found = answered(*arguments)
    assert [way["strategy"] for way in found["ways"].values()] == [*named[:-1], "oracle (upper bound)"]
    for way in found["ways"].values():
        assert 0 < way["tokens"] <= 30, way
        assert way["score"]["n"] == 3
    assert [name for name, way in found["ways"].items() if way["upper_bound"]] == ["base, oracle (upper bound)"]
    assert len(found["comparisons"]) == len(named) - 1
    assert all(one["adjusted"] >= one["p_value"] for one in found["comparisons"].values())
    assert answered(*arguments) == found
    text = quintet(*arguments).stdout
    assert "by Holm for 9 tests" in text
    assert "base, oracle (upper bound) knows the truth" in text
    assert "times the tokens of base" in text
    with Workspace(workspace).ledger() as ledgers:
        beside = ledgers.run().find(Evaluation, round=0)
    assert [one.tokens for one in beside if one.strategy == "plan"] == [
        round(3 * found["ways"]["base, plan"]["tokens"])
    ]


def test_a_budget_cuts_even_the_one_greedy_reply(answered: Answered) -> None:
    [solved] = answered("solve", "Is 12 even?", "--tokens", "2", "--adapter", "base")
    assert solved["tokens"] <= 2
    assert solved["prompt_tokens"] > 2
    found = answered("eval", "--suite", "steer", "--adapter", "base", "--tokens", "2")
    assert found["ways"]["base"]["tokens"] <= 2
    # What was cut is not taken for the run's own way to ask.
    assert answered("eval", "--suite", "steer", "--adapter", "base")["ways"]["base"]["tokens"] > 2


def test_a_conversation_remembers_what_was_said(answered: Answered, workspace: Path) -> None:
    turns = answered("chat", "--adapter", "base", "--max-tokens", "8", given="Hello.\nAnd now?\n")
    assert [turn["question"] for turn in turns] == ["Hello.", "And now?"]
    with Workspace(workspace).ledger() as ledgers:
        last = [call for call in ledgers.run().find(Call) if call.role == "chat"][-1]
    said = [(message.role, message.content) for message in last.messages]
    assert said == [("user", "Hello."), ("assistant", turns[0]["replies"]["base"]), ("user", "And now?")]


def test_a_model_by_name_needs_no_run(quintet: Typed, tiny_model_folder: Path, tmp_path: Path) -> None:
    result = quintet("chat", "--model", str(tiny_model_folder), "--max-tokens", "4", given="Hello.\n")
    assert result.exit_code == 0, result.output


def test_a_conversation_on_a_terminal_begins_with_who_listens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for terminal, quiet, said in [
        (True, False, "tiny-1: base, adapter-1 (an empty line or Ctrl-D ends it)\n"),
        (True, True, ""),
        (False, False, ""),
    ]:
        monkeypatch.setattr("sys.stdin.isatty", lambda terminal=terminal: terminal)
        Talk(["base", "adapter-1"], quiet=quiet).greet("tiny-1")
        assert capsys.readouterr().err == said


def test_a_reply_is_told_while_it_comes(tiny_model_folder: Path) -> None:
    engine = Engine(locate(str(tiny_model_folder)), ModelSettings(device="cpu"))
    request = Request(
        messages=(Message(role="user", content="Tell me."),),
        sampling=Sampling(temperature=0.8, max_tokens=12),
        seed="1",
    )
    heard: list[str] = []
    [reply] = engine.generate([request], lambda progress: heard.append(progress.text))
    assert len(heard) > 1
    assert heard[-1] == reply.completions[0].text
    assert all(len(earlier) <= len(later) for earlier, later in pairwise(heard))


def test_a_rollback_makes_an_earlier_adapter_the_incumbent_and_retires_the_later(
    answered: Answered, quintet: Typed, workspace: Path, ids: list[str]
) -> None:
    done = answered("adapters", "rollback", ids[0], "--reason", "worse on my own questions")
    assert (done["incumbent"], done["retired"]) == (ids[0], [ids[1]])
    listed = {adapter["id"]: adapter for adapter in answered("adapters")}
    assert listed[ids[0]]["incumbent"]
    assert listed[ids[1]]["status"] == "rolled back"
    assert "already" in quintet("adapters", "rollback", ids[0]).stderr
    refused = quintet("adapters", "rollback", ids[1]).stderr
    assert refused == f"quintet: {ids[1]} is rolled back; tiny-1 can be rolled back to base\n"
    with Workspace(workspace).ledger() as ledgers:
        ledger = ledgers.run()
        assert [record.reason for record in ledger.find(Rollback)] == ["worse on my own questions"]
        assert standing(ledger).promoted == [ids[0]]


@pytest.mark.slow
def test_a_run_goes_on_from_what_it_was_rolled_back_to(answered: Answered, workspace: Path, ids: list[str]) -> None:
    answered("adapters", "rollback", "base")
    answered("resume", "--rounds", "3")
    with Workspace(workspace).ledger() as ledgers:
        ledger = ledgers.run()
        solvers = {call.adapter for call in ledger.find(Call, round=3) if call.role == "solver"}
    assert solvers == {"base"}


def test_an_exported_adapter_says_the_same_in_peft_and_merged(
    quintet: Typed, ids: list[str], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for arguments in (["peft"], ["merged", "--merged"]):
        folder, *flags = arguments
        result = quintet("adapters", "export", ids[0], str(tmp_path / folder), *flags)
        assert result.exit_code == 0, result.output
    assert not [warning for warning in recwarn if warning.category is FutureWarning]
    assert quintet("adapters", "export", ids[0], str(tmp_path / "peft")).exit_code == 2
    tokens = AutoTokenizer.from_pretrained(tmp_path / "merged")("What is it?", return_tensors="pt").input_ids
    with torch.inference_mode():
        peft = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "peft", dtype=torch.float32)(tokens).logits
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)(tokens).logits
        base = AutoModelForCausalLM.from_pretrained(
            json.loads((tmp_path / "peft" / "adapter_config.json").read_text())["base_model_name_or_path"],
            dtype=torch.float32,
        )(tokens).logits
    assert torch.allclose(peft, merged, atol=0.05)
    assert (peft - base).abs().max() > (peft - merged).abs().max()


def test_a_merged_adapter_can_be_evaluated_and_is_nobodys_candidate(
    answered: Answered, quintet: Typed, workspace: Path, ids: list[str]
) -> None:
    made = answered("adapters", "merge", *ids)
    assert made["of"] == ids
    assert made["weights"] == [0.5, 0.5]
    # The same again is the same.
    assert answered("adapters", "merge", *ids)["adapter"] == made["adapter"]
    listed = {one["id"]: one for one in answered("adapters")}
    assert listed[made["adapter"]]["status"] == "merged"
    assert not listed[made["adapter"]]["incumbent"]
    found = answered("eval", "--suite", "steer", "--adapter", ids[0], "--adapter", made["adapter"])
    assert set(found["ways"]) == {ids[0], made["adapter"]}
    above = json.dumps(answered("lineage", made["adapter"]))
    assert all(id in above for id in ids)
    for arguments in ([ids[0]], [ids[0], ids[0]], [ids[0], "base"], [*ids, "--weight", "1"], [*ids, "--method", "x"]):
        assert quintet("adapters", "merge", *arguments).exit_code == 2, arguments


def test_an_exported_adapter_has_a_card_with_its_lineage_gains_and_failures(
    quintet: Typed, workspace: Path, ids: list[str], tmp_path: Path
) -> None:
    with Workspace(workspace).ledger() as ledgers:
        ledger = ledgers.run()
        adapters = [adapter for adapter in ledger.find(Adapter) if adapter.id in ids]
    for place, adapter in enumerate(adapters):
        assert quintet("adapters", "export", adapter.id, str(tmp_path / f"{place}")).exit_code == 0
        card = (tmp_path / f"{place}" / "README.md").read_text()
        header, _, body = card.removeprefix("---\n").partition("\n---\n")
        assert "library_name: peft" in header.splitlines()
        assert f"- parity, level 0: {len(adapter.rows)}" in body
        assert f"{len(adapter.rows)} rows" in body
        assert adapter.weights in body
        assert f"Gate of round {adapter.round}, 12 items that nobody had seen" in body
        assert "parity, level 0 (gate)" in body
        assert '"objective": "sft"' in body
        # No path of this machine, no truth.
        assert str(workspace) not in body
        assert CANARY not in body
    assert quintet("adapters", "export", ids[0], str(tmp_path / "merged"), "--merged").exit_code == 0
    assert "library_name: transformers" in (tmp_path / "merged" / "README.md").read_text()
