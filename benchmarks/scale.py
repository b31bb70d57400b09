"""The arithmetic of docs/scale.md: tokens, gigabytes and seconds of a round with a 7B model on 1, 8 and 64 GPUs.

    python benchmarks/scale.py            # writes the tables into docs/scale.md
    python benchmarks/scale.py --print    # shows them

Nothing is measured here: what is assumed stands in `Hardware`, `Round` and `Shares`, and the page says so.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from arms import write  # type: ignore[import-not-found]

GIGA = 1e9
BF16, FLOAT32 = 2, 4

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"


@dataclass(frozen=True)
class Model:
    """A dense decoder with grouped key heads; the numbers are Qwen2.5-7B's, from its `config.json`."""

    layers: int = 28
    hidden: int = 3584
    inner: int = 18944
    heads: int = 28
    key_heads: int = 4
    vocabulary: int = 152_064

    @property
    def keys(self) -> int:
        """Width of a token's keys in one layer."""
        return self.key_heads * self.hidden // self.heads

    @property
    def linears(self) -> list[tuple[int, int]]:
        """Shapes of a layer's matrices: queries, keys, values, output, gate, up, down."""
        d, k, f = self.hidden, self.keys, self.inner
        return [(d, d), (d, k), (d, k), (d, d), (d, f), (d, f), (f, d)]

    @property
    def computed(self) -> int:
        """N: weights that every token is multiplied with; the head is among them, the embedding is looked up."""
        return self.layers * sum(a * b for a, b in self.linears) + self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All weights, with the embedding, the biases of queries, keys and values, and the norms."""
        biases, norms = self.hidden + 2 * self.keys, 2 * self.hidden
        return self.computed + self.vocabulary * self.hidden + self.layers * (biases + norms) + self.hidden

    @property
    def cached(self) -> int:
        """Bytes of keys and values a token."""
        return 2 * self.layers * self.keys * BF16

    @property
    def activations(self) -> int:
        """Bytes a token that a training step keeps: the inputs of matrices and norms, and the gated unit's parts."""
        return self.layers * (8 * self.hidden + 4 * self.inner) * BF16

    @property
    def borders(self) -> int:
        """The same with gradient checkpointing: the inputs of the layers, and the parts of one."""
        return self.layers * self.hidden * BF16 + self.activations // self.layers

    def adapter(self, rank: int) -> int:
        """Weights of a LoRA on all linear layers but the head."""
        return rank * self.layers * sum(a + b for a, b in self.linears)


@dataclass(frozen=True)
class Hardware:
    """One GPU; the numbers are an H100 SXM's, from its data sheet (dense)."""

    flops: float = 989e12
    bandwidth: float = 3.35e12
    """Bytes a second between its memory and its cores."""
    memory: float = 80 * GIGA
    host: float = 25 * GIGA
    """Bytes a second to and from the machine's memory: what sleeping and waking take."""


@dataclass(frozen=True)
class Shares:
    """What is reached of what the hardware could do: assumptions, all of them."""

    prefill: float = 0.5
    """Of its floating-point operations, where prompts are read."""
    training: float = 0.35
    """The same in training, whose batches are small and whose lanes are filled unevenly."""
    decode: float = 0.6
    """Of its bandwidth, where tokens are generated under an adapter."""
    served: float = 0.9
    """Of its memory, for weights and cache."""
    spare: float = 4 * GIGA
    """Bytes of that for activations and graphs."""
    parallel: int = 256
    """Samples in flight on a GPU at most."""
    conductor: float = 0.005
    """Seconds of Quintet's own process an attempt: asking, parsing, recording, selecting; verifiers run beside it."""
    start: float = 60.0
    """Seconds for the training's processes to start and load the model."""


