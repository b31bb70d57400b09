"""Memory follows from the ledger alone: repeatable, by round and run, and mended when the index is not."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from remembered import learnt, made_attempt, make_task, proposed

from quintet.memory import index as index_module
from quintet.memory.embedder import Embedder
from quintet.memory.entries import Entry, Remembered
from quintet.memory.errors import IndexDamaged, LedgerError
from quintet.memory.index import Index
from quintet.memory.ledger import Ledger, RunLedger
from quintet.memory.memory import Memory
from quintet.memory.queries import Query, cosine
from quintet.memory.settings import MemorySettings
from quintet.memory.workspace import Workspace
from quintet.records import Critique, Lesson, Retirement, Row, Task

Remembering = Callable[..., Memory]

CAT, SUM, PRODUCT = (
    make_task("Which animal says meow?", "animals"),
    make_task("What is 12 + 30?"),
    make_task("What is 12 times 30?", "products"),
)
FAR = MemorySettings(max_distance=2.0)


async def test_the_nearest_comes_first_with_its_distance(run: RunLedger, remembering: Remembering):
    run.add(*proposed(CAT, 0), *proposed(SUM, 0), *proposed(PRODUCT, 0))
    memory = remembering(run, FAR)
    found = await memory.recall("What is 12 + 30?", Task, before=1)
    assert [task for task, _ in found] == [SUM, PRODUCT, CAT]
    assert found[0][1] == 0.0
    assert 0 < found[1][1] < found[2][1] <= 2
    vectors = memory.index.embedder.embed([SUM.question, PRODUCT.question]).astype(np.float64)
    assert found[1][1] == pytest.approx(1 - vectors[0] @ vectors[1], abs=1e-6)
    assert len(await memory.recall("What is 12 + 30?", Task, before=1, count=1)) == 1


async def test_only_earlier_rounds_come_back(run: RunLedger, remembering: Remembering):
    run.add(*proposed(SUM, 1), *learnt(SUM, 1), *proposed(PRODUCT, 2), *learnt(PRODUCT, 2, "Multiply by ten first."))
    memory = remembering(run, FAR)
    for kind in (Task, Lesson, Row):
        assert await memory.recall("12", kind, before=1) == []
        assert len(await memory.recall("12", kind, before=2)) == 1
        assert len(await memory.recall("12", kind, before=3)) == 2
    assert await memory.novelty([SUM.question], Task, before=1) == [1.0]
    assert await memory.novelty([SUM.question], Task, before=2) == [0.0]


async def test_lessons_come_by_their_text_and_rows_by_their_question(run: RunLedger, remembering: Remembering):
    lesson, row = learnt(SUM, 0, "Carry the one.")
    run.add(*proposed(SUM, 0), lesson, row, *proposed(CAT, 0), *learnt(CAT, 0, "Think of pets."))
    memory = remembering(run, FAR)
    assert (await memory.recall("carry one", Lesson, before=1))[0][0] == lesson
    assert (await memory.recall(SUM.question, Row, before=1))[0] == (row, 0.0)


async def test_family_distance_and_excluded_tasks(run: RunLedger, remembering: Remembering):
    run.add(*proposed(CAT, 0), *proposed(SUM, 0), *proposed(PRODUCT, 0))
    memory = remembering(run, FAR)
    assert [t for t, _ in await memory.recall("What is 12 + 30?", Task, before=1, family="animals")] == [CAT]
    found = await memory.recall("What is 12 + 30?", Task, before=1, count=1, exclude=[SUM.id])
    assert [t for t, _ in found] == [PRODUCT]
    near = remembering(run, MemorySettings(max_distance=0.5))
    assert CAT not in [t for t, _ in await near.recall("What is 12 + 30?", Task, before=1)]


async def test_levels_rounds_and_adapters(run: RunLedger, remembering: Remembering):
    tasks = [make_task(f"What is {n} + {n}?", level=n % 3) for n in range(12)]
    for n, task in enumerate(tasks):
        adapter = ("base", "adapter-1")[n % 2]
        attempt = made_attempt(task, n, adapter)
        run.add(*proposed(task, n), attempt, *learnt(task, n, f"Lesson {n}", attempt.id))
    memory = remembering(run, FAR)

    async def rounds(kind: type[Row | Lesson], **filters: Any) -> list[int]:
        found = await memory.recall("What is 2 + 2?", kind, count=50, **{"before": 99, **filters})
        return sorted(record.round for record, _ in found)

    for kind in (Row, Lesson):
        assert await rounds(kind) == list(range(12))
        assert await rounds(kind, levels=[1]) == [1, 4, 7, 10]
        assert await rounds(kind, levels=[0, 2]) == [0, 2, 3, 5, 6, 8, 9, 11]
        assert await rounds(kind, since=4, before=7) == [4, 5, 6]
        assert await rounds(kind, adapter="adapter-1") == [1, 3, 5, 7, 9, 11]
        assert await rounds(kind, adapter="base", levels=[0], since=1) == [6]
        assert await rounds(kind, adapter="adapter-2") == []
    assert await memory.recall("What", Task, before=99, adapter="base") == []
    assert {task.level for task, _ in await memory.recall("What", Task, before=99, levels=[2], count=9)} == {2}


async def test_what_is_retired_is_not_recalled_and_still_no_novelty(run: RunLedger, remembering: Remembering):
    lesson, row = learnt(SUM, 0)
    run.add(*proposed(SUM, 0), *proposed(PRODUCT, 0), lesson, row)
    memory = remembering(run, FAR)
    assert await memory.retire([lesson.id, SUM.id], "misleading") == [lesson.id, SUM.id]
    for one in (memory, remembering(run, FAR)):
        assert await one.recall("carry", Lesson, before=1) == []
        assert [task for task, _ in await one.recall(SUM.question, Task, before=1)] == [PRODUCT]
        assert await one.recall(SUM.question, Row, before=1) == [(row, 0.0)]
        assert await one.novelty([SUM.question], before=1) == [0.0]
    assert run.get(lesson.id) == lesson
    assert await memory.rebuild() == 4
    assert await memory.recall("carry", Lesson, before=1) == []
    assert await memory.restore([lesson.id], "it was right") == [lesson.id]
    assert [found for found, _ in await memory.recall("carry", Lesson, before=1)] == [lesson]


async def test_each_retirement_is_an_event_and_doing_it_twice_is_none(run: RunLedger, remembering: Remembering):
    lesson, _ = learnt(SUM, 0)
    run.add(*proposed(SUM, 0), lesson)
    memory = remembering(run, FAR)
    for _ in range(2):
        assert await memory.retire([lesson.id, lesson.id], "why") == [lesson.id]
        assert await memory.retire([lesson.id], "why") == []
        assert await memory.restore([lesson.id], "why") == [lesson.id]
        assert await memory.restore([lesson.id], "why") == []
    events = run.find(Retirement)
    assert [(event.number, event.retired) for event in events] == [(1, True), (2, False), (3, True), (4, False)]
    assert len({event.id for event in events}) == 4
    assert run.children(lesson.id) == [event.id for event in events]


async def test_rounds_before_a_retirement_recall_as_they_did(run: RunLedger, remembering: Remembering):
    lesson, _ = learnt(SUM, 1)
    run.add(*proposed(SUM, 1), lesson)
    memory = remembering(run, FAR)
    await memory.retire([lesson.id], "rolled back", round=3)
    assert len(await memory.recall("carry", Lesson, before=3)) == 1
    assert await memory.recall("carry", Lesson, before=4) == []


async def test_a_retirement_by_another_process_takes_effect_at_once(run: RunLedger, remembering: Remembering):
    lesson, _ = learnt(SUM, 0)
    run.add(*proposed(SUM, 0), lesson)
    memory = remembering(run, FAR)
    assert len(await memory.recall("carry", Lesson, before=1)) == 1
    Remembered(run).retire([lesson.id], "by hand")
    assert await memory.recall("carry", Lesson, before=1) == []


async def test_what_cannot_be_retired(run: RunLedger, remembering: Remembering):
    item, refused, lesson = make_task("What is 1 + 1?", split="final"), proposed(CAT, 0, accepted=False), learnt(SUM, 0)
    run.add(item, *refused, *proposed(SUM, 0), lesson[0])
    memory = remembering(run, FAR)
    for id, line in (
        (item.id, "is an evaluation item"),
        (CAT.id, "is no memory"),
        (refused[1].id, "is no memory"),
        ("task-0", "holds no record"),
    ):
        with pytest.raises(LedgerError, match=line):
            await memory.retire([lesson[0].id, id], "why")
    assert run.find(Retirement) == []


async def test_a_memory_is_found_however_many_nearer_ones_are_retired(run: RunLedger, remembering: Remembering):
    rows = [learnt(SUM, 0, f"answer {n}")[1] for n in range(300)]
    run.add(*proposed(SUM, 0), *rows, *proposed(CAT, 0), *learnt(CAT, 0))
    memory = remembering(run, FAR)
    await memory.retire([row.id for row in rows], "all of them")
    assert [row.task for row, _ in await memory.recall(SUM.question, Row, before=1)] == [CAT.id]


async def test_a_lesson_repeated_over_and_over_hides_no_other(run: RunLedger, remembering: Remembering):
    """Chroma's graph leads nowhere from a crowd of equal vectors; see `CROWD`."""
    texts = [f"Lesson: first compute {n} times {n + 2}." for n in range(12)]
    tasks = [make_task(f"What is {n} + {n}?", level=n % 2) for n in range(112)]
    for n, task in enumerate(tasks):
        text = texts[n // 8] if n % 8 == 0 and n < 96 else "Check your arithmetic."
        run.add(*proposed(task, n % 3), learnt(task, n % 3, text, f"attempt-{n}")[0])
    for memory in (remembering(run, FAR), remembering(run, FAR)):
        assert await memory.sync() in (224, 0)
        found = await memory.recall_many(texts, Lesson, before=9, count=1)
        assert [lesson.text for some in found for lesson, _ in some] == texts
        assert await memory.novelty(texts, Lesson, before=9) == [0.0] * 12
    crowd = await memory.recall("Check your arithmetic.", Lesson, before=2, since=1, levels=[1], count=10)
    assert {(lesson.text, lesson.round, distance) for lesson, distance in crowd} == {("Check your arithmetic.", 1, 0.0)}
    assert [lesson.id for lesson, _ in crowd] == sorted(lesson.id for lesson, _ in crowd)
    barred = [lesson.task for lesson, _ in crowd]
    others = await memory.recall(
        "Check your arithmetic.", Lesson, before=2, since=1, levels=[1], count=10, exclude=barred
    )
    assert not set(barred) & {lesson.task for lesson, _ in others}
    run.add(learnt(tasks[0], 0, "Think of pets.", "attempt-new")[0])
    assert (await memory.recall("animals", Lesson, before=9, count=1))[0][0].text == "Think of pets."


def test_what_a_rollback_retires(run: RunLedger):
    made: dict[str, list[str]] = {}
    for n, (adapter, correct) in enumerate([("base", True), ("adapter-1", True), ("adapter-1", False)]):
        task = make_task(f"What is {n} + {n}?")
        attempt = made_attempt(task, n, adapter)
        lesson, row = learnt(task, 0, f"Lesson {n}", attempt.id)
        judged = Critique(
            round=0, task=task.id, attempt=attempt.id, score=1.0, correct=correct, strict=True, verdict="accept"
        )
        run.add(*proposed(task, 0), attempt, judged, lesson, row)
        made.setdefault(adapter, []).extend([lesson.id] if correct else [lesson.id, row.id])
    remembered = Remembered(run)
    assert sorted(remembered.made_under(["adapter-1"])) == sorted(made["adapter-1"])
    assert remembered.made_under(["base"]) == made["base"]
    assert remembered.made_under(["adapter-9"]) == []


async def test_two_runs_do_not_see_each_other(ledger: Ledger, run: RunLedger, remembering: Remembering):
    second = ledger.begin("second", 0, {})
    run.add(*proposed(SUM, 0), *learnt(SUM, 0))
    second.add(*proposed(SUM, 0), *proposed(CAT, 0))
    one, two = remembering(run, FAR), remembering(second, FAR)
    assert await one.sync() == 3
    assert await two.sync() == 2
    assert [t for t, _ in await one.recall("animal", Task, before=1)] == [SUM]
    assert {t.id for t, _ in await two.recall("animal", Task, before=1)} == {SUM.id, CAT.id}
    assert await two.recall("carry", Lesson, before=1) == []
    assert await one.novelty([CAT.question], Task, before=1) > [0.5]
    assert await one.sync() == 0


async def test_evaluation_items_count_for_novelty_and_are_never_recalled(run: RunLedger, remembering: Remembering):
    items = [
        make_task(f"What is 7 + {n}?", split=split) for n, split in enumerate(("steer", "gate", "retention", "final"))
    ]
    run.add(*items)
    memory = remembering(run, FAR)
    assert await memory.novelty([item.question for item in items], Task, before=0) == [0.0] * 4
    assert await memory.recall("What is 7 + 1?", Task, before=100) == []


async def test_a_refused_task_is_no_memory_until_it_is_accepted(run: RunLedger, remembering: Remembering):
    run.add(*proposed(SUM, 0, accepted=False))
    memory = remembering(run, FAR)
    await memory.remember(SUM)
    assert await memory.novelty([SUM.question], Task, before=5) == [1.0]
    run.add(*proposed(SUM, 3))
    assert await memory.novelty([SUM.question], Task, before=3) == [1.0]
    assert await memory.novelty([SUM.question], Task, before=4) == [0.0]


async def test_what_is_not_in_the_ledger_cannot_be_remembered(run: RunLedger, remembering: Remembering):
    with pytest.raises(LedgerError, match=f"{SUM.id} is not in the ledger of run 'first'"):
        await remembering(run).remember(SUM)
    run.add(learnt(SUM, 0)[0])
    with pytest.raises(LedgerError, match=f"is about {SUM.id}, which is not in the ledger"):
        await remembering(run).sync()


async def test_recall_catches_up_with_the_ledger_by_itself(run: RunLedger, remembering: Remembering):
    memory = remembering(run, FAR)
    assert await memory.recall("12", Task, before=9) == []
    for number in range(3):
        run.add(*proposed(make_task(f"What is {number} + 1?"), number))
        assert len(await memory.recall("1", Task, before=9)) == number + 1


async def test_many_queries_give_what_each_gives_alone(run: RunLedger, remembering: Remembering):
    rng = random.Random(0)
    tasks = [
        make_task(f"What is {rng.randint(1, 99)} {sign} {rng.randint(1, 99)}?", family)
        for family, sign in (("sums", "+"), ("products", "times"))
        for _ in range(60)
    ]
    for task in tasks:
        run.add(*proposed(task, rng.randint(0, 3)), *learnt(task, rng.randint(0, 3), f"Lesson of {task.question}"))
    memory = remembering(run)
    asked = [f"What is {n} + {n + 3}?" for n in range(10)] * 2
    families = ["sums", "products", None, "unknown"] * 5
    excludes = [[task.id for task in rng.sample(tasks, 5)] for _ in asked]
    many = await memory.recall_many(asked, Row, before=3, families=families, count=4, excludes=excludes)
    for query, family, exclude, found in zip(asked, families, excludes, many, strict=True):
        alone = await memory.recall(query, Row, before=3, family=family, count=4, exclude=exclude)
        assert alone == found
        assert (len(found) == 4) == (family != "unknown")
        assert not {row.task for row, _ in found} & set(exclude)
    assert await memory.recall_many([], Row, before=3) == []


async def test_ties_are_broken_by_id_however_many(run: RunLedger, remembering: Remembering):
    task = make_task("What is 12 + 30?")
    rows = [learnt(task, 0, f"answer {n}")[1] for n in range(150)]
    run.add(*proposed(task, 0), *rows, *proposed(CAT, 0), *learnt(CAT, 0))
    found = await remembering(run, FAR).recall(task.question, Row, before=1, count=5)
    assert [row.id for row, _ in found] == sorted(row.id for row in rows)[:5]
    assert {distance for _, distance in found} == {0.0}
    excluded = await remembering(run, FAR).recall(task.question, Row, before=1, count=1, exclude=[task.id])
    assert [row.task for row, _ in excluded] == [CAT.id]


async def recalled(memory: Memory) -> list[tuple[str, float]]:
    found = await memory.recall_many([SUM.question, "animals"], Task, before=9, count=4)
    return [(task.id, distance) for some in found for task, distance in some]


async def filled(run: RunLedger, remembering: Remembering) -> list[tuple[str, float]]:
    run.add(*(record for n in range(60) for record in proposed(make_task(f"What is {n} + {n * n}?"), n % 4)))
    memory = remembering(run, FAR)
    before = await recalled(memory)
    assert len(before) == 8
    memory.close()
    return before


def emptied(folder: Path):
    shutil.rmtree(folder)


def overwritten(folder: Path):
    for file in folder.rglob("*"):
        if file.is_file():
            file.write_bytes(b"rubbish" * 100)


def database_damaged(folder: Path):
    (folder / "chroma.sqlite3").write_bytes(b"rubbish" * 1000)


def graph_lost(folder: Path):
    for segment in folder.iterdir():
        if segment.is_dir():
            shutil.rmtree(segment)


def database_lost(folder: Path):
    (folder / "chroma.sqlite3").unlink()


def database_truncated(folder: Path):
    file = folder / "chroma.sqlite3"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def a_file_in_its_place(folder: Path):
    shutil.rmtree(folder)
    folder.write_text("not a folder")


DAMAGES = [emptied, overwritten, database_damaged, graph_lost, database_lost, database_truncated, a_file_in_its_place]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_index_is_made_anew(
    damage: Callable[[Path], None], run: RunLedger, workspace: Workspace, remembering: Remembering
):
    before = await filled(run, remembering)
    damage(workspace.chroma)
    memory = remembering(run, FAR)
    assert await recalled(memory) == before
    assert await memory.sync() == 0


async def test_an_index_that_is_behind_or_ahead_is_mended(
    run: RunLedger, workspace: Workspace, remembering: Remembering
):
    before = await filled(run, remembering)
    index = remembering(run).index
    ids = sorted(index.ids("first")["task"])
    index.remove("first", {"task": ids[:7]})
    stray = Entry(
        id="task-stray", text=SUM.question, kind="task", family="sums", level=0, round=0, task="t", split="train"
    )
    index.add("first", [stray])
    index.close()
    memory = remembering(run, FAR)
    assert await memory.sync() == 7
    assert await recalled(memory) == before


async def test_a_deleted_index_under_a_living_run_is_noticed(
    run: RunLedger, workspace: Workspace, remembering: Remembering
):
    before = await filled(run, remembering)
    memory = remembering(run, FAR)
    await memory.sync()
    shutil.rmtree(workspace.chroma)
    run.add(*proposed(CAT, 8))
    await memory.remember(CAT)
    assert await memory.rebuild() == 61
    assert [found for found in await recalled(memory) if found[0] != CAT.id][:4] == before[:4]


async def test_an_index_deleted_while_it_is_open_is_made_anew_at_the_next_recall(
    run: RunLedger, workspace: Workspace, remembering: Remembering
):
    before = await filled(run, remembering)
    memory = remembering(run, FAR)
    assert await recalled(memory) == before
    shutil.rmtree(workspace.chroma)
    assert await recalled(memory) == before
    assert (workspace.chroma / "chroma.sqlite3").exists()
    memory.close()
    assert await remembering(run, FAR).sync() == 0


def halved(file: Path):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def zeroed(file: Path):
    file.write_bytes(bytes(file.stat().st_size))


@pytest.mark.parametrize("damage", [halved, zeroed, Path.unlink])
async def test_damaged_graph_files_are_noticed(
    damage: Callable[[Path], None], run: RunLedger, workspace: Workspace, remembering: Remembering
):
    """Chroma writes graph files once a collection has a thousand entries."""
    rng = np.random.default_rng(0)
    known = rng.normal(size=(2500, 384)).astype(np.float32)
    known /= np.linalg.norm(known, axis=1, keepdims=True)

    class Beforehand:
        fingerprint = "beforehand"

        def embed(self, texts: Sequence[str]):
            return known[[int(text.split()[2]) for text in texts]]

    run.add(*(record for n in range(2500) for record in proposed(make_task(f"What is {n} + 1?"), n % 4)))

    async def found() -> list[tuple[str, float]]:
        memory = Memory(run, Index(workspace.chroma, embedder=Beforehand()), FAR)
        some = await memory.recall_many(["What is 7", "What is 1800", "What is 2499"], Task, before=9, count=20)
        memory.close()
        return [(task.id, distance) for one in some for task, distance in one]

    before = await found()
    assert len(before) == 60
    files = [file for file in workspace.chroma.rglob("*.bin") if file.stat().st_size]
    assert files
    for file in files:
        damage(file)
        assert await found() == before


async def test_an_index_of_another_version_is_made_anew(
    run: RunLedger, remembering: Remembering, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        patch.setattr(index_module, "VERSION", "1")
        before = await filled(run, remembering)
    memory = remembering(run, FAR)
    assert await memory.sync() == 60
    assert await recalled(memory) == before


async def test_rebuilding_changes_no_recall(run: RunLedger, remembering: Remembering):
    before = await filled(run, remembering)
    memory = remembering(run, FAR)
    assert await memory.rebuild() == 60
    assert await recalled(memory) == before


async def test_another_embedder_starts_the_index_anew(run: RunLedger, remembering: Remembering, tmp_path: Path):
    before = await filled(run, remembering)
    memory = remembering(run, FAR)
    other = Embedder()
    other.__dict__["fingerprint"] = "another model"
    other.__dict__["_model"] = memory.index.embedder._model
    memory.index.embedder = other
    assert await memory.sync() == 60
    assert await recalled(memory) == before


async def test_a_full_disk_is_not_mistaken_for_damage(
    run: RunLedger, remembering: Remembering, monkeypatch: pytest.MonkeyPatch
):
    run.add(*proposed(SUM, 0))
    memory = remembering(run)

    def full():
        raise RuntimeError("database or disk is full")

    monkeypatch.setattr(memory.index, "_opened", full)
    with pytest.raises(LedgerError, match="disk is full") as raised:
        await memory.sync()
    assert raised.value.fault
    assert not isinstance(raised.value, IndexDamaged)


async def test_a_kill_9_while_indexing_is_mended(
    ledger: Ledger, run: RunLedger, workspace: Workspace, remembering: Remembering
):
    run.add(*(record for n in range(120) for record in proposed(make_task(f"What is {n} + {n * n}?"), n % 4)))
    script = """
import asyncio, sys
from quintet.memory import index
index.PAGE = 10
from quintet.memory.memory import Memory
from quintet.memory.workspace import Workspace
import os, signal
place = Workspace(sys.argv[1])
opened = index.Index(place.chroma)
add, pages = index.Index._made, [0]
def counted(self, *about):
    pages[0] += 1
    if pages[0] == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return add(self, *about)
index.Index._made = counted
asyncio.run(Memory(place.ledger().run(), opened).sync())
"""
    assert subprocess.run([sys.executable, "-c", script, str(workspace.path)], check=False).returncode == -9
    memory = remembering(run, FAR)
    assert await memory.sync() == 120 - 40
    assert len(await memory.recall("What is 5 + 25?", Task, before=9, count=50)) == 50


def test_distances_do_not_depend_on_their_company():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(200, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    together = cosine(vectors[0], vectors)
    assert together.tolist() == [cosine(vectors[0], vectors[n : n + 1])[0] for n in range(200)]
    assert together[0] == 0.0


@pytest.mark.slow
def test_approximate_candidates_hold_the_exact_neighbours(tmp_path: Path, embedder: Embedder):
    """Five thousand near-identical template questions, filtered by run and round: hard for a graph search."""
    rng = random.Random(1)
    entries = []
    for n in range(5000):
        family, sign = rng.choice([("sums", "+"), ("products", "times"), ("differences", "minus")])
        entries.append(
            Entry(
                id=f"task-{n:05}",
                text=f"What is {rng.randint(1, 999)} {sign} {rng.randint(1, 999)}?",
                kind="task",
                family=family,
                level=0,
                round=n % 10,
                task=f"task-{n:05}",
                split="train",
            )
        )
    index = Index(tmp_path / "chroma")
    index.embedder = embedder
    index.add("a", entries[:4000])
    index.add("b", entries[4000:])
    asked = [entry.text for entry in rng.sample(entries, 60)]
    found = index.query(asked, Query(run="a", pools=("task",), before=7, count=5, family="sums"))
    seen = [entry for entry in entries[:4000] if entry.round < 7 and entry.family == "sums"]
    vectors = embedder.embed([entry.text for entry in seen])
    missed = 0
    for text, hits in zip(asked, found, strict=True):
        distances = cosine(embedder.embed([text])[0], vectors)
        exact = sorted(zip(distances, (entry.id for entry in seen), strict=True))[:5]
        missed += len({id for _, id in exact} - {hit.id for hit in hits})
    index.close()
    assert missed == 0
