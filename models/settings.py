"""Settings of the models that Quintet serves itself, kept apart so that reading a config imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ModelSettings(BaseModel):
    """How the in-process model is loaded and how it generates."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = "smollm2-135m"
    """Packaged model, local folder, or hub name; the default ships as a package and needs no network."""
    network: bool = False
    """Whether a hub name may be downloaded; off, since the default run is offline."""
    chat_template: str = ""
    """Chat template (Jinja) that replaces the model's own: its text, or the path of its file. Needed for a model that
    has none, such as GPT-2."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Weights' type; bfloat16 is three times faster on CPUs that have it, float32 is for exact comparisons."""
    device: str = "auto"
    """`auto` (a GPU if there is one, else the CPU), `cpu`, or a torch device such as `cuda:0`."""
    threads: int = Field(default=0, ge=0)
    """CPU threads for generation; 0 leaves torch's own choice, one for each physical core."""
    batch: int = Field(default=96, ge=1)
    """Most sequences decoded together; a core makes 474 tokens/s with 32, 560 with 64, 611 with 96, 684 with 128, but
    memory grows by 4 MB for each."""
    prefill_tokens: int = Field(default=1024, ge=1)
    """Most prompt tokens, padding included, in one prefill; a CPU is saturated well below."""
    cache_mb: int = Field(default=384, ge=1)
    """Memory for keys and values, in MiB; long contexts shrink the batch to fit (never below one sequence)."""
    call_seconds: float = Field(default=600.0, gt=0)
    """Time limit of one call, in seconds, from the moment its prompt is read: how many calls a wave holds, and so how
    long it takes, does not matter. What has not finished then ends with `finish="time"`."""