@dataclass(frozen=True)
class Round:
    """The work of one round."""

    tasks: int = 2000
    samples: int = 8
    prompt: int = 300
    """Tokens of a question with what is recalled for it."""
    answer: int = 500
    """Tokens of an attempt."""
    longest: int = 2048
    """Tokens of the longest."""
    critique: int = 60
    """Tokens of a critique; its prompt holds question and attempt."""
    items: int = 2600
    """Answers of the suites: 300 to steer, twice 1,000 at the gate, 300 for retention."""
    rows: int = 4000
    epochs: int = 2
    rank: int = 16
    phases: int = 4
    """Waves that each wait for their longest reply: attempts, critiques, gate, the other suites."""

    @property
    def attempts(self) -> int:
        """Attempts, each with a critique."""
        return self.tasks * self.samples

    @property
    def read(self) -> int:
        """Prompt tokens; a prompt is read once for all its samples."""
        return (self.tasks + self.items) * self.prompt + self.attempts * (self.prompt + self.answer)

    @property
    def generated(self) -> int:
        """Tokens that are generated."""
        return (self.attempts + self.items) * self.answer + self.attempts * self.critique

    @property
    def learnt(self) -> int:
        """Tokens that are trained on."""
        return self.rows * self.epochs * (self.prompt + self.answer)


@dataclass(frozen=True)
class Place:
    """Where a round is run."""

    name: str
    serving: int
    """GPUs that generate."""
    training: int
    """GPUs that train."""
    shared: bool = True
    """Whether they are the same, and the server sleeps while an adapter is trained."""


PLACES = (Place("1 GPU", 1, 1), Place("8 GPUs", 8, 8), Place("64 GPUs", 56, 8, shared=False))

MODEL, HARDWARE, SHARES, ROUND = Model(), Hardware(), Shares(), Round()


def batch(model: Model, hardware: Hardware, shares: Shares, round: Round) -> int:
    """Samples in flight on one GPU: as many as the cache holds, and no more than `parallel`."""
    cache = shares.served * hardware.memory - shares.spare - BF16 * model.parameters
    return min(shares.parallel, int(cache / (model.cached * (round.prompt + round.answer))))


def step(model: Model, hardware: Hardware, shares: Shares, samples: float, context: float) -> float:
    """Seconds for one more token of each sample: reading weights and caches, or computing, whichever is longer."""
    read = BF16 * model.computed + samples * context * model.cached
    computed = 2 * model.computed * samples
    return max(read / (shares.decode * hardware.bandwidth), computed / (shares.prefill * hardware.flops))


def seconds(place: Place, per_token: int = 4) -> dict[str, float]:
    """Seconds of a round's parts.

    Args:
        place: Where.
        per_token: Operations a weight and token of training: 4 with a frozen base, 6 with gradient checkpointing.
    """
    model, hardware, shares, round = MODEL, HARDWARE, SHARES, ROUND
    in_flight = batch(model, hardware, shares, round)
    context = round.prompt + round.answer / 2
    pace = in_flight / step(model, hardware, shares, in_flight, context)
    alone = step(model, hardware, shares, 1, context)
    moved = 2 * BF16 * model.parameters / hardware.host if place.shared else 0.0
    training = per_token * model.computed * round.learnt / (shares.training * hardware.flops * place.training)
    return {
        "reading": 2 * model.computed * round.read / (shares.prefill * hardware.flops * place.serving),
        "generating": round.generated / (pace * place.serving),
        "longest replies": round.phases * round.longest * alone,
        "training": training,
        "starting": shares.start + moved,
        "Quintet's process": shares.conductor * (round.attempts + round.items),
    }


def memory_table() -> Iterator[str]:
    """Gigabytes on one GPU."""
    model, shares, round = MODEL, SHARES, ROUND
    weights, adapter = BF16 * model.parameters, model.adapter(round.rank)
    in_flight, tokens = batch(model, HARDWARE, shares, round), 8192
    learning = weights + 4 * FLOAT32 * adapter
    rows = [
        ("weights, bf16", "2 P", weights),
        ("weights in 4 bits (QLoRA)", "about P / 2, embedding and head in bf16", _quantised(model)),
        ("keys and values of a token", "2 · layers · key heads · head size · 2 bytes", model.cached),
        (f"keys and values of {in_flight} samples", "of prompt and answer", _cache(in_flight)),
        (f"adapter of rank {round.rank}, float32", f"{adapter / 1e6:.1f} M weights · 4 bytes", FLOAT32 * adapter),
        ("its gradient and AdamW's state", "3 · 4 bytes a weight", 3 * FLOAT32 * adapter),
        (f"activations of {tokens:,} tokens", "layers · (8 hidden + 4 inner) · 2 bytes", tokens * model.activations),
        ("the same, checkpointed", "inputs of all layers, parts of one", tokens * model.borders),
        ("**the server**", "weights, cache, graphs", weights + _cache(in_flight) + shares.spare),
        ("**the training**", "all of its own", learning + tokens * model.activations),
        ("**the same, checkpointed**", "", learning + tokens * model.borders),
    ]
    yield "| what | how it comes about | GB |"
    yield "|---|---|---|"
    for what, how, size in rows:
        yield f"| {what} | {how} | {_gb(size)} |"


