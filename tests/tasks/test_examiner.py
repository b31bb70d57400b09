from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
from hostile import Hostile, Unpicklable, Unreadable  # type: ignore[import-not-found]

from quintet.records import Task
from quintet.tasks.errors import LevelError, LevelTooNarrow, TaskError, Ungrounded
from quintet.tasks.examiner import Examiner, load_families
from quintet.tasks.settings import TaskSettings


def task(family: str = "hostile") -> Task:
    return Task(family=family, level=0, question="?", canonical="?", truth={"answer": "yes"})


async def test_one_bad_text_costs_only_itself(hostile: Examiner) -> None:
    orders = ["yes", "hang", "yes", "exit", "raise", "print", "recurse", "spin", "no", "yes"]
    started = time.monotonic()
    found = await hostile.judge(task(), [f"Answer: {order}" for order in orders])
    assert time.monotonic() - started < 30
    by_order = dict(zip(orders, found, strict=True))
    assert [judgement.correct for judgement in found] == [order == "yes" for order in orders]
    assert by_order["hang"].error == by_order["spin"].error == "verifier took longer than 1 s"
    assert by_order["exit"].error == "verifier ended its process (exit code 3)"
    assert by_order["raise"].error == "RuntimeError: as told"
    assert by_order["recurse"].error is not None
    assert by_order["recurse"].error.startswith("RecursionError")
    assert by_order["print"].error is None
    assert by_order["no"].error is None


async def test_a_score_outside_its_range_is_an_error(hostile: Examiner) -> None:
    found = await hostile.judge(task("overflowing"), ["Answer: 7", "Answer: nan", "Answer: 0.5", "Answer: 1"])
    assert [judgement.score for judgement in found] == [0, 0, 0.5, 1]
    assert [judgement.error is None for judgement in found] == [False, False, True, True]


async def test_generators_that_hang_or_raise_are_level_errors(hostile: Examiner) -> None:
    assert len(await hostile.draw("hostile", 0, 1, 5, "train")) == 5
    with pytest.raises(LevelError, match=r"hostile level 1: its generator took longer than 1 s"):
        await hostile.draw("hostile", 1, 1, 5, "train")
    with pytest.raises(LevelError, match="no such level today"):
        await hostile.draw("hostile", 2, 1, 5, "train")
    with pytest.raises(LevelError, match="levels 0 to 2, not 3"):
        await hostile.draw("hostile", 3, 1, 5, "train")
    assert len(await hostile.draw("hostile", 0, 1, 5, "train")) == 5


@pytest.mark.parametrize(
    ("order", "reason"), [("hang", "executor timed out"), ("exit", "executor failed"), ("raise", "executor failed")]
)
async def test_executors_that_fail_ground_nothing(hostile: Examiner, order: str, reason: str) -> None:
    with pytest.raises(Ungrounded) as refused:
        await hostile.ground("hostile", f'{{"what": "{order}"}}')
    assert refused.value.reason == reason


async def test_texts_are_read_from_their_end_up_to_a_limit(examiner: Examiner) -> None:
    drawn = (await examiner.draw("products", 2, 0, 1, "train"))[0]
    right = f"Answer: {drawn.truth['answer']}"
    long, empty = await examiner.judge(drawn, ["9 " * 500_000 + "\n" + right, ""])
    assert long.correct
    assert long.strict
    assert (empty.answer, empty.correct, empty.error) == (None, False, None)


async def test_unknown_families_name_the_nearest(examiner: Examiner) -> None:
    with pytest.raises(TaskError, match="did you mean 'chain_sum'"):
        await examiner.draw("chainsum", 0, 0, 1, "train")
    with pytest.raises(Ungrounded, match="did you mean 'chain_sum'") as refused:
        await examiner.ground("chainsum", "{}")
    assert refused.value.reason == "unknown family"


async def test_a_level_that_is_too_narrow_says_what_it_holds_and_soon(examiner: Examiner) -> None:
    started = time.monotonic()
    with pytest.raises(LevelTooNarrow) as narrow:
        await examiner.draw("products", 0, 0, 500, "train")
    assert time.monotonic() - started < 5
    # 55 products of two digits; the split owns about two in five.
    found = narrow.value.found
    assert 10 < found < 35
    everything = await examiner.draw("products", 0, 0, found, "train")
    assert len({drawn.canonical for drawn in everything}) == found
    taken = {drawn.canonical for drawn in everything[:5]}
    with pytest.raises(LevelTooNarrow) as left:
        await examiner.draw("products", 0, 0, found, "train", exclude=taken)
    assert left.value.found == found - 5


async def test_the_same_draw_is_the_same_in_another_process(examiner: Examiner) -> None:
    wanted = [("chain_sum", 2), ("gcd", 1), ("family_relationships", 0), ("knights_knaves", 0), ("time_intervals", 1)]

    async def draw(with_: Examiner) -> list[list[Task]]:
        return [await with_.draw(family, level, 5, 8, "train") for family, level in wanted]

    first = await draw(examiner)
    with Examiner(list(load_families().values())) as other:
        assert await draw(other) == first
    assert [drawn.id for drawn in first[0]] != [
        drawn.id for drawn in await examiner.draw("chain_sum", 2, 6, 8, "train")
    ]


