"""A request as vLLM's completions endpoint takes it, and what it answers as our completions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from quintet.models.constraint import closed
from quintet.models.errors import ModelError
from quintet.models.requests import Reply, Request, Sampling
from quintet.records import Completion

TOP = 20
"""Most alternatives of a token whose log-probabilities vLLM tells, unless it is started otherwise."""

_FINISH: dict[str, Literal["stop", "length"]] = {"stop": "stop", "length": "length"}


@dataclass(frozen=True)
class Asked:
    """A request, and its tokens."""

    request: Request
    prompt: list[int]
    given: list[int] | None = None
    """What is to be scored behind the prompt."""

    @property
    def tokens(self) -> int:
        """What is read, in tokens."""
        return len(self.prompt) + len(self.given or ())

    @property
    def samples(self) -> int:
        """Replies that have to be generated: all greedy ones are the same."""
        return 1 if self.request.sampling.temperature == 0 else self.request.n

    def body(self, model: str, salt: str, stops: frozenset[int]) -> dict[str, Any]:
        """What is sent.

        Args:
            model: The name under which the server knows the adapter, or the base.
            salt: Names the weights. vLLM keeps what it read of a prompt by an adapter's name and path, and would go on
                with what other weights made of it.
            stops: Tokens that end a reply.
        """
        same = {
            "model": model,
            "cache_salt": salt,
            "add_special_tokens": False,
            "return_token_ids": True,
            "return_tokens_as_token_ids": True,
        }
        if self.given is not None:
            return same | {
                "prompt": self.prompt + self.given,
                "prompt_logprobs": 0,
                "max_tokens": 1,
                "temperature": 0.0,
            }
        sampling, request = self.request.sampling, self.request
        # No seed: on a CPU vLLM 0.32 dies of a request with one whose prompt it reads in parts.
        return same | {
            "prompt": self.prompt,
            "n": self.samples,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            # Left out, these are as the model's `generation_config` has them.
            "top_p": 1.0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "stop_token_ids": sorted(stops),
            "logprobs": sampling.top_k if _tells(sampling) else 0,
            **({"response_format": _format(request.schema_)} if request.schema_ is not None else {}),
        }

    def reply(self, answer: Mapping[str, Any], text: Callable[[Sequence[int]], str]) -> Reply:
        """What came back.

        Args:
            answer: The response.
            text: What tokens say.

        Raises:
            ModelError: It is not what was asked for.
        """
        completions: tuple[Completion, ...]
        try:
            choices = sorted(answer["choices"], key=lambda choice: int(choice["index"]))
            if len(choices) != self.samples:
                raise ValueError(f"{len(choices)} choices instead of {self.samples}")
            if self.given is not None:
                completions = (self._scored(choices[0], self.given, text),)
            else:
                completions = tuple(self._completion(choice, text) for choice in choices)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise ModelError(f"vLLM's answer is not one: {type(error).__name__}: {error}", fault=True) from error
        completions *= self.request.n // self.samples
        failed = sum(completion.finish == "error" for completion in completions)
        broken = f"vLLM broke off {failed} of {len(completions)} samples" if failed else None
        return Reply(completions=completions, prompt_tokens=self.tokens, error=broken)

    def late(self) -> Reply:
        """What there is when the time is up: nothing, since a reply comes whole or not at all."""
        what = "scores" if self.given is not None else "samples"
        return Reply(
            completions=(Completion(text="", finish="time"),) * self.request.n,
            prompt_tokens=self.tokens,
            error=f"{self.request.n} of {self.request.n} {what} were cut short by the time limit or by cancellation",
        )

    def _scored(self, choice: Mapping[str, Any], given: list[int], text: Callable[[Sequence[int]], str]) -> Completion:
        told = choice["prompt_logprobs"][len(self.prompt) :]
        logprobs = [float(spread[str(token)]["logprob"]) for token, spread in zip(given, told, strict=True)]
        said = self.request.given if isinstance(self.request.given, str) else text(given)
        return Completion(text=said, tokens=tuple(given), logprobs=tuple(logprobs))

    def _completion(self, choice: Mapping[str, Any], text: Callable[[Sequence[int]], str]) -> Completion:
        tokens = tuple(int(token) for token in choice["token_ids"])
        told = choice["logprobs"]
        logprobs = tuple(float(value) for value in told["token_logprobs"])
        if len(logprobs) != len(tokens):
            raise ValueError(f"{len(logprobs)} log-probabilities of {len(tokens)} tokens")
        return Completion(
            text=text(tokens),
            tokens=tokens,
            logprobs=logprobs,
            behaviour_logprobs=self._behaviour(logprobs, told["top_logprobs"]),
            finish=_FINISH.get(choice["finish_reason"], "error"),
        )

    def _behaviour(self, logprobs: Sequence[float], tops: Sequence[Mapping[str, float]]) -> tuple[float, ...]:
        """Log-probabilities under what was sampled from; empty where vLLM does not tell enough to know them."""
        sampling = self.request.sampling
        if self.request.schema_ is not None:
            return ()
        if sampling.temperature == 0:
            return (0.0,) * len(logprobs)
        if sampling.top_k == 0:
            return tuple(logprobs) if sampling.temperature == 1 else ()
        if not _tells(sampling):
            return ()
        heat = sampling.temperature
        return tuple(
            mine / heat - _log_sum([value / heat for value in top.values()])
            for mine, top in zip(logprobs, tops, strict=True)
        )


def _tells(sampling: Sampling) -> bool:
    """Whether the alternatives that vLLM tells are all that a token was sampled from."""
    return sampling.temperature > 0 and 0 < sampling.top_k <= TOP


def _log_sum(values: Sequence[float]) -> float:
    most = max(values)
    return most + math.log(math.fsum(math.exp(value - most) for value in values))


def _format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": closed(schema)}}
