"""The reflector: a lesson from a task that nobody solved, and none from any other."""

from __future__ import annotations

from pathlib import Path

from scripted import Script, desk_of

from quintet.agents.hearing import hear
from quintet.agents.reflector import Reflector
from quintet.agents.table import Episode
from quintet.records import Attempt, Call, Critique, Lesson, Record, Reply, Task, Verdict

LESSON = '{"lesson": "Add the ones first."}'
TASK = Task(family="any", level=0, question="What is 17 + 25?", canonical="17+25", truth={"answer": "42"})


def episode(*answers: str, verdict: Verdict = "reject", turn: int = 1) -> Episode:
    """An episode of one attempt a turn, judged by whether it says 42; the last one's verdict is given."""
    scene = Episode(1, TASK, turn=turn)
    for place, answer in enumerate(answers):
        fields = {"round": 1, "task": TASK.id}
        said = Attempt(
            **fields, call="call-0", sample=0, turn=place, text=f"Answer: {answer}", answer=answer, strict_answer=answer
        )
        right = answer == "42"
        scene.take(said)
        scene.take(
            Critique(
                **fields,
                attempt=said.id,
                score=right,
                correct=right,
                strict=right,
                verdict="accept" if right else verdict,
                feedback="Look at the ones.",
            )
        )
    return scene


async def reflected(scene: Episode, folder: Path, says: str = LESSON) -> tuple[list[Record], list[str]]:
    """What is recorded of the reflector's act, and what its model was asked."""
    with desk_of(Script(lambda request, place: says), folder) as desk:
        records = await hear(Reflector().sit(desk.table), scene)
        return records, [call.messages[-1].content for call in desk.table.ledger.find(Call)]


async def test_a_task_that_stays_unsolved_leaves_a_lesson_of_its_last_failed_attempt(tmp_path: Path) -> None:
    scene = episode("41", "40")
    [lesson], [prompt] = await reflected(scene, tmp_path)
    assert isinstance(lesson, Lesson)
    assert lesson.text == "After failing “What is 17 + 25?”: Add the ones first."
    last = scene.attempts[-1]
    assert (lesson.task, lesson.attempt, lesson.critique) == (TASK.id, last.id, scene.critiques[last.id].id)
    assert "Answer: 40" in prompt
    assert "That is wrong. Your teacher said: Look at the ones." in prompt
    assert "42" not in prompt


async def test_a_task_that_was_solved_in_any_turn_teaches_nothing_here(tmp_path: Path) -> None:
    assert await reflected(episode("41", "42"), tmp_path / "last") == ([], [])
    assert await reflected(episode("42", "41"), tmp_path / "first") == ([], [])


async def test_nothing_is_said_while_a_revision_may_yet_solve_it(tmp_path: Path) -> None:
    assert await reflected(episode("41", verdict="revise", turn=0), tmp_path / "open") == ([], [])
    [lesson], _ = await reflected(episode("41", "40", verdict="revise", turn=1), tmp_path / "over")
    assert isinstance(lesson, Lesson)


async def test_where_the_solver_said_nothing_there_is_nothing_to_reflect_on(tmp_path: Path) -> None:
    assert await reflected(episode(), tmp_path) == ([], [])


async def test_what_is_no_lesson_is_none_and_costs_nothing_else(tmp_path: Path) -> None:
    for place, nonsense in enumerate(("banana", '{"lesson": ""}', '{"lesson": "Add the', "")):
        records, asked = await reflected(episode("41", "40"), tmp_path / str(place), nonsense)
        assert (records, len(asked)) == ([], 1)


async def test_its_failure_is_noted_and_ends_no_round(tmp_path: Path) -> None:
    with desk_of(Script(lambda *_: LESSON), tmp_path, roles={"reflector": {"template": "{{ nowhere }}"}}) as desk:
        [noted] = await hear(Reflector().sit(desk.table), episode("41", "40"))
    assert isinstance(noted, Reply)
    assert "nowhere" in str(noted.error)
