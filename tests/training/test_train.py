"""Training runs in a process of its own: whole adapters, the same every time, and nothing left behind."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from made_rows import made_rows

from quintet.training.errors import TrainError
from quintet.training.registry import Registry
from quintet.training.settings import TrainingSettings
from quintet.training.spec import TrainProgress, TrainSpec
from quintet.training.train import train

Make = Callable[..., TrainSpec]


def leftovers(spec: TrainSpec) -> list[str]:
    """All there is beside and at the place of the adapter."""
    return sorted(path.name for path in spec.out.parent.iterdir())


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


async def test_rows_become_an_adapter_that_likes_them_better(make_spec: Make) -> None:
    told: list[TrainProgress] = []
    spec = make_spec(rows=made_rows(16), epochs=4, learning_rate=2e-2)
    result = await train(spec, told.append)

    assert [progress.step for progress in told] == list(range(1, told[0].steps + 1))
    assert told[-1].seconds_left == 0
    assert result.metrics["rows"] == len(spec.rows)
    assert result.metrics["last_loss"] < result.metrics["first_loss"] - 0.1
    assert leftovers(spec) == [spec.out.name]
    assert Registry(spec.out.parent).check(spec.out.name) == result.weights

    config = json.loads((spec.out / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"
    assert len(result.probe.tokens) == len(result.probe.logprobs) + 1 == len(result.probe.start_logprobs) + 1
    assert result.probe.logprobs != result.probe.start_logprobs


@pytest.mark.slow
async def test_a_finished_adapter_is_not_made_again_and_a_damaged_one_is(make_spec: Make) -> None:
    spec = make_spec()
    made = await train(spec)
    written = (spec.out / "manifest.json").stat().st_mtime_ns
    again = await train(spec)
    assert again.reused
    assert (spec.out / "manifest.json").stat().st_mtime_ns == written
    assert (again.weights, again.metrics, again.probe) == (made.weights, made.metrics, made.probe)

    with pytest.raises(TrainError, match="made otherwise"):
        await train(spec.model_copy(update={"seed": 1}))

    (spec.out / "adapter_model.safetensors").write_bytes(b"damaged")
    repaired = await train(spec)
    assert not repaired.reused
    assert repaired.weights == made.weights


@pytest.mark.slow
async def test_the_same_spec_gives_the_same_folder_bit_for_bit(make_spec: Make, tmp_path: Path) -> None:
    spec = make_spec(threads=2, dropout=0.1)
    other = spec.model_copy(update={"out": tmp_path / "elsewhere" / "adapter-9", "rows": spec.rows[::-1]})
    await train(spec)
    await train(other)
    for file in spec.out.iterdir():
        assert file.read_bytes() == (other.out / file.name).read_bytes(), file.name
    reseeded = await train(spec.model_copy(update={"out": tmp_path / "elsewhere" / "adapter-8", "seed": 1}))
    assert reseeded.weights != Registry(spec.out.parent).check(spec.out.name)


@pytest.mark.slow
async def test_training_goes_on_from_the_incumbent(make_spec: Make, tmp_path: Path) -> None:
    first = await train(make_spec())
    spec = make_spec(start=first.folder, rows=made_rows(4, seed=9), out=tmp_path / "adapters" / "adapter-2")
    second = await train(spec)
    assert second.probe.start_logprobs == pytest.approx(first.probe.logprobs, abs=1e-6)
    assert second.weights != first.weights

    with pytest.raises(TrainError, match="rank 4"):
        await train(make_spec(rank=8, start=first.folder, out=tmp_path / "adapters" / "adapter-3"))

    (first.folder / "adapter_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(TrainError, match="is damaged"):
        await train(spec.model_copy(update={"out": tmp_path / "adapters" / "adapter-4"}))
    assert leftovers(spec) == ["adapter-1", "adapter-2"]


async def test_a_loss_that_is_no_number_fails_in_one_line_and_leaves_nothing(make_spec: Make) -> None:
    rows = tuple(row.with_(weight=float("1e38")) for row in made_rows(10))
    spec = make_spec(rows=rows)
    with pytest.raises(TrainError, match="the loss is inf at step 1") as caught:
        await train(spec)
    assert "\n" not in str(caught.value)
    assert leftovers(spec) == []


async def test_a_model_that_is_none_fails_with_its_path(make_spec: Make, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="nowhere"):
        await train(make_spec(model=tmp_path / "nowhere"))


async def test_an_objective_that_is_none_fails_in_one_line(make_spec: Make) -> None:
    with pytest.raises(TrainError, match="objective 'stf' is unknown: did you mean 'sft'") as caught:
        await train(make_spec(objective="stf"))
    assert "\n" not in str(caught.value)


async def test_out_of_time_the_process_is_killed(make_spec: Make) -> None:
    spec = make_spec(max_seconds=1.0, epochs=10_000)
    begun = time.monotonic()
    with pytest.raises(TrainError, match="max_seconds = 1"):
        await train(spec)
    assert time.monotonic() - begun < 10
    assert children() == []
    assert leftovers(spec) == []


@pytest.mark.slow
async def test_cancelled_the_process_is_killed(make_spec: Make) -> None:
    spec = make_spec(epochs=10_000)
    told: list[TrainProgress] = []
    task = asyncio.create_task(train(spec, told.append))
    await until(lambda: told)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children() == []
    assert leftovers(spec) == []


@pytest.mark.slow
async def test_killed_the_process_is_reported(make_spec: Make) -> None:
    spec = make_spec(epochs=10_000)
    told: list[TrainProgress] = []
    task = asyncio.create_task(train(spec, told.append))
    await until(lambda: told)
    children()[0].kill()
    with pytest.raises(TrainError, match="SIGKILL"):
        await task
    assert leftovers(spec) == []


@pytest.mark.slow
async def test_the_process_dies_with_its_parent(make_spec: Make, tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text(make_spec(epochs=10_000).model_dump_json())
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from quintet.training.spec import TrainSpec; from quintet.training.train import train\n"
        "spec = TrainSpec.model_validate_json(Path(sys.argv[1]).read_bytes())\n"
        "asyncio.run(train(spec, lambda progress: print(progress.step, flush=True)))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    parent.stdout.readline()
    (worker,) = psutil.Process(parent.pid).children()
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    worker.wait(timeout=10)


async def test_a_full_disk_leaves_nothing_half_written(make_spec: Make) -> None:
    spec = make_spec(rank=32)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (32_768, hard))
    try:
        with pytest.raises(TrainError, match="cannot be written"):
            await train(spec)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert leftovers(spec) == []


@pytest.mark.slow
async def test_the_real_model_learns_forty_rows(tmp_path: Path) -> None:
    from quintet.models.catalogue import locate

    files = locate("smollm2-135m")
    result = await train(
        TrainSpec(
            model=files.path,
            name=files.name,
            revision=files.revision,
            rows=made_rows(20)[:40],
            settings=TrainingSettings(epochs=3),
            out=tmp_path / "adapter-1",
        )
    )
    assert result.metrics["last_loss"] < 0.5 * result.metrics["first_loss"]
    apart = [abs(a - b) for a, b in zip(result.probe.logprobs, result.probe.start_logprobs, strict=True)]
    assert sum(apart) / len(apart) > 0.05, "a server could not tell the adapter from its start"
    assert result.peak_rss_mb < 1800
