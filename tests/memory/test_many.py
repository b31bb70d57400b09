"""A hundred thousand memories: indexed, compared with the ledger and recalled in bounded time, and recalled exactly."""

from __future__ import annotations

import random
import re
import resource
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from remembered import make_call, make_task, proposed

from quintet.memory.entries import Entry, Remembered
from quintet.memory.index import Index
from quintet.memory.ledger import RunLedger
from quintet.memory.memory import Memory
from quintet.memory.queries import cosine
from quintet.memory.settings import MemorySettings
from quintet.memory.workspace import Workspace
from quintet.records import BASE, Attempt, Lesson, Message, Record, Row, Task

THIRD = 33_334
"""Tasks, each with a lesson and a row about it."""

ROUNDS, FAMILIES, LEVELS = 20, 40, 4
ADAPTERS = [BASE, "adapter-1", "adapter-2"]


class Numbered:
    """Vectors computed beforehand, in clusters as templates' lie; a text's last number says which is its own."""

    fingerprint = "numbered"

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(60, 384))
        vectors = centres[rng.integers(0, 60, count)] + 0.4 * rng.normal(size=(count, 384))
        self.vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.vectors[[int(re.findall(r"\d+", text)[-1]) for text in texts]]


def learnt_of(n: int) -> list[Record]:
    task = make_task(f"What is question {2 * n}?", f"family-{n % FAMILIES}", level=n // FAMILIES % LEVELS)
    about: dict[str, Any] = {"round": n * ROUNDS // THIRD, "task": task.id}
    call = make_call(f"call {n}")
    attempt = Attempt(
        **about,
        call=call.id,
        sample=0,
        turn=0,
        adapter=ADAPTERS[n % len(ADAPTERS)],
        text="x",
        answer="1",
        strict_answer="1",
    )
    made = {**about, "attempt": attempt.id}
    lesson = Lesson(**made, critique="critique-1", text=f"Lesson {2 * n + 1}")
    row = Row(
        **made, selection="selection-1", prompt=(Message(role="user", content=task.question),), completion=f"It is {n}."
    )
    return [*proposed(task, about["round"]), attempt, lesson, row]


def exact(entries: list[Entry], vectors: Numbered, text: str, count: int) -> list[tuple[str, float]]:
    """What a comparison with every entry finds."""
    all_of_them = vectors.embed([entry.text for entry in entries])
    query = vectors.embed([text])[0]
    near = np.argsort(1 - all_of_them @ query, kind="stable")[: 4 * count + 50]
    distances = cosine(query, all_of_them[near]).tolist()
    found = [(entries[place].id, distance) for place, distance in zip(near, distances, strict=True)]
    return sorted(found, key=lambda one: (one[1], one[0]))[:count]


@pytest.mark.slow
@pytest.mark.timeout(1500)
async def test_a_hundred_thousand_memories(run: RunLedger, workspace: Workspace, capsys: pytest.CaptureFixture[str]):
    for first in range(0, THIRD, 1000):
        run.add(*(record for n in range(first, min(first + 1000, THIRD)) for record in learnt_of(n)))
    vectors = Numbered(2 * THIRD)
    settings = MemorySettings(max_distance=2.0)
    figures: dict[str, float] = {}

    def opened() -> Memory:
        return Memory(run, Index(workspace.chroma, settings, vectors), settings)

    async def timed(name: str, work: Any) -> Any:
        begun = time.monotonic()
        found = await work
        figures[name] = round(time.monotonic() - begun, 4)
        return found

    memory = opened()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert await timed("index all from the ledger, s", memory.sync()) == 3 * THIRD
    memory.close()
    memory = opened()
    assert await timed("sync at opening, nothing missing, s", memory.sync()) == 0

    entries = Remembered(run).take()
    assert len(entries) == 3 * THIRD
    rng = random.Random(0)
    asked = [f"asked {rng.randrange(2 * THIRD)}" for _ in range(20)]
    filters: dict[str, dict[str, Any]] = {
        "none": {},
        "family": {"family": "family-7"},
        "level": {"levels": [1, 2]},
        "rounds": {"since": 5, "before": 12},
        "adapter": {"adapter": "adapter-1"},
        "all": {"family": "family-9", "levels": [0], "since": 2, "before": 19, "adapter": "adapter-2"},
    }
    missed: dict[str, int] = {}
    for kind in (Task, Lesson, Row):
        for name, given in filters.items():
            if kind is Task and "adapter" in given:
                continue
            fitting = [
                entry
                for entry in entries
                if entry.kind == kind.kind
                and given.get("family") in (None, entry.family)
                and given.get("adapter") in (None, entry.adapter)
                and (not given.get("levels") or entry.level in given["levels"])
                and given.get("since", 0) <= entry.round < given.get("before", ROUNDS)
            ]
            took = 0.0
            for text in asked:
                begun = time.monotonic()
                found = await memory.recall(text, kind, count=5, **{"before": ROUNDS, **given})
                took += time.monotonic() - begun
                wanted = exact(fitting, vectors, text, 5)
                missed[f"{kind.kind}, {name}"] = missed.get(f"{kind.kind}, {name}", 0) + len(
                    {id for id, _ in wanted} - {record.id for record, _ in found}
                )
                assert len(found) == len(wanted)
            figures[f"recall of a {kind.kind}, filter {name}, s"] = took / len(asked)
    assert not any(missed.values()), missed

    one = await timed("one recall, s", memory.recall(asked[0], Row, before=ROUNDS, count=3))
    assert len(one) == 3
    await timed("one recall of earlier rounds, s", memory.recall(asked[0], Row, before=15, count=3))
    await timed("one recall of a family, s", memory.recall(asked[0], Row, before=ROUNDS, family="family-3", count=3))
    new = [f"new {n}" for n in range(1000)]
    await timed("novelty of 1000 texts, s", memory.novelty(new, Task, before=ROUNDS))
    half = [entry.id for entry in entries if entry.kind == "lesson"][::2]
    assert len(await timed("retire 16,667 lessons, s", memory.retire(half, "a test"))) == len(half)
    left = await timed("recall after that, s", memory.recall(asked[0], Lesson, before=ROUNDS, count=5))
    assert not {record.id for record, _ in left} & set(half)
    assert len(left) == 5
    memory.close()
    figures["memory gained, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    with capsys.disabled():
        print("\n" + "\n".join(f"{name}: {value:.4g}" for name, value in figures.items()))
    # Several times what two slow cores need.
    assert figures["index all from the ledger, s"] < 900
    assert figures["sync at opening, nothing missing, s"] < 60
    assert figures["one recall, s"] < 1
    assert figures["novelty of 1000 texts, s"] < 60
