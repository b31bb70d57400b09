"""The training process: `python -m quintet.training.worker SPEC.json` makes one adapter folder and ends.

It tells its progress as JSON lines on standard output, one object a line with one key: `progress`, `done` or
`failed`. Whatever libraries print goes to standard error.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import to_json

from quintet.models.catalogue import sha256
from quintet.models.errors import ModelError
from quintet.models.prompts import load_tokenizer, render, stop_tokens
from quintet.plugins import PluginError
from quintet.training.errors import TrainError
from quintet.training.parent import die_with_parent
from quintet.training.registry import MANIFEST, WEIGHTS, aside_of, read_adapter
from quintet.training.spec import Manifest, Probe, TrainProgress, TrainResult, TrainSpec

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

    from quintet.training.objective import Example
    from quintet.training.settings import TrainingSettings

Tell = Callable[[str, Any], None]


def main() -> int:
    """Make the adapter that the spec file describes; the process's exit status."""
    begun = time.monotonic()
    tell = _private_output()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", type=Path, help="a TrainSpec as JSON")
    parser.add_argument("--parent", type=int, help="id of the process to die with")
    arguments = parser.parse_args()
    if arguments.parent is not None:
        die_with_parent(arguments.parent)
    try:
        spec = TrainSpec.model_validate_json(arguments.spec.read_bytes())
        tell("done", make(spec, lambda progress: tell("progress", progress), begun))
    except (TrainError, ModelError, PluginError, OSError, MemoryError, ValidationError) as error:
        tell("failed", " ".join(str(error).split()) or type(error).__name__)
        return 1
    return 0


def make(spec: TrainSpec, tell: Callable[[TrainProgress], None], begun: float) -> TrainResult:
    """Train, write the adapter folder aside, and put it in its place.

    Args:
        spec: What to make.
        tell: Called after each step.
        begun: Monotonic time at which the process began, in seconds.

    Raises:
        TrainError: It cannot be made.
        PluginError: There is no such objective.
        OSError: It cannot be written.
    """
    import torch

    from quintet.training import lora
    from quintet.training.fit import fit, plan
    from quintet.training.likelihood import token_logprobs
    from quintet.training.objective import load_objective
    from quintet.training.trial import try_out

    _use_threads(spec.settings)
    if spec.start is not None and (found := read_adapter(spec.start).weights) != spec.start_weights:
        raise TrainError(f"{spec.start} has weights {found[:12]}…, the spec says {spec.start_weights[:12]}…")
    objective = load_objective(spec.settings)
    tokenizer: PreTrainedTokenizerBase = load_tokenizer(spec.model, spec.name, spec.chat_template)
    torch.manual_seed(spec.seed)
    model: PeftModel = lora.load(spec.model, spec.start, spec.settings)
    base: Any = model.get_base_model()
    objective.stops = stop_tokens(tokenizer, base.generation_config)
    examples = objective.examples(spec.rows, tokenizer)
    rows = sum(len(example.segments) for example in examples)
    if not examples:
        raise TrainError(f"none of {len(spec.rows)} rows is within {spec.settings.max_row_tokens} tokens")
    steps = plan(examples, spec.settings, spec.seed)
    tokens = sum(example.tokens for step in steps for example in step)

    probe = render(tokenizer, spec.probe, reply=False)
    _fits(model, examples)
    try_out(model, probe)
    model.eval()
    before = token_logprobs(model, probe)
    fitting = time.monotonic()
    losses = fit(model, objective, steps, spec.settings, spec.seed, aside_of(spec.out), tell)
    fitted = time.monotonic()
    model.eval()
    after = token_logprobs(model, probe)

    tenth = -(-len(losses) // 10)
    manifest = Manifest(
        spec=spec.digest(),
        weights="",
        metrics={
            "first_loss": sum(losses[:tenth]) / tenth,
            "last_loss": sum(losses[-tenth:]) / tenth,
            "rows": rows,
            "left_out": len(spec.rows) - rows,
            "tokens": tokens,
            "steps": len(steps),
        },
        probe=Probe(tokens=tuple(probe), logprobs=tuple(after), start_logprobs=tuple(before)),
    )
    manifest = _write(model, spec, manifest)
    return TrainResult(
        folder=spec.out,
        weights=manifest.weights,
        metrics=manifest.metrics,
        probe=manifest.probe,
        seconds=time.monotonic() - begun,
        start_seconds=fitting - begun,
        tokens_per_second=tokens / (fitted - fitting),
        peak_rss_mb=peak_memory(),
    )


def peak_memory() -> float:
    """Peak resident memory of this process, in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        # `ru_maxrss` would count what the parent held when it forked.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def _write(model: PeftModel, spec: TrainSpec, manifest: Manifest) -> Manifest:
    """Write the folder aside, then rename it, so that it is there whole or not at all."""
    from quintet.training import lora

    aside = aside_of(spec.out)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        lora.save(model, aside, spec.name)
        manifest = manifest.model_copy(update={"weights": sha256(aside / WEIGHTS)})
        (aside / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
        shutil.rmtree(spec.out, ignore_errors=True)
        os.replace(aside, spec.out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return manifest


def _fits(model: PeftModel, examples: Sequence[Example]) -> None:
    """Learned positions end with the model's context, and their lookup would fail somewhere in the middle.

    Raises:
        TrainError: A row is longer than that.
    """
    base: Any = model.get_base_model()
    limit = getattr(base.config.get_text_config(), "max_position_embeddings", None)
    longest = max(len(example.prompt) + len(segment.tokens) for example in examples for segment in example.segments)
    if limit and longest > limit:
        raise TrainError(
            f"a row has {longest} tokens, the model's context holds {limit}: set training.max_row_tokens = {limit}"
        )


def _use_threads(settings: TrainingSettings) -> None:
    import torch

    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(settings.threads or available)


def _private_output() -> Tell:
    """Keep standard output for our own lines; what others print to it goes to standard error."""
    sys.stdout.flush()
    lines = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def tell(key: str, value: Any) -> None:
        lines.write(to_json({key: value}) + b"\n")

    return tell


if __name__ == "__main__":
    sys.exit(main())