async def test_a_longer_draw_begins_with_the_shorter_one(examiner: Examiner) -> None:
    short = await examiner.draw("products", 2, 3, 5, "gate")
    long = await examiner.draw("products", 2, 3, 20, "gate")
    assert long[:5] == short
    excluded = await examiner.draw("products", 2, 3, 15, "gate", exclude={drawn.canonical for drawn in short})
    assert excluded == long[5:]


async def test_closing_ends_the_worker_even_while_it_hangs() -> None:
    examiner = Examiner([Hostile()], TaskSettings(verify_seconds=500))
    await examiner.judge(task(), ["yes"])
    pid = examiner._worker.pid
    assert pid is not None
    judging = asyncio.create_task(examiner.judge(task(), ["Answer: hang"]))
    await asyncio.sleep(0.3)
    examiner.close()
    with pytest.raises(TaskError, match="closed"):
        await judging
    assert not psutil.pid_exists(pid)
    with pytest.raises(TaskError, match="closed"):
        await examiner.judge(task(), ["yes"])
    examiner.close()


async def test_a_family_that_cannot_travel_is_one_clear_error() -> None:
    said = "'unpicklable' cannot be sent to the worker process"
    with Examiner([Unpicklable()]) as examiner, pytest.raises(TaskError, match=said):
        await examiner.judge(task("unpicklable"), ["yes"])


def test_two_families_of_one_name_are_refused() -> None:
    with pytest.raises(TaskError, match="two task families are named 'hostile'"):
        Examiner([Hostile(), Hostile()])

    class Products(Hostile):  # type: ignore[misc]
        name = "products"

    with pytest.raises(TaskError, match=r"'products' comes from reasoning-gym and from .*Products"):
        load_families([Products()])


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(textwrap.dedent(code))
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": paths},
        check=False,
    )


FAMILY = """
    import asyncio
    from quintet.records import Task
    from quintet.tasks.examiner import Examiner
    from quintet.tasks.family import Draft, TaskFamily

    class Echo(TaskFamily):
        name = "echo"
        def draw(self, level, seed):
            yield Draft(question="say a", canonical="a", truth={"answer": "a"})
        def score(self, truth, answer):
            return float(answer == truth["answer"])

    def main():
        task = Task(family="echo", level=0, question="say a", canonical="a", truth={"answer": "a"})
        with Examiner([Echo()]) as examiner:
            print(asyncio.run(examiner.judge(task, ["Answer: a"]))[0].correct)
"""


def test_a_script_can_define_a_family(tmp_path: Path) -> None:
    done = run(FAMILY + "\n    if __name__ == '__main__':\n        main()\n", tmp_path)
    assert done.stdout == "True\n", done.stderr


def test_a_script_that_starts_on_import_and_defines_a_family_is_told_what_to_do(tmp_path: Path) -> None:
    done = run(FAMILY + "\n    main()\n", tmp_path)
    assert done.returncode == 1
    assert "TaskError" in done.stderr
    assert "module of its own" in done.stderr or "__main__" in done.stderr


def test_a_script_without_a_main_guard_works_with_the_built_in_families(tmp_path: Path) -> None:
    code = """
    import asyncio
    from quintet.tasks.examiner import Examiner, load_families
    with Examiner([load_families()["chain_sum"]]) as examiner:
        print(len(asyncio.run(examiner.draw("chain_sum", 2, 0, 5, "train"))))
        print(len(asyncio.run(examiner.draw("chain_sum", 2, 0, 6, "train"))))
    """
    done = run(code, tmp_path)
    assert done.stdout == "5\n6\n", done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_a_hanging_worker_dies_with_a_killed_parent(tmp_path: Path) -> None:
    code = """
    import asyncio, os, threading, time
    from hostile import Hostile
    from quintet.records import Task
    from quintet.tasks.examiner import Examiner
    from quintet.tasks.settings import TaskSettings
    examiner = Examiner([Hostile()], TaskSettings(verify_seconds=500))
    task = Task(family="hostile", level=0, question="", canonical="", truth={"answer": "yes"})
    asyncio.run(examiner.judge(task, ["yes"]))
    print(examiner._worker.pid, flush=True)
    threading.Thread(target=lambda: asyncio.run(examiner.judge(task, ["Answer: spin"])), daemon=True).start()
    time.sleep(0.5)
    os.kill(os.getpid(), 9)
    """
    done = run(code, tmp_path)
    pid = int(done.stdout)
    for _ in range(50):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.1)
    psutil.Process(pid).kill()
    pytest.fail("the worker outlived its parent")


def test_the_worker_imports_no_heavy_library() -> None:
    heavy = {"torch", "numpy", "reasoning_gym"}
    code = f"import sys, quintet.tasks.worker, quintet.tasks.examiner; print({heavy} & set(sys.modules))"
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.stdout == "set()\n"


async def test_reading_an_answer_has_a_time_limit_too() -> None:
    with Examiner([Unreadable()], TaskSettings(verify_seconds=0.5)) as examiner:
        found = await examiner.read("unreadable", ["Answer: 4", "hang", "raise", "Answer: 5"])
    assert [one.lenient for one in found] == ["4", None, None, "5"]
