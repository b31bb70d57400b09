"""The training room's settings: what a LoRA adapter is, how it is fitted, and how long that may take."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


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
    threads: int = Field(default=0, ge=0)
    """Threads of the trainer; 0: one for each core that the process may use."""
    device: Literal["auto", "cpu"] = "auto"
    """`auto` takes an accelerator where there is one."""
    max_seconds: float = Field(default=1800.0, gt=0)
    """Seconds after which training is killed; a round on two cores takes about one minute."""

    def recipe(self) -> dict[str, Any]:
        """What determines the adapter's weights: all but the time limit, as JSON values."""
        return self.model_dump(mode="json", exclude={"max_seconds"})
