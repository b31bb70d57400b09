"""Roles: seating, words, verdicts, and how a role gets to the table."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel

from quintet.agents.errors import AgentError
from quintet.agents.players import at_the_table, episode_players, round_players
from quintet.agents.roles import EpisodeRole, RoundRole, json_in, seating
from quintet.agents.table import Episode
from quintet.records import Attempt, Critique, Reply, Task, Verdict


class Doubt(BaseModel):
    verdict: Literal["accept", "revise", "reject"]


class Skeptic(EpisodeRole):
    """Doubts."""

    reply = Doubt


class Scribe(EpisodeRole):
    """Writes after the skeptic."""

    after = "skeptic"


def episode(*verdicts: Verdict) -> tuple[Episode, list[Attempt]]:
    """An episode whose attempts have these verdicts of the critic."""
    task = Task(family="f", level=0, question="q", canonical="q", truth={})
    scene = Episode(1, task, revise=9)
    attempts = []
    for number, verdict in enumerate(verdicts):
        attempt = Attempt(
            round=1, task=task.id, call="call-0", sample=number, turn=0, text="t", answer="t", strict_answer=None
        )
        correct = verdict == "accept"
        scene.take(attempt)
        scene.take(
            Critique(
                round=1,
                task=task.id,
                attempt=attempt.id,
                score=float(correct),
                correct=correct,
                strict=False,
                verdict=verdict,
            )
        )
        attempts.append(attempt)
    return scene, attempts


def test_a_role_is_named_after_its_class() -> None:
    class SecondOpinion(EpisodeRole):
        """Has one."""

    assert SecondOpinion.name == "second_opinion"


def test_joined_roles_sit_after_the_role_they_name_whatever_order_they_come_in() -> None:
    order = seating(episode_players(), [Scribe(), Skeptic()])
    assert [role.name for role in order] == ["solver", "critic", "skeptic", "scribe"]


def test_a_role_after_nobody_and_a_name_taken_twice_are_refused() -> None:
    with pytest.raises(AgentError, match="'scribe' speaks after 'skeptic', but only solver, critic"):
        seating(episode_players(), [Scribe()])
    with pytest.raises(AgentError, match="two roles are called 'skeptic'"):
        seating(episode_players(), [Skeptic(), Skeptic()])


def test_the_strictest_verdict_wins_and_nobody_is_milder_than_the_verifier() -> None:
    scene, (right, wrong, hopeless) = episode("accept", "revise", "reject")
    assert [scene.verdict(a) for a in (right, wrong, hopeless)] == ["accept", "revise", "reject"]
    scene.take(Reply(round=1, role="mild", task=scene.task.id, verdict="accept"))
    assert [scene.verdict(a) for a in (right, wrong, hopeless)] == ["accept", "revise", "reject"]
    scene.take(Reply(round=1, role="skeptic", task=scene.task.id, verdict="revise"))
    assert [scene.verdict(a) for a in (right, wrong, hopeless)] == ["revise", "revise", "reject"]
    scene.take(Reply(round=1, role="judge", task=scene.task.id, verdict="reject"))
    assert {scene.verdict(a) for a in (right, wrong, hopeless)} == {"reject"}
    assert not scene.revisable()


def test_a_new_turn_forgets_the_verdicts_of_the_last() -> None:
    scene, (right, wrong) = episode("accept", "revise")
    scene.take(Reply(round=1, role="skeptic", task=scene.task.id, verdict="revise"))
    scene.open_turn(scene.revisable())
    assert scene.turn == 1
    assert scene.revising == {right.id, wrong.id}
    assert not scene.verdicts


def test_the_five_players_are_at_the_table_in_speaking_order() -> None:
    seats = at_the_table()
    assert [seat.role for seat in seats if seat.source == "built in"] == [
        "proposer",
        "solver",
        "critic",
        "curator",
        "trainer",
    ]
    assert all(seat.purpose for seat in seats)


def test_the_players_keep_to_their_two_kinds() -> None:
    assert all(isinstance(role, EpisodeRole) for role in episode_players())
    assert all(isinstance(role, RoundRole) for role in round_players())


@pytest.mark.parametrize(
    ("text", "found"),
    [('{"a": 1}', '{"a": 1}'), ('Sure:\n```json\n{"a": 1}\n```', '{"a": 1}'), ("none", "none")],
)
def test_json_is_found_among_words(text: str, found: str) -> None:
    assert json_in(text) == found
