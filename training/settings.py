"""The training room's settings: what a LoRA adapter is, how it is fitted, and how long that may take."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class LaunchSettings(BaseModel):
    """How many processes train one adapter, started by `accelerate launch` on one machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    processes: int = Field(default=0, ge=0)
    """Processes that share the batches of each step; 0: as many as `config` says, or this very one without a launcher.
    See docs/scale.md."""
    config: str = ""
    """File as `accelerate config` writes it, for FSDP or DeepSpeed (`examples/cluster/`); relative to the current
    directory, and kept as absolute. Without one, each process holds the whole model."""

    @field_validator("config")
    @classmethod
    def _absolute(cls, path: str) -> str:
        return str(Path(path).absolute()) if path else ""

    @property
    def wanted(self) -> bool:
        """Whether a launcher is needed."""
        return self.processes > 1 or bool(self.config)


class TrainingSettings(BaseModel):
    """The recipe of one adapter, and the limits on making it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    objective: str = "sft"
    """Name of the objective, from the entry-point group `quintet.objectives`."""
    objective_options: dict[str, Any] = {}
    """Keyword arguments of the objective's constructor; the built-in `sft` takes none."""
    start: Literal["incumbent", "base"] = "incumbent"
    """Continue the incumbent on the new rows, or a new LoRA from the base on all live rows (STaR). Continuing
    costs time only for what is new."""
    rank: int = Field(default=16, ge=1)
    """Rank of the two factors of each weight's change; 16 on all linear layers holds what a round teaches."""
    alpha: int = Field(default=32, ge=1)
    """The change is scaled by alpha / rank; twice the rank is the custom that the learning rate is tuned to."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapter's input; above 0 the slower layers of PEFT are used."""
    targets: str | tuple[str, ...] = "all-linear"
    """Names of the layers that get an adapter, or `all-linear` for every one but the output head."""
    learning_rate: float = Field(default=5e-4, gt=0)
    """Peak learning rate of AdamW; high, since a round has few steps."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after the warm-up, towards 0 after the last step unless constant."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps over which the learning rate rises."""
    epochs: int = Field(default=2, ge=1)
    """Passes over the rows; more invites memorising on the few hundred rows of a round."""
    batch_rows: int = Field(default=8, ge=1)
    """Rows of one optimiser step, at least; rows of one prompt stay together."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay of AdamW; none, since the adapter starts from no change at all."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient; a longer one is scaled down."""
    batch_tokens: int = Field(default=512, ge=16)
    """Tokens computed at once. A step is cut into such pieces, which bound the memory: the whole process peaks at
    about 1.6 GB for a 135M model at 512."""
    lane_tokens: int = Field(default=128, ge=16)
    """Tokens of one lane of a batch, into which whole prompts with their completions are packed. Longer lanes share a
    prompt among more completions, but attention computes every pair of a lane."""
    max_row_tokens: int = Field(default=1024, ge=16)
    """Rows with more tokens than this, prompt included, are left out and counted in the metrics."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Type of the frozen base weights; the adapter's own are always float32."""
    quantize: Literal["none", "4bit"] = "none"
    """`4bit` holds the frozen base weights in 4 bits while it trains (QLoRA, arXiv 2305.14314): a quarter of the memory
    of bfloat16, and slower. Needs bitsandbytes, and is made for GPUs."""
    gradient_checkpointing: bool = False
    """Compute each layer's activations anew for its gradient instead of keeping them: less memory for a third more
    computation."""
    threads: int = Field(default=0, ge=0)
    """Threads of the trainer; 0: one for each core that the process may use, shared evenly among its processes."""
    device: Literal["auto", "cpu"] = "auto"
    """`auto` takes an accelerator where there is one."""
    explode: float = Field(default=10.0, gt=1)
    """A step's loss this many times the largest of the first five (or 1, if that is more) stops the training: the
    incumbent stays."""
    checkpoint_seconds: float = Field(default=60.0, ge=0)
    """Seconds between checkpoints, from which an interrupted training goes on to the same weights; 0 makes none. One
    holds the adapter and the optimiser's state: three times the adapter's size."""
    max_seconds: float = Field(default=1800.0, gt=0)
    """Seconds after which training is killed; a round on two cores takes about one minute."""
    launch: LaunchSettings = LaunchSettings()
    """Training in several processes."""

    def recipe(self) -> dict[str, Any]:
        """What determines the adapter's weights: all but what is about time or only ends a training, as JSON values."""
        made = self.model_dump(mode="json", exclude={"max_seconds", "checkpoint_seconds", "explode", *_LATER})
        # What recipes did not hold from the beginning changes the ids of adapters only where it is used.
        plain = TrainingSettings()
        made |= {key: getattr(self, key) for key in ("quantize", "gradient_checkpointing")}
        made = {key: value for key, value in made.items() if key not in _LATER or value != getattr(plain, key)}
        if self.launch.wanted:
            # A path of this machine has no business in an id.
            made["launch"] = {"processes": self.launch.processes, "config": Path(self.launch.config).name}
        return made


_LATER = frozenset({"quantize", "gradient_checkpointing", "launch"})
