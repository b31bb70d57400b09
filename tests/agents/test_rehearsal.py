"""A rehearsal: a role speaks without a run, and what it would cost a run is seen."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel

from quintet import Episode, EpisodeRole, Round, RoundRole, rehearse
from quintet.agents.errors import AgentError
from quintet.models.errors import SpentError
from quintet.records import Reply


class Opinion(BaseModel):
    verdict: Literal["accept", "revise"]


class Referee(EpisodeRole):
    """Judges."""

    reply = Opinion
    template = "{{ scene.question }} / {{ scene.current()[1].text }}"


class Herald(RoundRole):
    """Opens the round."""

    before = "proposer"
    template = "Round {{ scene.number }} of {{ scene.tasks | length }} task"


def test_a_reply_is_parsed_and_the_prompt_is_shown() -> None:
    heard = rehearse(Referee(), ['{"verdict": "revise"}'], question="What is 1 + 1?", attempts=["Answer: 2", "no"])
    assert heard.said == Opinion(verdict="revise")
    assert heard.prompts[0].startswith("What is 1 + 1? / no")
    assert [record.verdict for record in heard.records if isinstance(record, Reply)] == ["revise"]


def test_a_round_role_rehearses_a_round() -> None:
    heard = rehearse(Herald(), ["Welcome."], round=3)
    assert heard.prompts == ("Round 3 of 1 task",)
    assert heard.said is not None
    assert heard.said.text == "Welcome."  # type: ignore[attr-defined]


def test_nonsense_a_fault_and_a_stall_are_errors_of_the_reply_alone() -> None:
    class Faulty(EpisodeRole):
        """Raises."""

        async def act(self, episode: Episode) -> None:
            raise ZeroDivisionError("by zero")

    class Sleeper(EpisodeRole):
        """Stalls."""

        async def act(self, episode: Episode) -> None:
            import asyncio

            await asyncio.sleep(30)

    assert "answered nonsense" in (rehearse(Referee(), ["maybe"]).error or "")
    assert rehearse(Faulty()).error == "ZeroDivisionError: by zero"
    assert rehearse(Sleeper(), seconds=0.05).error == "stalled for more than 0.05 s"


def test_a_role_speaks_in_the_rounds_that_its_settings_name_or_that_it_chooses() -> None:
    class Odd(RoundRole):
        """Speaks every other round."""

        def speaks(self, round: int) -> bool:
            return round % 2 == 1

        async def act(self, round: Round) -> str:
            return "here"

    assert rehearse(Odd(), round=1).said is not None
    assert rehearse(Odd(), round=2).records == ()
    assert rehearse(Herald(), ["Welcome."], round=2, rounds=[2, 3]).said is not None
    assert rehearse(Herald(), round=1, rounds=[2, 3]).records == ()


def test_too_few_replies_are_the_tests_fault() -> None:
    with pytest.raises(AgentError, match="more than 0 times"):
        rehearse(Referee())


@pytest.mark.parametrize(
    "words",
    ["{{ scene.task }}", "{{ scene }}", "{{ scene.task['truth'] }}", "{{ scene.task.model_dump() }}", "{{ tasks }}"],
)
def test_no_template_can_show_the_truth(words: str) -> None:
    class Peeping(EpisodeRole):
        """Looks for the answer."""

        template = words

        async def act(self, episode: Episode) -> str:
            return str(await self.ask(episode, tasks=[episode.task]))

    heard = rehearse(Peeping(), ["Aha."], question="Q?", answer="c4n4ry")
    assert heard.prompts, heard.error
    assert "c4n4ry" not in heard.prompts[0]
    assert "Q?" in heard.prompts[0] or words == "{{ scene.task['truth'] }}"


def test_the_word_truth_teaches() -> None:
    class Asking(EpisodeRole):
        """Asks for it."""

        template = "{{ scene.task.truth }}"

    assert "the truth is for verifiers" in (rehearse(Asking()).error or "")


def test_what_must_stop_the_run_is_not_taken_for_a_lost_reply() -> None:
    class Several(RoundRole):
        """Asks several things at once."""

        async def act(self, round: Round) -> None:
            raise ExceptionGroup("asked at once", [SpentError("nothing is left")])

    with pytest.raises(ExceptionGroup):
        rehearse(Several())
