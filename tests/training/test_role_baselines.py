"""What a role earned is measured against that role's own baseline, and the solver's attempts against their group's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_rows import made_row
from test_packing import FLOAT32  # type: ignore[import-not-found]
from transformers import AutoTokenizer

from quintet.records import Contrast, Experience, Message
from quintet.training.grpo import GroupRelative
from quintet.training.spec import TrainSpec


@pytest.fixture(scope="module")
def tokenizer(tiny_model_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model_folder)


def proposed(text: str, reward: float, baseline: float | None = 0.25) -> Experience:
    return Experience(
        round=1,
        role="proposer",
        about=f"proposal-{text}",
        call="call-1",
        prompt=(Message(role="user", content="Write a new exercise as JSON."),),
        completion=text,
        reward=reward,
        baseline=baseline,
    )


def wrong(text: str) -> Contrast:
    row = made_row("What is 1 + 1?", text)
    about: dict[str, Any] = {"round": 0, "task": row.task, "attempt": f"attempt-{text}"}
    return Contrast(**about, prompt=row.prompt, completion=text, reward=0.0)


def advantages(objective: GroupRelative, rows: list[Any], tokenizer: Any) -> dict[str, float]:
    examples = objective.examples(rows, tokenizer)
    return {
        tokenizer.decode(one.tokens, skip_special_tokens=True).strip(): one.extra[0]
        for example in examples
        for one in example.segments
    }


def test_a_proposals_advantage_is_its_reward_less_its_roles_baseline_and_nothing_divides_it(tokenizer: Any) -> None:
    found = advantages(GroupRelative(FLOAT32), [proposed("one", 1.0), proposed("two", 0.0)], tokenizer)
    assert found == {"one": 0.75, "two": -0.25}


def test_one_proposal_alone_teaches_something_by_its_baseline_but_nothing_by_its_group(tokenizer: Any) -> None:
    assert advantages(GroupRelative(FLOAT32), [proposed("one", 1.0)], tokenizer) == {"one": 0.75}
    assert advantages(GroupRelative(FLOAT32), [proposed("one", 1.0, None)], tokenizer) == {}


def test_the_solvers_group_is_the_same_whatever_the_proposer_earned_beside_it(tokenizer: Any) -> None:
    group = [made_row("What is 1 + 1?", "2"), wrong("3"), wrong("4")]
    alone = advantages(GroupRelative(FLOAT32), group, tokenizer)
    together = advantages(GroupRelative(FLOAT32), [*group, proposed("one", 1.0)], tokenizer)
    assert together == {**alone, "one": 0.75}


def test_a_baseline_that_is_met_teaches_nothing(tokenizer: Any) -> None:
    assert GroupRelative(FLOAT32).examples([proposed("one", 0.25), proposed("two", 0.25)], tokenizer) == []


def test_proposals_with_a_baseline_are_cut_into_steps_as_other_rows_are_and_a_group_stays_whole(tokenizer: Any) -> None:
    settings = FLOAT32.model_copy(update={"batch_rows": 2})
    own = GroupRelative(settings).examples([proposed(f"{n}", n / 8) for n in range(5)], tokenizer)
    assert sorted(len(example.segments) for example in own) == [1, 2, 2]
    [group] = GroupRelative(settings).examples([proposed(f"{n}", n / 8, None) for n in range(5)], tokenizer)
    assert len(group.segments) == 5


def test_what_was_earned_is_part_of_what_makes_an_adapter(tmp_path: Path) -> None:
    about: dict[str, Any] = {"model": tmp_path, "name": "tiny", "out": tmp_path}
    one = TrainSpec(**about, experiences=(proposed("one", 1.0),))
    other = TrainSpec(**about, experiences=(proposed("one", 1.0, baseline=0.5),))
    assert one.digest() != other.digest()
    with pytest.raises(ValueError, match="neither rows nor experiences"):
        TrainSpec(**about)
