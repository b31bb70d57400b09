"""Roles before and after any chair, in chosen rounds, under an adapter of their own, and with a veto."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from parity import Parity
from pydantic import BaseModel
from tiny import tiny_settings

from quintet import Episode, EpisodeRole, Loop, Round, RoundRole
from quintet.agents.errors import AgentError
from quintet.agents.players import beside, round_players
from quintet.agents.roles import Role, seating
from quintet.graph.errors import LoopError
from quintet.graph.lifecycle import lifecycle
from quintet.graph.settings import Settings
from quintet.memory.workspace import Workspace
from quintet.plugins import PluginError
from quintet.records import Adapter, Call, Decision, Record, Reply, Verdict


def herald(chair: str, where: str, kind: type[Role] = RoundRole) -> Role:
    """A role that speaks a fixed word beside a chair."""

    async def act(self: Role, scene: Episode | Round) -> str:
        return f"{where} {chair}, after {', '.join(scene.replies) or 'nobody'}"

    made = type(f"{where.title()}{chair.title()}", (kind,), {where: chair, "act": act, "__doc__": "Speaks."})
    return made()  # type: ignore[no-any-return]


ROUND_CHAIRS = [(where, chair) for chair in ("proposer", "curator", "trainer") for where in ("before", "after")]


def test_every_chair_of_the_round_has_a_place_before_and_after_it() -> None:
    joined = [herald(chair, where) for where, chair in ROUND_CHAIRS]
    graph = lifecycle(seating(round_players(), joined)).compile().get_graph()
    following = {edge.source: edge.target for edge in graph.edges if not edge.conditional}
    order, node = [], following["__start__"]
    while node not in order and node != "decide":
        order.append(node)
        node = following[node]
    assert order == [
        *("before_proposer", "propose", "after_proposer"),
        "episodes",
        *("before_curator", "curate", "after_curator", "approve"),
        *("before_trainer", "train", "after_trainer"),
        "evaluate",
    ]


def ran(workspace: Path, model: Path, joined: list[Role], **changes: Any) -> list[Record]:
    """All records of a short run with these roles."""
    Loop(tiny_settings(model, **changes), roles=joined, tasks=[Parity()], workspace=workspace).run()
    with Workspace(workspace).ledger() as ledgers:
        ledger = ledgers.run()
        return [event.record for event in ledger.events(limit=100_000)]


def test_all_of_them_speak_in_a_run_and_hear_those_before_them(tiny_model_folder: Path, tmp_path: Path) -> None:
    round_roles = [herald(chair, where) for where, chair in ROUND_CHAIRS]
    episode_roles = [
        herald(chair, where, EpisodeRole) for chair in ("solver", "critic") for where in ("before", "after")
    ]
    settings = {"roles": {"after_trainer": {"rounds": [2]}}}
    records = ran(tmp_path, tiny_model_folder, [*round_roles, *episode_roles], **settings)
    replies = [record for record in records if isinstance(record, Reply)]
    assert {reply.role for reply in replies} == {role.name for role in [*round_roles, *episode_roles]}
    assert {reply.round for reply in replies if reply.role == "before_proposer"} == {1, 2}
    assert {reply.round for reply in replies if reply.role == "after_trainer"} == {2}
    last = next(reply for reply in replies if reply.role == "after_trainer")
    others = [role.name for role in round_roles][:-1]
    assert last.content["text"] == f"after trainer, after {', '.join(others)}"


class Opinion(BaseModel):
    verdict: Verdict


class Veto(RoundRole):
    """Objects in the first round."""

    async def act(self, round: Round) -> Opinion:
        return Opinion(verdict="reject" if round.number == 1 else "accept")


@pytest.mark.slow
@pytest.mark.parametrize("chair", ["curator", "trainer"])
def test_a_round_roles_objection_costs_the_round_its_candidate(
    chair: str, tiny_model_folder: Path, tmp_path: Path
) -> None:
    veto = type("Veto", (Veto,), {"after": chair})()
    records = ran(tmp_path, tiny_model_folder, [veto])
    decisions = [record for record in records if isinstance(record, Decision)]
    assert decisions[0].candidate is None
    assert decisions[0].reason == "no candidate: veto said reject"
    assert decisions[1].candidate is not None
    trained = {record.round for record in records if isinstance(record, Adapter)}
    assert trained == ({2} if chair == "curator" else {1, 2})


class Fan(EpisodeRole):
    """Says something under an adapter of its own."""

    template = "Say something about {{ scene.question }}"


@pytest.mark.slow
def test_a_role_speaks_under_an_adapter_of_its_own(tiny_model_folder: Path, tmp_path: Path) -> None:
    first = ran(tmp_path, tiny_model_folder, [], rounds=1)
    adapter = next(record for record in first if isinstance(record, Adapter))
    records = ran(tmp_path, tiny_model_folder, [Fan()], rounds=1, roles={"fan": {"adapter": adapter.id}})
    by_role = {(call.role, call.adapter) for call in records if isinstance(call, Call)}
    assert ("fan", adapter.id) in by_role
    assert ("solver", "base") in by_role
    with pytest.raises(LoopError, match=r"setting fan\.adapter: .*adapter-none"):
        ran(tmp_path, tiny_model_folder, [Fan()], roles={"fan": {"adapter": "adapter-none"}})


def test_a_chain_of_roles_stays_together_ahead_of_a_chair() -> None:
    first = herald("curator", "before")
    second = type("Second", (type(first),), {"before": first.name})()
    order = seating(round_players(), [first, second])
    assert beside(order)[0]["curator"] == ["second", "before_curator"]
    assert not beside(order)[1]["proposer"]


class Solver(RoundRole):
    """Takes a player's name."""


class Route(EpisodeRole):
    """Takes a node's name."""


@pytest.mark.parametrize(
    ("joining", "said"),
    [
        ({"roles": [Fan]}, "without its parentheses"),
        ({"roles": [Solver()]}, "called 'solver'"),
        ({"roles": [Route()]}, "called 'route'"),
        ({"models": {"critc": object()}}, "did you mean 'critic'"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_done(joining: dict[str, Any], said: str) -> None:
    with pytest.raises(LoopError, match=said):
        Loop(Settings(), **joining)


def test_a_name_that_nothing_has_is_said_before_the_first_task(tiny_model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="did you mean 'confidence'"):
        ran(tmp_path, tiny_model_folder, [], curator={"metrics": ["confidance"]})
    with pytest.raises(AgentError, match=r"template of role 'critic': no file nowhere\.jinja"):
        ran(tmp_path, tiny_model_folder, [], critic={"template": "nowhere.jinja"})
