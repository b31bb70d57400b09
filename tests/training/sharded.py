"""A training whose processes pretend to have GPUs, since accelerate has FSDP on those alone: `sharded.py SPEC.json`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import DistributedType

from quintet.training import lora, ranks
from quintet.training.spec import TrainSpec
from quintet.training.worker import make


def main() -> None:
    spec = TrainSpec.model_validate_json(Path(sys.argv[1]).read_bytes())
    device = ranks.join(spec.settings)
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    pretended: Any = lambda self, *args, **options: ("gloo", DistributedType.MULTI_GPU)  # noqa: E731
    PartialState._prepare_backend = pretended
    is_apart, seen = lora.is_apart, []

    def watched(model: Any) -> bool:
        seen.append(is_apart(model))
        return seen[-1]

    lora.is_apart = watched
    make(spec, lambda progress: None, time.monotonic(), device)
    if ranks.rank() == 0 and seen != [True]:
        sys.exit("the weights were not in pieces")


if __name__ == "__main__":
    main()
