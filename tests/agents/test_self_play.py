"""Self-play: what the proposer earns, what that is measured against, whose adapter learns, and when one is given up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError
from scripted import Script, desk_of
from sitting import sitting

from quintet.agents.proposer import Proposer
from quintet.agents.self_play import adapters, experiences, watched
from quintet.agents.settings import AgentSettings, SelfPlaySettings
from quintet.agents.table import Round, Table
from quintet.agents.trainer import Trainer
from quintet.evaluation.settings import MonitorSettings
from quintet.models.errors import SpentError
from quintet.records import (
    BASE,
    Adapter,
    Baseline,
    Call,
    Completion,
    Experience,
    Handover,
    Message,
    Monitors,
    Proposal,
    Record,
    Reply,
    Reward,
)
from quintet.tasks.expressions import canonical
from quintet.training.errors import TrainError

BOTH = ("solver", "proposer")
EACH = SelfPlaySettings(roles=BOTH, adapters="each")
PROMPT = (Message(role="user", content="Write a new exercise."),)


@asynccontextmanager
async def table_of(folder: Path, play: SelfPlaySettings = EACH) -> AsyncIterator[Table]:
    """A table at which sums and products are practised, and the proposer is challenged."""
    levels = {"chain_sum": 2, "products": 3}
    async with sitting(folder, says=str, levels=levels, sources=("drawn", "challenger")) as found:
        settings = found.table.settings.model_copy(update={"self_play": play})
        settings = settings.model_copy(update={"trainer": settings.trainer.model_copy(update={"least_rows": 2})})
        yield replace(found.table, settings=settings, monitors=MonitorSettings(least=2))


def say(table: Table, texts: Sequence[str], number: int = 1, family: str = "products", **how: Any) -> list[Proposal]:
    """Put a call of the proposer on record, and its proposals; they are refused as malformed unless `how` says more."""
    said = tuple(Completion(text=text, tokens=tuple(range(len(text)))) for text in texts)
    request = f"{family} in round {number}"
    about: dict[str, Any] = {"round": number, "role": "proposer", "model": "m", "messages": PROMPT}
    call = Call(request=request, **about, completions=said)
    made = [
        Proposal(
            **{"round": number, "origin": "challenger", "accepted": False, "reason": "malformed", **how},
            number=place,
            family=family,
            level=0,
            call=call.id,
            content=text,
        )
        for place, text in enumerate(texts)
    ]
    table.ledger.add(call, *made)
    return made


def product(table: Table, split: str, skip: int = 0) -> str:
    """A product that belongs to a split, as a proposal."""
    fits = [
        f'{{"first":{a},"second":{b}}}'
        for a in range(3, 10)
        for b in range(a, 10)
        if table.examiner.split(canonical(f"{a} * {b}")) == split
    ]
    return fits[skip]


def earn(table: Table, *values: tuple[Proposal, float]) -> None:
    rewards = [
        Reward(round=one.round, role="proposer", about=one.id, value=value, reason="learnability")
        for one, value in values
    ]
    table.ledger.add(*rewards)


def scene(number: int = 1, **own: str) -> Round:
    return Round(number, BASE, {}, adapters=own)


async def learnt(table: Table, number: int = 1) -> tuple[list[Baseline], list[Experience]]:
    said = await experiences(table, scene(number))
    table.ledger.add(*said)
    return [one for one in said if isinstance(one, Baseline)], [one for one in said if isinstance(one, Experience)]


# --- what is earned ----------------------------------------------------------------------------------------


async def test_accepted_proposals_earn_their_learnability_and_refused_ones_nothing(tmp_path: Path) -> None:
    async with table_of(tmp_path) as table:
        [good] = say(table, [product(table, "train")], accepted=True, task="task-1", reason="new")
        [bad] = say(table, ['{"first":'], family="chain_sum")
        earn(table, (good, 0.75))
        _, found = await learnt(table)
        assert {one.about: one.reward for one in found} == {good.id: 0.75, bad.id: 0.0}
        assert all(one.prompt == PROMPT and one.role == "proposer" for one in found)
        assert {len(one.tokens) for one in found} == {len(good.content), len(bad.content)}


async def test_what_is_or_would_be_an_evaluation_item_is_learnt_from_in_no_way(tmp_path: Path) -> None:
    async with table_of(tmp_path) as table:
        items = [product(table, "gate"), product(table, "final")]
        trivial = [f'{{"first":1,"second":{n}}}' for n in range(2, 60)]
        held = [text for n, text in enumerate(trivial, 2) if table.examiner.split(canonical(f"1 * {n}")) != "train"]
        free = [text for text in trivial if text not in held]
        assert held
        assert free
        say(table, [*items, *trivial], reason="whatever it says")
        _, found = await learnt(table)
        assert {one.completion for one in found} == set(free)


async def test_what_nobody_attempted_and_what_another_source_or_model_said_is_left_out(tmp_path: Path) -> None:
    async with table_of(tmp_path) as table:
        say(table, [product(table, "train")], accepted=True, task="task-1", reason="new")
        say(table, ["{"], family="chain_sum", origin="invented")
        elsewhere = Call(
            request="e",
            round=1,
            role="proposer",
            model="m",
            adapter=None,
            messages=(),
            completions=(Completion(text="{"),),
        )
        about: dict[str, Any] = {"round": 1, "origin": "challenger", "number": 0, "family": "products", "level": 0}
        table.ledger.add(
            elsewhere, Proposal(**about, call=elsewhere.id, content="{", accepted=False, reason="malformed")
        )
        assert await experiences(table, scene()) == []


async def test_a_baseline_is_the_running_mean_of_a_familys_rewards_and_begins_at_the_first_rounds(
    tmp_path: Path,
) -> None:
    play = SelfPlaySettings(roles=BOTH, decay=0.5)
    async with table_of(tmp_path, play) as table:
        for number, rewards in ((1, (1.0, 0.5)), (2, (0.0, 1.0, 0.5))):
            texts = [product(table, "train", skip=n) for n in range(len(rewards))]
            made = say(table, texts, number, accepted=True, task="task-1", reason="new")
            earn(table, *zip(made, rewards, strict=True))
        say(table, ["{"], 1, family="chain_sum")
        first, said = await learnt(table, 1)
        assert {one.family: one.value for one in first} == {"products": 0.75, "chain_sum": 0.0}
        assert {one.baseline for one in said if one.reward} == {0.75}
        [second], said = await learnt(table, 2)
        # Each of three rewards halves what is left of the old mean.
        assert second.value == pytest.approx(0.125 * 0.75 + 0.875 * 0.5)
        assert {one.baseline for one in said} == {second.value}
        assert second.before in {one.id for one in first if one.family == "products"}
        # An interrupted node runs again, and says the same.
        assert await experiences(table, scene(2)) == [second, *said]


async def test_measured_against_its_group_a_reward_has_no_baseline(tmp_path: Path) -> None:
    async with table_of(tmp_path, SelfPlaySettings(roles=BOTH, baseline="group")) as table:
        say(table, ["{", "["])
        baselines, said = await learnt(table)
        assert (baselines, [one.baseline for one in said]) == ([], [None, None])


async def test_where_the_solver_alone_learns_nothing_is_said_or_watched(tmp_path: Path) -> None:
    async with table_of(tmp_path, SelfPlaySettings()) as table:
        say(table, ["{"])
        assert await experiences(table, scene()) == []
        assert watched(table, 1).values == {}
        assert adapters(table.ledger, table.settings.self_play, 9) == {}


# --- under which adapter -----------------------------------------------------------------------------------


async def test_a_role_speaks_under_its_last_handovers_adapter_from_the_next_round_on(tmp_path: Path) -> None:
    async with table_of(tmp_path) as table:
        for number, (before, after) in enumerate([(BASE, "adapter-1"), ("adapter-1", "adapter-2")], 1):
            table.ledger.add(Handover(round=number, role="proposer", adapter=after, before=before, reason=""))
        found = [adapters(table.ledger, EACH, number)["proposer"] for number in (1, 2, 3, 4)]
        assert found == [BASE, "adapter-1", "adapter-2", "adapter-2"]
        assert adapters(table.ledger, SelfPlaySettings(roles=BOTH), 4) == {}


async def test_the_proposer_is_asked_under_its_own_adapter_and_others_under_the_incumbent(tmp_path: Path) -> None:
    script = Script(lambda request, place: "{}")
    with desk_of(script, tmp_path) as desk:
        proposer = Proposer().sit(desk.table)
        words: dict[str, Any] = {"family": "products", "seeds": []}
        for own in ({"proposer": "adapter-own"}, {"proposer": BASE}, {}):
            await proposer.call(Round(1, "adapter-incumbent", {}, adapters=own), about=str(own), **words)
    assert [request.adapter for request in script.asked] == ["adapter-own", BASE, "adapter-incumbent"]


# --- what is trained ---------------------------------------------------------------------------------------


def earned(number: int, text: str) -> Experience:
    about: dict[str, Any] = {"round": number, "role": "proposer", "about": "proposal-1", "call": "call-1"}
    return Experience(**about, prompt=PROMPT, completion=text, reward=1.0, baseline=0.5)


async def trained(
    table: Table, number: int, own: str, patch: pytest.MonkeyPatch, fails: str = ""
) -> tuple[Any, list[Any]]:
    """What the training was told, and what was said about it."""
    told: list[Any] = []

    async def train(spec: Any, progress: Any) -> Any:
        if fails:
            raise TrainError(fails)
        told.append(spec)
        return SimpleNamespace(weights="ab" * 32, metrics={})

    patch.setattr("quintet.training.train.train", train)
    said: list[Record] = [one async for one in Trainer().sit(table).train_roles(scene(number, proposer=own))]
    table.ledger.add(*said)
    return (told or [None])[0], said


async def test_a_roles_adapter_is_continued_on_what_it_said_under_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with table_of(tmp_path) as table:
        table.ledger.add(earned(1, "a"), earned(1, "b"))
        spec, [first, handed] = await trained(table, 1, BASE, monkeypatch)
        assert (spec.start, [one.completion for one in spec.experiences], spec.rows) == (None, ["a", "b"], ())
        assert isinstance(first, Adapter)
        assert (first.role, first.start, len(first.experiences)) == ("proposer", BASE, 2)
        assert (handed.adapter, handed.before, handed.dropped) == (first.id, BASE, False)
        table.ledger.add(earned(2, "c"), earned(2, "d"))
        spec, [second, _] = await trained(table, 2, first.id, monkeypatch)
        assert [one.completion for one in spec.experiences] == ["c", "d"]
        assert spec.start == table.registry.path(first.id)
        assert second.start == first.id


async def test_an_alarm_drops_the_adapter_takes_up_the_one_before_and_learns_nothing_of_that_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with table_of(tmp_path) as table:
        table.ledger.add(earned(1, "a"), earned(1, "b"))
        _, [made, _] = await trained(table, 1, BASE, monkeypatch)
        # In the second round it says one thing only, where it said different ones before.
        say(table, ["{1", "{2", "{3"], 1)
        table.ledger.add(Monitors(round=1, values=watched(table, 1).values))
        say(table, ["{1", "{1", "{1"], 2)
        table.ledger.add(earned(2, "c"), earned(2, "d"))
        spec, [handed] = await trained(table, 2, made.id, monkeypatch)
        assert spec is None
        assert (handed.adapter, handed.before, handed.dropped) == (BASE, made.id, True)
        assert handed.reason.startswith("proposer.distinct: ")
        assert adapters(table.ledger, EACH, 3) == {"proposer": BASE}
        # What was said under it is not taken up later either; and there is nothing before the base to go back to.
        table.ledger.add(earned(3, "e"), earned(3, "f"))
        spec, [_, handed] = await trained(table, 3, BASE, monkeypatch)
        assert [one.completion for one in spec.experiences] == ["e", "f"]


async def test_too_little_to_learn_from_trains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with table_of(tmp_path) as table:
        table.ledger.add(earned(1, "a"))
        assert await trained(table, 1, BASE, monkeypatch) == (None, [])


async def test_a_training_that_fails_is_on_record_and_the_round_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with table_of(tmp_path) as table:
        table.ledger.add(earned(1, "a"), earned(1, "b"))
        _, [said] = await trained(table, 1, BASE, monkeypatch, fails="the loss is NaN")
        assert isinstance(said, Reply)
        assert said.error == "training for proposer failed: the loss is NaN"

        def spent() -> None:
            raise SpentError("no time left")

        with pytest.raises(SpentError):
            await trained(replace(table, check=spent), 1, BASE, monkeypatch, fails="killed")


async def test_in_turns_one_role_learns_a_round_and_the_other_keeps_what_it_said_for_its_own(tmp_path: Path) -> None:
    play = SelfPlaySettings(roles=BOTH, adapters="each", train="turns")
    assert [play.learning(number) for number in (1, 2, 3)] == [("solver",), ("proposer",), ("solver",)]
    async with table_of(tmp_path, play) as table:
        table.ledger.add(earned(1, "a"), earned(2, "b"))
        trainer = Trainer().sit(table)
        sizes = [trainer.materials(scene(number, proposer=BASE), "proposer").size for number in (1, 2)]
        assert sizes == [0, 2]


async def test_in_a_shared_adapter_the_proposers_words_stand_beside_the_solvers(tmp_path: Path) -> None:
    async with table_of(tmp_path, SelfPlaySettings(roles=BOTH)) as table:
        table.ledger.add(earned(1, "a"))
        assert [one.completion for one in Trainer().sit(table).materials(scene()).experiences] == ["a"]
    async with table_of(tmp_path / "each") as table:
        table.ledger.add(earned(1, "a"))
        assert Trainer().sit(table).materials(scene(proposer=BASE)).size == 0


# --- settings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"self_play": {"roles": []}}, "at least 1"),
        ({"self_play": {"roles": ["solver", "solver"]}}, "names one twice"),
        ({"self_play": {"train": "turns"}}, "needs two roles"),
        ({"self_play": {"adapters": "each"}}, "needs a role besides the solver"),
        ({"self_play": {"roles": ["critic"]}}, "'solver' or 'proposer'"),
        ({"self_play": {"roles": BOTH, "decay": 1.0}}, "less than 1"),
        ({"self_play": {"roles": BOTH}, "proposer": {"adapter": BASE}}, r"leave proposer\.adapter empty"),
        ({"self_play": {"roles": BOTH}, "proposer": {"chat": "judge"}}, r"leave proposer\.chat empty"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        AgentSettings.model_validate(given)
