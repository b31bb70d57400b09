"""Settings of the models that Quintet serves itself, kept apart so that reading a config imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class ModelSettings(BaseModel):
    """The model, by what it is served, and how the in-process engine generates."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = "smollm2-135m"
    """Packaged model, local folder, or hub name; the default ships as a package and needs no network."""
    network: bool = False
    """Whether a hub name may be downloaded; off, since the default run is offline."""
    chat_template: str = ""
    """Chat template (Jinja) that replaces the model's own: its text, or the path of its file. Needed for a model that
    has none, such as GPT-2."""
    engine: Literal["auto", "transformers", "vllm"] = "auto"
    """What serves it: `transformers`, in this process; `vllm`, a server (see `vllm`); `auto` takes vLLM where it and a
    GPU are present, or where `vllm.url` is set, and the in-process engine elsewhere."""
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


class VllmSettings(BaseModel):
    """The vLLM server that Quintet starts, or that it is pointed at."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    python: str = ""
    """Interpreter that has vLLM, such as `.venv-vllm/bin/python`; empty: the one that runs Quintet. A relative path is
    kept as an absolute one."""
    url: str = ""
    """Server that somebody else runs, such as `http://127.0.0.1:8000`; empty: Quintet starts one, on this machine's
    loopback. It must see the workspace under the same path."""
    key_env: str = ""
    """Environment variable that holds the key of the server at `url`; empty: it wants none."""
    options: dict[str, bool | int | float | str] = {}
    """Options of `vllm serve` for the server that Quintet starts, such as `gpu-memory-utilization = 0.5`; `true` is an
    option without a value. They win over Quintet's own."""
    environment: dict[str, str] = {}
    """Environment variables of the server that Quintet starts, such as `VLLM_CPU_KVCACHE_SPACE = "4"`."""
    parallel: int = Field(default=128, ge=1)
    """Most samples that the server works on at once. Others wait here, and their time limit does not run meanwhile."""
    adapters: int = Field(default=2, ge=1)
    """Most adapters that answer in one batch; the server keeps memory for so many."""
    start_seconds: float = Field(default=600.0, gt=0)
    """Seconds until the server must answer for the first time."""
    stall_seconds: float = Field(default=120.0, gt=0)
    """A server at work that makes no token for so many seconds is stalled, and started anew."""
    restarts: int = Field(default=2, ge=0)
    """How often the server may be lost in one wave before the run stops."""
    sleep: bool = True
    """Whether a server that Quintet started on a GPU sleeps while an adapter is trained, which frees its memory."""

    @field_validator("python")
    @classmethod
    def _from_anywhere(cls, given: str) -> str:
        # A run is resumed from whatever folder. A link is not followed: it is what makes a virtual environment one.
        return str(Path(given).expanduser().absolute()) if given else given

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, given: str) -> str:
        if given and not given.startswith(("http://", "https://")):
            raise ValueError("it begins with http:// or https://, such as http://127.0.0.1:8000")
        return given.rstrip("/").removesuffix("/v1")

    @model_validator(mode="after")
    def _whose_server(self) -> Self:
        ours = [name for name in ("python", "options", "environment") if getattr(self, name)]
        if self.url and ours:
            raise ValueError(
                f"url names a server that somebody else runs, and {ours[0]} is for one that Quintet starts"
            )
        if self.key_env and not self.url:
            raise ValueError("key_env is for a server at url; one that Quintet starts has a key of its own")
        return self
