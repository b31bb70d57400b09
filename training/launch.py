"""Starts a training's processes: `python -m quintet.training.launch SPEC.json` is `accelerate launch` of the worker.

It is a process of its own between Quintet and the workers: it dies with Quintet, and they die with it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from quintet.training.errors import TrainError
from quintet.training.parent import die_with_parent
from quintet.training.settings import LaunchSettings
from quintet.training.spec import TrainSpec

WORKER = "quintet.training.worker"

PLAIN = {
    "compute_environment": "LOCAL_MACHINE",
    # What accelerate calls several processes, with or without GPUs: its word for CPUs alone starts one, unless by MPI.
    "distributed_type": "MULTI_GPU",
    "num_machines": 1,
    "mixed_precision": "no",
    "use_cpu": False,
    "debug": False,
}
"""The config of processes that each hold the whole model; written out, so that none that the user has is taken."""


def main() -> None:
    """Launch the workers, and end as they do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", type=Path, help="a TrainSpec as JSON")
    parser.add_argument("--parent", type=int, required=True, help="id of the process to die with")
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    settings = TrainSpec.model_validate_json(arguments.spec.read_bytes()).settings.launch
    # Standard output is the workers': whatever the launcher says of itself goes elsewhere.
    lines, sys.stdout = sys.stdout, sys.stderr
    try:
        options = launch_options(settings, arguments.spec.parent)
    except TrainError as error:
        print(json.dumps({"failed": str(error)}), file=lines, flush=True)
        sys.exit(1)

    from accelerate.commands.launch import launch_command, launch_command_parser

    if sys.platform == "linux":
        # All are on this machine, and gloo would take the interface that the machine's name leads to, if any.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    worker = ["--module", WORKER, str(arguments.spec), "--parent", str(os.getpid())]
    launch_command(launch_command_parser().parse_args([*options, *worker]))


def launch_options(settings: LaunchSettings, folder: Path) -> list[str]:
    """Options of `accelerate launch`.

    Args:
        settings: What is to be launched.
        folder: Where a config may be written.

    Raises:
        TrainError: The config is none that Quintet can train by.
    """
    config = Path(settings.config) if settings.config else folder / "accelerate.json"
    if settings.config:
        check(config)
    else:
        config.write_text(json.dumps({**PLAIN, "num_processes": settings.processes}))
    # Any free port: two trainings may run on one machine.
    options = ["--config_file", str(config), "--main_process_port", "0"]
    return options + (["--num_processes", str(settings.processes)] if settings.processes else [])


def check(config: Path) -> None:
    """See whether a config of accelerate is one that Quintet can train by.

    Raises:
        TrainError: It is not, or there is none.
    """
    from accelerate.commands.config.config_args import load_config_from_file

    where = f"training.launch.config = {str(config)!r}"
    try:
        found: Any = load_config_from_file(str(config))
    except FileNotFoundError:
        raise TrainError(f"{where}: there is no such file") from None
    except Exception as error:
        # The parser's own, and accelerate's about unknown keys.
        raise TrainError(f"{where} is no config of accelerate: {' '.join(str(error).split())}") from None
    if (found.num_machines or 1) > 1:
        raise TrainError(
            f"{where}: num_machines is {found.num_machines}, but Quintet trains on one machine: set it to 1"
        )
    sharding = getattr(found, "fsdp_config", None) or {}
    version = int(sharding.get("fsdp_version", 1)) if sharding else 2
    if version != 2:
        raise TrainError(
            f"{where}: fsdp_version is {version}, which cannot mix the adapter's float32 with other types: set it to 2"
        )
    stage = (getattr(found, "deepspeed_config", None) or {}).get("zero_stage", 0)
    if stage > 2:
        raise TrainError(f"{where}: zero_stage is {stage}, which takes frozen weights apart too: set it to 2 or less")


if __name__ == "__main__":
    main()
