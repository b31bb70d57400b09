"""Tokens per second of the in-process engine, `transformers.generate` and vLLM on the same prompts, in one run.

`python benchmarks/rollouts.py [--prompts 12] [--samples 8] [--tokens 48] [--repeats 2] [--write]`

vLLM is measured where `--vllm`, an interpreter, has it.
"""

from __future__ import annotations

import os

from quintet.models.threads import THREADS

os.environ.update(THREADS)

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from arms import ROOT, write  # type: ignore[import-not-found]

from quintet.models.catalogue import PACKAGED, locate
from quintet.models.engine import Engine
from quintet.models.requests import Request, Sampling
from quintet.models.serving import Serving, opened
from quintet.models.settings import ModelSettings, VllmSettings
from quintet.records import Message

PAGE = ROOT / "docs" / "benchmarks.md"

_ASK = "End with: Answer: <final answer>"


def questions(count: int) -> list[str]:
    """Prompts of mixed lengths."""
    short = [f"What is {a} * {b}?\n{_ASK}" for a in range(2, 30) for b in (7, 12)]
    long = [
        f"A farmer has {a} cows and buys {a // 2 + 1} more on each day of a week, except on Sunday, when the market is "
        f"closed and he sells one. How many cows are there on the evening of day {a % 7 + 1}?\n{_ASK}"
        for a in range(3, 60)
    ]
    return [(long if place % 3 == 2 else short)[place] for place in range(count)]


def by_serving(engine: Serving, requests: list[Request]) -> int:
    """Sample with one of Quintet's own; returns the tokens made."""
    return sum(len(completion.tokens) for reply in engine.generate(requests) for completion in reply.completions)


def by_transformers(engine: Engine, plain: Any, requests: list[Request], batch: int) -> int:
    """Sample with `generate`, `batch` sequences at once; returns tokens up to each end of turn."""
    tokenizer = engine.tokenizer
    tokenizer.padding_side = "left"
    texts = [
        tokenizer.apply_chat_template(
            [message.model_dump() for message in request.messages], tokenize=False, add_generation_prompt=True
        )
        for request in requests
    ]
    first = requests[0]
    made, group = 0, max(batch // first.n, 1)
    for start in range(0, len(texts), group):
        inputs = tokenizer(texts[start : start + group], return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.inference_mode(), torch.random.fork_rng():
            out = plain.generate(
                **inputs,
                do_sample=True,
                temperature=first.sampling.temperature,
                top_k=first.sampling.top_k,
                max_new_tokens=first.sampling.max_tokens,
                num_return_sequences=first.n,
            )
        for row in out[:, inputs["input_ids"].shape[1] :].tolist():
            made += row.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in row else len(row)
    return made


def measure(run: Callable[[], int], repeats: int) -> float:
    """Tokens per second of the best of some runs."""
    best = 0.0
    for _ in range(repeats):
        began = time.perf_counter()
        made = run()
        best = max(best, made / (time.perf_counter() - began))
    return best


def by_vllm(engine: Engine, python: Path, requests: list[Request], repeats: int) -> float:
    """Tokens per second of a server of vLLM that may load adapters; each repeat asks for other samples of the same."""
    with tempfile.TemporaryDirectory() as folder:
        settings = VllmSettings(python=str(python))
        served = opened(engine.files, ModelSettings(engine="vllm"), settings, 16, Path(folder) / "vllm.log")
        try:
            served.generate(requests[:1])
            return measure(lambda: by_serving(served, requests), repeats)
        finally:
            served.close()


def main() -> None:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)} too")
    parser.add_argument("--vllm", type=Path, default=ROOT / ".venv-vllm" / "bin" / "python")
    for name, default in (("prompts", 12), ("samples", 8), ("tokens", 48), ("repeats", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    settings = ModelSettings(device="cpu")
    engine = Engine(locate(PACKAGED), settings)
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(engine.files.path, dtype=torch.bfloat16)
    requests = [
        Request(
            messages=(Message(role="user", content=text),),
            n=args.samples,
            sampling=Sampling(max_tokens=args.tokens),
            seed=str(place),
        )
        for place, text in enumerate(questions(args.prompts))
    ]

    rows = [("Quintet, in process", measure(lambda: by_serving(engine, requests), args.repeats))]
    for batch in (args.samples, settings.batch):
        speed = measure(partial(by_transformers, engine, plain, requests, batch), args.repeats)
        rows.append((f"transformers `generate`, {batch} at once", speed))
    if args.vllm.exists():
        rows.append(("vLLM's build for CPUs, adapters enabled", by_vllm(engine, args.vllm, requests, args.repeats)))

    def lines() -> Iterator[str]:
        yield (
            f"{args.prompts} prompts of mixed length, {args.samples} samples each, at most {args.tokens} tokens, "
            f"temperature 0.8, top-k 20, bfloat16, {torch.get_num_threads()} threads.\n"
        )
        yield "| sampler | tokens/s | in process is faster by |\n| --- | ---: | ---: |"
        for name, speed in rows:
            yield f"| {name} | {speed:.0f} | {rows[0][1] / speed:.1f}× |"

    print("\n".join(lines()))
    if args.write:
        write(PAGE, "rollouts", lines(), "rollouts")


if __name__ == "__main__":
    main()
