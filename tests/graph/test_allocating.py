"""A round is shared out by what the steer suite said: on record, the same in every run, and only where asked for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from parity import Parity
from tiny import tiny_settings

from quintet import Loop
from quintet.agents.crediting import outcomes
from quintet.evaluation.bandits import Outcome, Pull
from quintet.graph.errors import SettingsError
from quintet.graph.opening import check
from quintet.graph.report import report
from quintet.graph.settings import Settings
from quintet.memory.workspace import Workspace
from quintet.plugins import PluginError
from quintet.records import Allocation, Evaluation, Proposal, Selection

FAMILIES = ("other", "parity")


def settings(model: Path, allocate: str = "thompson", rounds: int = 3, **proposer: Any) -> Any:
    """A short run on two families that a random model solves half of the time."""
    suites = {"families": {"parity": [0], "other": [0]}, "steer_items": 16}
    chosen = {"families": list(FAMILIES), "tasks": 4, "invented": 2, "allocate": allocate, **proposer}
    return tiny_settings(model, rounds=rounds, proposer=chosen, evaluation=suites)


def families() -> list[Parity]:
    return [Parity(name) for name in FAMILIES]


@pytest.mark.slow
def test_shares_follow_from_the_ledger_alone_and_are_on_record(tiny_model_folder: Path, tmp_path: Path) -> None:
    Loop(settings(tiny_model_folder), tasks=families(), workspace=tmp_path).run()
    place = Workspace(tmp_path)
    with place.ledger() as ledgers:
        ledger = ledgers.run()
        found = ledger.find(Allocation)
        assert [one.round for one in found] == [1, 2, 3]
        arms = {f"{source}/{family}" for source in ("drawn", "invented") for family in FAMILIES}
        assert all(set(one.shares) == arms for one in found)
        assert found[0].reason.startswith("even shares")
        assert found[1].reason == "thompson on 1 measured round"
        for one in found:
            asked = dict.fromkeys(arms, 0)
            for proposal in ledger.find(Proposal, round=one.round):
                asked[f"{proposal.origin}/{proposal.family}"] += 1
            # Of twelve, to the nearest whole number.
            assert all(abs(asked[arm] - 12 * one.shares[arm]) < 1 for arm in arms)
            assert sum(asked.values()) == 12
        # The base model's answers are what the first candidate is compared with.
        steer = [e for e in ledger.find(Evaluation) if e.suite == "steer"]
        assert steer[0].adapter == "base"
        for outcome in (o for o in outcomes(ledger, 4) if o.change is not None):
            assert -1 <= outcome.change <= 1
        assert sum(pull.tokens for o in outcomes(ledger, 2) for pull in o.pulls.values()) == sum(
            tokens for role, tokens in ledger.role_tokens()[1].items() if role != "evaluation"
        )
        assert "shares of tasks: " in report(ledger, place).table()
        before = ledger.digest()
    Loop(settings(tiny_model_folder), tasks=families(), workspace=tmp_path / "again").run()
    with Workspace(tmp_path / "again").ledger() as ledgers:
        assert ledgers.run().digest() == before


@pytest.mark.slow
def test_levels_beside_the_present_one_are_arms_of_their_own(tiny_model_folder: Path, tmp_path: Path) -> None:
    chosen = settings(tiny_model_folder, "linucb", 2, near_levels=True, start_level=1, invented=0, tasks=9)
    Loop(chosen, tasks=families(), workspace=tmp_path).run()
    with Workspace(tmp_path).ledger() as ledgers:
        ledger = ledgers.run()
        first = ledger.find(Allocation, round=1)[0]
        assert set(first.shares) == {f"drawn/{family}@{level}" for family in FAMILIES for level in (0, 1, 2)}
        assert {proposal.level for proposal in ledger.find(Proposal, round=1)} == {0, 1, 2}
        pulled = {arm for outcome in outcomes(ledger, 2, by_level=True) for arm in outcome.pulls}
        assert pulled == set(first.shares)


@pytest.mark.slow
def test_ranking_rules_share_out_the_row_budget_and_each_row_says_whose_it_is(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    rules = {"hardest": ["pass_rate"], "shortest": ["tokens"]}
    chosen = {"longest": 64, "allocate": "linucb", "rules": rules, "row_budget": 3}
    made = tiny_settings(tiny_model_folder, proposer={"families": ["parity"], "tasks": 12}, curator=chosen)
    Loop(made, tasks=[Parity()], workspace=tmp_path).run()
    place = Workspace(tmp_path)
    with place.ledger() as ledgers:
        ledger = ledgers.run()
        found = ledger.find(Allocation)
        assert [set(one.shares) for one in found] == [{"rule/hardest", "rule/shortest"}] * 2
        for one in found:
            selected = [s for s in ledger.find(Selection, round=one.round) if s.chosen]
            assert len(selected) == 3
            assert {rule: sum(s.rule == rule for s in selected) for rule in rules} == {
                rule: pytest.approx(3 * one.shares[f"rule/{rule}"], abs=1) for rule in rules
            }
        assert "shares of rows: rule/" in report(ledger, place).table()


def test_what_cannot_be_measured_is_not_shared_out(tiny_model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no items of other: name it in evaluation\.families"):
        tiny_settings(tiny_model_folder, proposer={"families": ["parity", "other"], "allocate": "uniform"})
    with pytest.raises(SettingsError, match=r"evaluation\.steer_items is 0"):
        tiny_settings(tiny_model_folder, proposer={"allocate": "uniform"}, evaluation={"steer_items": 0})
    with pytest.raises(SettingsError, match="name two or more"):
        tiny_settings(tiny_model_folder, curator={"allocate": "uniform"})
    rules = {"a@b": ["tokens"], "c": ["pass_rate"]}
    with pytest.raises(SettingsError, match="rules names 'a@b': a rule's name holds no @"):
        tiny_settings(tiny_model_folder, curator={"allocate": "uniform", "rules": rules})
    with pytest.raises(PluginError, match="bandit 'tompson' is unknown: did you mean 'thompson'"):
        Loop(settings(tiny_model_folder, "tompson"), tasks=families(), workspace=tmp_path).run()


def test_the_guide_holds_what_it_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "selector.md").read_text()
    configs = [tomllib.loads(block) for block in re.findall(r"^```toml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)]
    assert len(configs) == 2
    for config in configs:
        check(Settings.compose(config))
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102
    won = {"drawn/a": Pull(tokens=1000, rows=9, trained=9)}
    history = [Outcome(round=1, family="a", pulls=won, change=0.2, variance=0.01)]
    assert names["Greediest"]().choose(["drawn/b", "drawn/a"], history, 0) == {"drawn/a": 1.0, "drawn/b": 0.0}
