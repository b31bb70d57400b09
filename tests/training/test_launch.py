"""Several processes train the same adapter as one, and none outlives what started it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from made_rows import made_rows
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import AutoTokenizer

from quintet.records import Contrast
from quintet.training import ranks
from quintet.training.errors import TrainError
from quintet.training.fit import plan
from quintet.training.launch import launch_options
from quintet.training.registry import WEIGHTS, checkpoints_of, read_adapter
from quintet.training.settings import LaunchSettings, TrainingSettings
from quintet.training.sft import RejectionSampling
from quintet.training.spec import TrainProgress, TrainResult, TrainSpec
from quintet.training.train import ENVIRONMENT, train

Make = Callable[..., TrainSpec]

ROOT = Path(__file__).parents[2]
TWO = LaunchSettings(processes=2)


def batches_of(spec: TrainSpec) -> list[int]:
    """Batches of each step."""
    objective = RejectionSampling(spec.settings)
    examples = objective.examples(spec.rows, AutoTokenizer.from_pretrained(spec.model))
    return [len(objective.collate(step)) for step in plan(examples, spec.settings, spec.seed)]


async def losses_of(spec: TrainSpec) -> tuple[list[float], TrainResult]:
    told: list[TrainProgress] = []
    result = await train(spec, told.append)
    return [progress.loss for progress in told], result


def same_weights(one: TrainResult, other: TrainResult) -> None:
    a, b = (load_file(result.folder / WEIGHTS) for result in (one, other))
    assert a.keys() == b.keys()
    for name in a:
        assert (a[name] - b[name]).abs().max() < 1e-5, name


@pytest.mark.slow
async def test_two_processes_learn_what_one_learns(make_spec: Make, tmp_path: Path, caplog: Any) -> None:
    recipe: dict[str, Any] = {"rows": made_rows(13), "epochs": 2, "dtype": "float32", "batch_tokens": 128}
    alone, one = await losses_of(spec := make_spec(**recipe))
    # The second process has a batch less than the first, and now and then none.
    assert set(batches_of(spec)) == {1, 3}
    with caplog.at_level(logging.INFO):
        together, two = await losses_of(make_spec(**recipe, launch=TWO, out=tmp_path / "adapters" / "adapter-2"))
    assert "processes: 2" in caplog.text
    assert len(alone) > 4
    assert together == pytest.approx(alone, rel=1e-5)
    same_weights(one, two)
    assert two.metrics == pytest.approx(one.metrics, rel=1e-5)
    assert two.probe.logprobs == pytest.approx(one.probe.logprobs, abs=1e-4)


@pytest.mark.slow
async def test_so_they_do_from_right_and_wrong_attempts(make_spec: Make, tmp_path: Path) -> None:
    rows = made_rows(8)
    # What an objective asks of the model before it is trained is shared out too.
    wrong = tuple(
        Contrast(round=0, task=row.task, attempt="attempt-1", prompt=row.prompt, completion="Answer: 1", reward=0.0)
        for row in {row.prompt: row for row in rows}.values()
    )
    recipe: dict[str, Any] = {"rows": rows, "contrasts": wrong, "objective": "dpo", "dtype": "float32"}
    alone, one = await losses_of(make_spec(**recipe))
    together, two = await losses_of(make_spec(**recipe, launch=TWO, out=tmp_path / "adapters" / "adapter-2"))
    assert together == pytest.approx(alone, rel=1e-5)
    assert two.metrics == pytest.approx(one.metrics, rel=1e-4, abs=1e-6)
    same_weights(one, two)


@pytest.mark.slow
async def test_the_weights_may_lie_in_pieces(make_spec: Make, tmp_path: Path) -> None:
    recipe: dict[str, Any] = {"rows": made_rows(8), "batch_tokens": 128, "gradient_checkpointing": True}
    one = await train(make_spec(**recipe))
    spec = make_spec(**recipe, out=tmp_path / "adapters" / "adapter-2")
    file = tmp_path / "spec.json"
    file.write_text(spec.model_dump_json())
    options = launch_options(LaunchSettings(processes=2, config=str(ROOT / "examples/cluster/fsdp.yaml")), tmp_path)
    # The example is for another model.
    options += ["--fsdp_transformer_layer_cls_to_wrap", "LlamaDecoderLayer"]
    script = [str(Path(__file__).with_name("sharded.py")), str(file)]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", *options, *script]
    environment = os.environ | ENVIRONMENT | {"GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(launcher, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = read_adapter(spec.out)
    assert found.metrics == pytest.approx(one.metrics, rel=1e-4)
    assert found.probe.logprobs == pytest.approx(one.probe.logprobs, abs=1e-3)
    a, b = (load_file(folder / WEIGHTS) for folder in (one.folder, spec.out))
    for name in a:
        assert (a[name] - b[name]).abs().max() < 1e-3, name


@pytest.mark.slow
async def test_killed_together_they_go_on_to_the_same_weights(make_spec: Make, tmp_path: Path) -> None:
    recipe: dict[str, Any] = {"rows": made_rows(24), "epochs": 2, "dropout": 0.1, "checkpoint_seconds": 1e-9}
    whole = await train(make_spec(**recipe, launch=TWO, out=tmp_path / "whole"))
    spec = make_spec(**recipe, launch=TWO)
    made: list[int] = []

    def tell(progress: TrainProgress) -> None:
        made.append(progress.step)
        if progress.step == 5:
            workers()[1].kill()

    with pytest.raises(TrainError, match="SIGKILL"):
        await train(spec, tell)
    assert not workers()
    after: list[TrainProgress] = []
    result = await train(spec, after.append)
    assert 1 < after[0].step <= made[-1] + 1
    assert result.weights == whole.weights
    assert result.metrics == whole.metrics
    assert not checkpoints_of(spec.out).exists()


@pytest.mark.slow
async def test_a_loss_that_is_no_number_fails_in_one_line(make_spec: Make) -> None:
    rows = tuple(row.with_(weight=float("1e38")) for row in made_rows(10))
    with pytest.raises(TrainError, match="the loss is inf at step 1") as caught:
        await train(make_spec(rows=rows, launch=TWO))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
async def test_cancelled_all_are_killed(make_spec: Make) -> None:
    told: list[TrainProgress] = []
    task = asyncio.create_task(train(make_spec(epochs=10_000, launch=TWO), told.append))
    async with asyncio.timeout(120):
        while not told:
            await asyncio.sleep(0.05)
    found = workers()
    assert len(found) == 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # What is left is for the system to reap.
    _, alive = psutil.wait_procs(found, timeout=2)
    assert not alive


@pytest.mark.slow
async def test_all_die_with_what_started_them(make_spec: Make, tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text(make_spec(epochs=10_000, launch=TWO).model_dump_json())
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from quintet.training.spec import TrainSpec; from quintet.training.train import train\n"
        "spec = TrainSpec.model_validate_json(Path(sys.argv[1]).read_bytes())\n"
        "asyncio.run(train(spec, lambda progress: print(progress.step, flush=True)))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    parent.stdout.readline()
    found = workers(parent.pid)
    assert len(found) == 2
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    _, alive = psutil.wait_procs(found, timeout=10)
    assert not alive


def workers(pid: int | None = None) -> list[psutil.Process]:
    """Processes that train, below this one or another."""
    below = psutil.Process(pid).children(recursive=True)
    return [one for one in below if "quintet.training.worker" in one.cmdline()[:6] and "--parent" in one.cmdline()]


def config(folder: Path, text: str) -> LaunchSettings:
    (folder / "config.yaml").write_text("compute_environment: LOCAL_MACHINE\nmixed_precision: 'no'\n" + text)
    return LaunchSettings(config=str(folder / "config.yaml"))


def test_the_launcher_reads_no_config_but_the_one_that_is_named(tmp_path: Path) -> None:
    options = launch_options(TWO, tmp_path)
    written = json.loads(Path(options[options.index("--config_file") + 1]).read_text())
    assert written["num_processes"] == 2
    own = config(tmp_path, "distributed_type: MULTI_GPU\nnum_machines: 1\nnum_processes: 4\n")
    options = launch_options(own, tmp_path)
    assert options[options.index("--config_file") + 1] == own.config
    assert "--num_processes" not in options
    assert launch_options(own.model_copy(update={"processes": 3}), tmp_path)[-2:] == ["--num_processes", "3"]


@pytest.mark.parametrize("file", sorted((ROOT / "examples" / "cluster").glob("*.yaml")), ids=lambda file: file.name)
def test_the_examples_are_configs_that_quintet_takes(file: Path, tmp_path: Path) -> None:
    launch_options(LaunchSettings(config=str(file)), tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("distributed_type: MULTI_GPU\nnum_machines: 2\nnum_processes: 16\n", "num_machines is 2"),
        ("distributed_type: FSDP\nnum_processes: 8\nfsdp_config:\n  fsdp_version: 1\n", "fsdp_version is 1"),
        ("distributed_type: DEEPSPEED\nnum_processes: 8\ndeepspeed_config:\n  zero_stage: 3\n", "zero_stage is 3"),
        ("distributed_typ: FSDP\n", "distributed_typ"),
        ("distributed_type: [\n", "no config of accelerate"),
    ],
)
def test_a_config_that_cannot_be_trained_by_says_why(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=said) as caught:
        launch_options(config(tmp_path, text), tmp_path)
    assert "\n" not in str(caught.value)


async def test_a_config_that_is_not_there_fails_in_one_line(make_spec: Make, tmp_path: Path) -> None:
    missing = LaunchSettings(config=str(tmp_path / "missing.yaml"))
    with pytest.raises(TrainError, match=r"missing\.yaml.*no such file"):
        await train(make_spec(launch=missing))


def test_each_process_needs_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(TrainError, match="4 processes, and 2 GPUs"):
        ranks.join(TrainingSettings())


def test_recipes_without_a_launcher_are_what_they_were() -> None:
    plain = TrainingSettings().recipe()
    assert not {"launch", "quantize", "gradient_checkpointing"} & plain.keys()
    elsewhere = [TrainingSettings(launch=LaunchSettings(config=f"{place}/fsdp.yaml")).recipe() for place in "ab"]
    assert elsewhere[0] == elsewhere[1] != plain
    with pytest.raises(ValidationError):
        LaunchSettings(processes=-1)
