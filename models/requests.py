"""What is asked of a model and what comes back, light enough to import anywhere."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from quintet.records import BASE, Completion, Message, Part


class Sampling(Part):
    """How tokens are chosen."""

    temperature: float = Field(default=0.8, ge=0)
    """Divides the logits; 0 is greedy."""
    top_k: int = Field(default=20, ge=0)
    """Only this many likeliest tokens are sampled from; 0 is the whole vocabulary."""
    max_tokens: int = Field(default=48, ge=1)
    """Most tokens generated."""


class Request(Part):
    """One prompt and how many replies to sample from it, or a continuation of it that is scored."""

    messages: tuple[Message, ...]
    """The conversation, at least one message; none only where a continuation is scored by itself, behind what opens a
    reply."""
    n: int = Field(default=1, ge=1)
    """Independent samples; the prompt is prefilled once for all of them."""
    sampling: Sampling = Sampling()
    seed: str = ""
    """Sample `i` draws from a generator keyed by this and `i`, whatever else is in its batch."""
    adapter: str = BASE
    """Id of a registered adapter, or the base model."""
    schema_: dict[str, Any] | None = None
    """JSON schema that the reply is constrained to."""
    given: str | tuple[int, ...] | None = None
    """What is said to follow: a text, or token ids. Nothing is generated then: the completion holds these tokens and
    their log-probabilities under the raw model."""

    @model_validator(mode="after")
    def _asks_something(self) -> Request:
        if not self.messages and self.given is None:
            raise ValueError("a request needs at least one message")
        if self.given is not None and (self.n > 1 or self.schema_ is not None):
            raise ValueError("a given continuation is scored as it is: n is 1, and there is no schema")
        return self

    def identity(self) -> dict[str, Any]:
        """The content that its key rests on; what is scored joined later and is absent where nothing is."""
        return self.model_dump(mode="json", exclude=None if self.given is not None else {"given"})


class Reply(Part):
    """The completions of one request."""

    completions: tuple[Completion, ...]
    """As many as asked for, in order; also when there was an error."""
    prompt_tokens: int = 0
    """Length of the rendered prompt in tokens."""
    error: str | None = None
    """Why some completions are missing or cut short, in one line."""


class Progress(Part):
    """How far a generation has come."""

    requests: int
    """Requests asked."""
    sequences: int
    """Samples asked, over all requests."""
    finished: int = 0
    """Samples finished."""
    prompt_tokens: int = 0
    """Tokens of all prompts."""
    tokens: int = 0
    """Tokens generated so far."""
    seconds: float = 0.0
    """Since generation began."""
    text: str = ""
    """The reply so far, where a single one is generated: what a conversation shows while it comes."""


class Proof(Part):
    """Evidence about which weights answer under an adapter's name."""

    adapter: str
    served: float
    """Mean absolute difference, in nats, to the log-probabilities that PEFT computed with the adapter."""
    other: float
    """The same to those of the weights that training started from."""
    decided: bool
    """False where the probe cannot tell the two apart: the adapter is too close to where it started."""
    mistaken: str = ""
    """Another adapter that is known and that answers instead, as far as the probe tells."""
    ok: bool
    """Whether nothing speaks against the adapter being what is served."""

    def __str__(self) -> str:
        apart = f"{self.served:.3f} nats from its own log-probabilities, {self.other:.3f} from its start's"
        instead = f"; those of {self.mistaken} are nearer" if self.mistaken else ""
        return f"{apart}{instead}{'' if self.decided else ' (too close to tell)'}"
