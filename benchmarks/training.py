"""Training throughput of Quintet against a plain padded LoRA loop and, where it is importable, TRL.

    python benchmarks/training.py [--prompts 12] [--repeats 3] [--threads 0] [--write]

All train the same rows of the packaged model, eight a step, with the same LoRA settings and bfloat16 base weights, in
turns in one process, so that a busy machine slows all alike. A row counts its prompt and its completion, however it is
computed. Seconds are the best of the repeats: of the wall, and of all threads of the process.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from arms import ROOT, write  # type: ignore[import-not-found]

from quintet.records import Message, Row
from quintet.training.settings import TrainingSettings
from quintet.training.train import ENVIRONMENT

PAGE = ROOT / "docs" / "benchmarks.md"

Epoch = Callable[[], object]


def make_rows(prompts: int) -> list[Row]:
    """Sums with one to four right answers each, about 45 tokens of prompt and 5 to 50 of completion."""
    source = random.Random(0)
    rows = []
    for _ in range(prompts):
        a, b = source.randint(2, 49), source.randint(2, 49)
        texts = [
            f"{a} + {b} = {a + b}\nAnswer: {a + b}",
            f"To find the sum of {a} and {b}, we add them together:\n{a} + {b} = {a + b}\nAnswer: {a + b}",
            f"Answer: {a + b}",
            f"The sum of {a} and {b} is {a + b}.",
        ]
        prompt = (Message(role="user", content=f"What is {a} + {b}?\nEnd with: Answer: <final answer>"),)
        for text in source.sample(texts, source.randint(1, 4)):
            rows.append(Row(round=0, task="", attempt="", selection="", prompt=prompt, completion=text))
    return rows


def quintet(model: Path, rows: list[Row], settings: TrainingSettings) -> Epoch:
    """One epoch by the worker's own parts."""
    from transformers import AutoTokenizer

    from quintet.training import lora
    from quintet.training.checkpoints import Checkpoints
    from quintet.training.fit import fit, plan
    from quintet.training.sft import RejectionSampling

    objective = RejectionSampling(settings)
    steps = plan(objective.examples(rows, AutoTokenizer.from_pretrained(model)), settings, seed=0)
    adapted = lora.load(model, None, settings)
    scratch = Checkpoints(Path(tempfile.mkdtemp()), "")
    return lambda: fit(adapted, objective, steps, settings, 0, scratch, lambda _: None)


def padded(model: Path, rows: list[Row], settings: TrainingSettings) -> Epoch:
    """One epoch of the loop that anyone would write: PEFT, padded batches, `labels`, AdamW."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from quintet.training.tokens import completion_tokens, render

    tokenizer = AutoTokenizer.from_pretrained(model)
    pairs = [(render(row.prompt, tokenizer), completion_tokens(row, tokenizer)) for row in rows]
    config = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16), config)
    adapted.train()
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=0.0)

    def epoch() -> None:
        order = random.Random(0).sample(pairs, len(pairs))
        for begin in range(0, len(order), settings.batch_rows):
            batch = order[begin : begin + settings.batch_rows]
            length = max(len(prompt) + len(completion) for prompt, completion in batch)
            ids = torch.zeros(len(batch), length, dtype=torch.long)
            mask = torch.zeros_like(ids)
            labels = torch.full_like(ids, -100)
            for i, (prompt, completion) in enumerate(batch):
                end = len(prompt) + len(completion)
                ids[i, :end] = torch.tensor(prompt + completion)
                mask[i, :end] = 1
                labels[i, len(prompt) : end] = torch.tensor(completion)
            adapted(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, settings.clip)
            optimizer.step()
            optimizer.zero_grad()

    return epoch


def trl(model: Path, rows: list[Row], settings: TrainingSettings) -> Epoch:
    """One epoch of TRL's `SFTTrainer`, loss on completions only."""
    import datasets
    import torch
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]

    chats = [
        {
            "prompt": [message.model_dump() for message in row.prompt],
            "completion": [{"role": "assistant", "content": row.completion}],
        }
        for row in rows
    ]
    arguments = SFTConfig(
        output_dir=tempfile.mkdtemp(),
        num_train_epochs=1,
        per_device_train_batch_size=settings.batch_rows,
        learning_rate=settings.learning_rate,
        bf16=True,
        use_cpu=True,
        gradient_checkpointing=False,
        completion_only_loss=True,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16),
        args=arguments,
        train_dataset=datasets.Dataset.from_list(chats),
        processing_class=AutoTokenizer.from_pretrained(model),
        peft_config=LoraConfig(
            r=settings.rank, lora_alpha=settings.alpha, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )
    train: Epoch = trainer.train
    return train


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: one for each core")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)} too")
    options = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        # The allocator and OpenMP read these when a process starts; all that is measured gets the same.
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ENVIRONMENT)  # noqa: S606

    import torch
    from transformers import AutoTokenizer

    from quintet.models.catalogue import locate
    from quintet.training.sft import RejectionSampling

    torch.set_num_threads(options.threads or len(os.sched_getaffinity(0)))
    model = locate("smollm2-135m").path
    settings = TrainingSettings(epochs=1)
    rows = make_rows(options.prompts)
    examples = RejectionSampling(settings).examples(rows, AutoTokenizer.from_pretrained(model))
    tokens = sum(example.tokens for example in examples)

    systems: dict[str, Epoch] = {
        "Quintet": quintet(model, rows, settings),
        "padded LoRA loop": padded(model, rows, settings),
    }
    try:
        systems["TRL SFTTrainer"] = trl(model, rows, settings)
    except ImportError:
        print("TRL is not importable here and is left out.", file=sys.stderr)

    wall = dict.fromkeys(systems, float("inf"))
    busy = dict.fromkeys(systems, float("inf"))
    for _ in range(options.repeats):
        for name, epoch in systems.items():
            begun, used = time.perf_counter(), time.process_time()
            epoch()
            wall[name] = min(wall[name], time.perf_counter() - begun)
            busy[name] = min(busy[name], time.process_time() - used)

    def lines() -> Iterator[str]:
        yield f"{len(rows)} rows of {len(examples)} prompts, {tokens} tokens, {torch.get_num_threads()} threads.\n"
        yield "| trainer | tokens/s | CPU seconds per 1,000 tokens | Quintet is faster by |"
        yield "| --- | ---: | ---: | ---: |"
        for name in systems:
            pace, cost, ratio = tokens / wall[name], 1000 * busy[name] / tokens, wall[name] / wall["Quintet"]
            yield f"| {name} | {pace:.0f} | {cost:.1f} | {ratio:.1f}× |"

    print("\n".join(lines()))
    if options.write:
        write(PAGE, "training", lines(), "training")


if __name__ == "__main__":
    main()