def work_table() -> Iterator[str]:
    """Tokens and operations of a round."""
    model, round = MODEL, ROUND
    rows = [
        ("read", f"questions of {round.tasks:,} tasks and {round.items:,} items, and attempts", round.read, 2),
        ("generated", f"{round.attempts:,} attempts with critiques, {round.items:,} answers", round.generated, 2),
        ("trained on", f"{round.rows:,} rows, {round.epochs} epochs", round.learnt, 4),
    ]
    yield "| tokens | of what | millions | operations a weight | operations in all |"
    yield "|---|---|---|---|---|"
    for what, of, tokens, each in rows:
        yield f"| {what} | {of} | {tokens / 1e6:.1f} | {each} | {each * model.computed * tokens:.2g} |"


def time_table() -> Iterator[str]:
    """Seconds of a round, by place."""
    found = {place: seconds(place) for place in PLACES}
    yield f"| seconds | {' | '.join(place.name for place in PLACES)} |"
    yield f"|---|{'---|' * len(PLACES)}"
    for part in found[PLACES[0]]:
        yield f"| {part} | {' | '.join(f'{of[part]:,.0f}' for of in found.values())} |"
    yield f"| **a round** | {' | '.join(f'**{sum(of.values()):,.0f}**' for of in found.values())} |"
    gpus = [place.serving if place.shared else place.serving + place.training for place in PLACES]
    hours = [sum(of.values()) * count / 3600 for of, count in zip(found.values(), gpus, strict=True)]
    yield f"| GPU hours a round | {' | '.join(f'{spent:.2f}' for spent in hours)} |"
    most = [max(of, key=lambda part: of[part]) for of in found.values()]
    yield f"| most of it | {' | '.join(most)} |"


def stored_table() -> Iterator[str]:
    """Gigabytes a round that are kept or moved, which do not depend on the number of GPUs but in the last line."""
    from quintet.records import Completion

    round, adapter = ROUND, MODEL.adapter(ROUND.rank)
    # As the ledger keeps it, with token ids and both log-probabilities in full.
    said = Completion(
        text="four" * round.answer,
        tokens=(31_415,) * round.answer,
        logprobs=(-0.31415926535897,) * round.answer,
        behaviour_logprobs=(-0.27182818284590,) * round.answer,
    )
    each = len(said.model_dump_json()) / round.answer
    rows = [
        ("ledger", f"{each:.0f} bytes a token generated", each * round.generated),
        ("adapter on disk", "float32", FLOAT32 * adapter),
        ("a checkpoint of the training", "adapter and AdamW's state", 3 * FLOAT32 * adapter),
        ("adapter into every server", "one file a GPU that serves, 56 of them", 56 * FLOAT32 * adapter),
    ]
    yield "| what | how it comes about | GB a round |"
    yield "|---|---|---|"
    for what, how, size in rows:
        yield f"| {what} | {how} | {_gb(size)} |"


def _quantised(model: Model) -> float:
    head = 2 * model.vocabulary * model.hidden
    # NF4 with double quantisation: 4.127 bits a weight (arXiv 2305.14314, section 3).
    return (model.parameters - head) * 4.127 / 8 + head * BF16


def _cache(samples: int) -> int:
    return samples * (ROUND.prompt + ROUND.answer) * MODEL.cached


def _gb(size: float) -> str:
    return f"{size / GIGA:.1f}" if size >= 0.95 * GIGA else f"{size / GIGA:.{2 if size > 0.01 * GIGA else 6}f}"


TABLES = {"work": work_table, "memory": memory_table, "time": time_table, "stored": stored_table}


def main() -> None:
    """Write the tables, or print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", action="store_true", dest="shown", help="show them and write nothing")
    options = parser.parse_args()
    for mark, table in TABLES.items():
        if options.shown:
            print("\n".join(table()), end="\n\n")
        else:
            write(PAGE, mark, table(), "scale")


if __name__ == "__main__":
    main()
