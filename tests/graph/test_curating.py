"""A run whose data set is filtered: what was left out is on record, and is found once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from parity import Parity
from tiny import tiny_settings

from quintet import Loop
from quintet.cli import main
from quintet.graph.curating import Place, curated
from quintet.graph.errors import LoopError
from quintet.graph.quality import AnswerQuality
from quintet.graph.settings import Settings
from quintet.memory.workspace import Workspace
from quintet.records import Curation, Task
from quintet.tasks.curation.curate import Curation as Curating
from quintet.tasks.families import load_families


@pytest.fixture
def stalls(tmp_path: Path) -> Path:
    """Short questions, one of them twice, long ones that hold questions of the parity family, and a line cut off."""
    path = tmp_path / "stalls.jsonl"
    rows = [{"question": f"Which number follows {n}?", "answer": n + 1} for n in range(300)]
    rows += [rows[0], *({"question": f"My friend, say something about {n}.", "answer": n} for n in range(1000))]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"question": "cut off')
    return path


def config(model: Path, stalls: Path, **filters: Any) -> Settings:
    shares = {"train": 0.4, "steer": 0.1, "gate": 0.3, "retention": 0.0, "final": 0.2}
    chosen = {"bad_rows": "skip", "longest_question": 30, **filters}
    return tiny_settings(
        model,
        rounds=1,
        proposer={"families": ["stalls"], "tasks": 3, "invented": 0},
        tasks={"shares": shares, "datasets": {"stalls": {"path": str(stalls), "check": "number", "filters": chosen}}},
        evaluation={"families": {"stalls": [0]}, "gate_items": 9, "final_items": 12},
    )


def test_a_run_keeps_what_was_left_out_and_does_it_once(
    tiny_model_folder: Path, stalls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "workspace"
    loop = Loop(config(tiny_model_folder, stalls), workspace=place)
    said = [event["text"] for event in loop.stream() if "text" in event]
    left = "1,000 question too long, 1 not JSON, 1 duplicate"
    assert f"data set stalls: 1,302 rows read, 300 kept; left out: {left}" in said
    with Workspace(place).ledger() as ledgers:
        ledger = ledgers.run(loop.run_name)
        [record] = ledger.find(Curation)
        tasks = ledger.find(Task)
    assert (record.round, record.read, record.kept) == (0, 1302, 300)
    assert record.rejected == {"question too long": 1000, "not JSON": 1, "duplicate": 1}
    assert set(record.examples) == set(record.rejected)
    assert len((place / record.file).read_text().splitlines()) == 1002
    assert tasks
    assert all(task.question.startswith("Which number follows") for task in tasks)
    monkeypatch.setattr(Curating, "into", lambda *_: pytest.fail("done again"))
    resumed = Loop.resume(loop.run_name, place)
    assert list(resumed.stream(rounds=2))
    monkeypatch.undo()
    with Workspace(place).ledger() as ledgers:
        assert ledgers.run(loop.run_name).find(Curation) == [record]
    stalls.write_text(stalls.read_text().replace("follows 7?", "follows 9999?"))
    with pytest.raises(LoopError, match="data set stalls has changed since run"):
        list(Loop.resume(loop.run_name, place).stream(rounds=3))


@pytest.mark.slow
def test_the_same_data_and_filters_give_the_same_record_in_any_workspace(
    tiny_model_folder: Path, stalls: Path, tmp_path: Path
) -> None:
    records = []
    for name in ("one", "other"):
        loop = Loop(config(tiny_model_folder, stalls), workspace=tmp_path / name)
        loop.run()
        with Workspace(tmp_path / name).ledger() as ledgers:
            ledger = ledgers.run(loop.run_name)
            records.append([record.id for kind in (Curation, Task) for record in ledger.find(kind)])
    assert records[0] == records[1]


async def test_items_of_other_families_are_left_out(tiny_model_folder: Path, stalls: Path, tmp_path: Path) -> None:
    settings = config(tiny_model_folder, stalls, longest_question=None, contamination=8)
    evaluation = {"families": {"stalls": (0,), "parity": (0,)}, "gate_items": 800}
    settings = settings.model_copy(update={"evaluation": settings.evaluation.model_copy(update=evaluation)})
    known = load_families([Parity()])
    found = await curated(settings, known, ["stalls", "parity"], Place(tmp_path, rounds=1))
    done = found["stalls"].curated
    assert done.items == sum(settings.evaluation.cells(suite)[("parity", 0)] for suite in ("steer", "gate", "final"))
    lines = (found["stalls"].folder / "rejected.jsonl").read_text().splitlines()
    assert 0 < done.rejected["evaluation item"] < 1000
    for line in map(json.loads, lines):
        if line["reason"] == "evaluation item":
            assert line["text"].removeprefix("My friend, ").casefold() == line["detail"].replace(" .", ".")


def test_the_model_scores_answers_by_their_own_tokens(tiny_model_folder: Path) -> None:
    scorer = AnswerQuality(tiny_settings(tiny_model_folder).model)
    pairs = [("What is 3 + 4?", "7"), ("What is 3 + 4?", "a longer answer"), ("What?", "x " * 600)]
    found = scorer.score(pairs)
    assert all(score < 0 for score in found)
    assert found[2] == float("-inf"), "too long for the model"
    assert scorer.score(pairs) == found


# --- the command -------------------------------------------------------------------------------------------

CONFIG = """
[tasks.datasets.stalls]
path = "{path}"
check = "number"
filters = {{ bad_rows = "skip", longest_question = 30 }}

[proposer]
families = ["stalls"]
"""


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(main, list(arguments))


def test_the_command_says_what_is_left_out_and_a_run_finds_it_done(stalls: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(CONFIG.format(path=stalls))
    given = ("curate", str(tmp_path / "c.toml"), "--workspace", str(tmp_path / "w"))
    told = invoke(*given)
    assert told.exit_code == 0, told.output
    assert "stalls: 1,302 rows read, 300 kept (23.0%)" in told.output
    assert "question too long" in told.output
    assert "rejected.jsonl" in told.stderr
    [found] = json.loads(invoke(*given, "stalls", "--json").stdout)
    assert (found["kept"], found["rejected"]["duplicate"]) == (300, 1)
    assert Path(found["file"]).parent.parent == tmp_path / "w" / "curation"
    assert len(list((tmp_path / "w" / "curation").iterdir())) == 1


@pytest.mark.parametrize(
    ("config", "name", "said"),
    [
        (CONFIG, "stals", "no data set 'stals' with filters: there are stalls"),
        ('[proposer]\nfamilies = ["gcd"]\n', "", "no data set has filters: name some under"),
        (CONFIG.replace("longest", "longst"), "", "unknown setting tasks.datasets.stalls.filters.longst_question"),
    ],
)
def test_what_cannot_be_curated_is_one_line(stalls: Path, tmp_path: Path, config: str, name: str, said: str) -> None:
    (tmp_path / "c.toml").write_text(config.format(path=stalls) if "{path}" in config else config)
    told = invoke("curate", str(tmp_path / "c.toml"), *filter(None, [name]), "--workspace", str(tmp_path / "w"))
    assert told.exit_code == 2
    assert said in told.stderr
    assert len(told.stderr.splitlines()) == 1
