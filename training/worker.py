"""The training process: `python -m quintet.training.worker SPEC.json` makes one adapter folder and ends.

It tells its progress as JSON lines on standard output, one object a line with one key: `log`, `progress`, `done` or
`failed`. Whatever libraries print goes to standard error. Of several processes (see `launch`) the first one tells and
writes; any may fail.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import to_json

from quintet.models.errors import ModelError
from quintet.models.prompts import load_tokenizer, render, stop_tokens
from quintet.plugins import PluginError
from quintet.records import Learnable
from quintet.training.errors import TrainError
from quintet.training.parent import die_with_parent
from quintet.training.registry import checkpoints_of, read_adapter
from quintet.training.spec import Manifest, Probe, TrainProgress, TrainResult, TrainSpec

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedTokenizerBase

    from quintet.training.objective import Example, Objective

Tell = Callable[[str, Any], None]

LACKS = {
    "right": "none of them is right",
    "contrasts": "it needs right and wrong completions of one prompt",
    "groups": "it needs completions of one prompt that differ in their reward",
}
"""What rows may lack, by what an objective learns from."""


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
        device = _join(spec, tell)
        made = make(spec, lambda progress: tell("progress", progress), begun, device)
        if made is not None:
            tell("done", made)
    except (TrainError, ModelError, PluginError, OSError, MemoryError, ValidationError) as error:
        tell("failed", " ".join(str(error).split()) or type(error).__name__)
        return 1
    return 0


def _join(spec: TrainSpec, tell: Tell) -> torch.device:
    from quintet.training import attention, ranks

    device = ranks.join(spec.settings)
    if ranks.rank() == 0:
        how = f"{spec.settings.dtype} on {device.type}" + (" in 4 bits" if spec.settings.quantize == "4bit" else "")
        kernel = attention.kernel(device, spec.settings.dtype)
        tell("log", f"training in {how}, processes: {ranks.world()}, attention: {kernel}")
    return device


def make(
    spec: TrainSpec, tell: Callable[[TrainProgress], None], begun: float, device: str | torch.device = "cpu"
) -> TrainResult | None:
    """Train, write the adapter folder aside, and put it in its place; of several processes, the first one does.

    Args:
        spec: What to make.
        tell: Called after each step, in the first process alone.
        begun: Monotonic time at which the process began, in seconds.
        device: Where to train.

    Returns:
        The adapter; nothing in any process but the first.

    Raises:
        TrainError: It cannot be made.
        PluginError: There is no such objective.
        OSError: It cannot be written.
    """
    import torch

    from quintet.training import lora, ranks
    from quintet.training.checkpoints import Checkpoints
    from quintet.training.fit import fit, plan
    from quintet.training.likelihood import token_logprobs
    from quintet.training.objective import load_objective
    from quintet.training.putting import put
    from quintet.training.trial import try_out

    if spec.start is not None and (found := read_adapter(spec.start).weights) != spec.start_weights:
        raise TrainError(f"{spec.start} has weights {found[:12]}…, the spec says {spec.start_weights[:12]}…")
    objective = load_objective(spec.settings)
    tokenizer: PreTrainedTokenizerBase = load_tokenizer(spec.model, spec.name, spec.chat_template)
    torch.manual_seed(spec.seed)
    model: PeftModel = lora.load(spec.model, spec.start, spec.settings)
    if spec.settings.quantize == "none":
        model.to(device)
    base: Any = model.get_base_model()
    objective.stops = stop_tokens(tokenizer, base.generation_config)
    examples, rows = _examples(spec, objective, tokenizer)
    probe = render(tokenizer, spec.probe, reply=False)
    _fits(model, examples)
    try_out(model, probe)
    model.eval()
    before = token_logprobs(model, probe)
    steps = plan(objective.prepare(model, examples), spec.settings, spec.seed)
    tokens = sum(example.tokens for step in steps for example in step)
    fitting = time.monotonic()
    held = Checkpoints(checkpoints_of(spec.out), spec.digest())
    first = ranks.rank() == 0
    losses = fit(model, objective, steps, spec.settings, spec.seed, held, tell if first else lambda progress: None)
    fitted = time.monotonic()
    weights, apart = lora.trained(model), lora.is_apart(model) or spec.settings.quantize != "none"
    ranks.leave()
    if not first:
        return None
    if apart:
        # What serves the adapter holds the base whole: there it is proved.
        model = lora.load(spec.model, spec.start, spec.settings.model_copy(update={"quantize": "none"}))
        model.eval()
        before = token_logprobs(model, probe)
        model.load_state_dict(weights, strict=False)
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
            "left_out": len(spec.rows) + len(spec.contrasts) + len(spec.experiences) - rows,
            "tokens": tokens,
            "steps": len(steps),
            **objective.tally.means(),
        },
        probe=Probe(tokens=tuple(probe), logprobs=tuple(after), start_logprobs=tuple(before)),
    )
    manifest = put(model, manifest, spec.out, spec.name)
    held.clear()
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


def _examples(spec: TrainSpec, objective: Objective, tokenizer: PreTrainedTokenizerBase) -> tuple[list[Example], int]:
    """What is learnt from, and the number of rows that are short enough.

    Raises:
        TrainError: There is nothing.
    """
    from quintet.training.tokens import by_prompt

    learnt: list[Learnable] = [*spec.rows, *spec.contrasts, *spec.experiences]
    examples = objective.examples(learnt, tokenizer)
    within = by_prompt(learnt, tokenizer, spec.settings.max_row_tokens, objective.stops)
    rows = sum(len(example.segments) for example in within)
    if not rows:
        raise TrainError(f"none of {len(learnt)} rows is within {spec.settings.max_row_tokens} tokens")
    if not examples:
        raise TrainError(f"{objective.name} finds nothing to learn in {rows} rows: {LACKS[objective.learns_from]}")
    return examples, rows


def peak_memory() -> float:
    """Peak resident memory of this process, in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        # `ru_maxrss` would count what the parent held when it forked.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


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
