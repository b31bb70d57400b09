"""A chat model behind an OpenAI-compatible endpoint, which may be down, slow or odd without costing more than a reply.

Imported only where it is used, since it needs the extra `openai`.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from weakref import WeakKeyDictionary

import openai
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult
from langchain_openai import ChatOpenAI
from pydantic import PrivateAttr, SecretStr

from quintet.models.errors import ModelError

_LONGEST = 300
"""Characters of a failure that go on record."""

_loops: dict[int, asyncio.AbstractEventLoop] = {}
_starting = threading.Lock()


class Endpoint(ChatOpenAI):
    """`ChatOpenAI` with a time limit for the whole of an answer, a few requests at once, and errors in one line."""

    seconds: float = 60.0
    """Time limit of an answer, in seconds, its retries included."""
    parallel: int = 8
    """Most requests at once."""
    structured: Literal["schema", "prompt"] = "prompt"
    """Whether the endpoint understands `response_format`."""
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the endpoint calls the limit of a reply's tokens."""

    _gates: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = PrivateAttr(
        default_factory=WeakKeyDictionary
    )

    def __init__(self, **fields: Any) -> None:
        fields.setdefault("timeout", fields.get("seconds", 60.0))
        # Connections are not kept: LangChain's client is shared, and a kept one belongs to the event loop of its run.
        fields.setdefault("default_headers", {"Connection": "close"})
        # Streamed, as LangGraph would have it, an answer comes without its number of tokens.
        super().__init__(**fields, disable_streaming=True, use_responses_api=False)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        # A semaphore belongs to the event loop in which somebody first waited for it.
        gate = self._gates.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self.parallel))
        async with gate:
            with self._explained():
                # The client's own limit is one for each read: an endpoint that trickles would never reach it.
                async with asyncio.timeout(self.seconds):
                    return _checked(await super()._agenerate(messages, stop, run_manager, **kwargs))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        # The time limit, as the gate, is the event loop's; the caller's, if there is one, waits for this very call.
        answer = asyncio.run_coroutine_threadsafe(self._agenerate(messages, stop, None, **kwargs), _loop(os.getpid()))
        try:
            return answer.result()
        except BaseException:
            answer.cancel()
            raise

    @property
    def _default_params(self) -> dict[str, Any]:
        """What every request holds, as it is sent: this goes on record."""
        return self._renamed(super()._default_params)

    def _get_request_payload(self, input_: Any, *, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        payload = self._renamed(super()._get_request_payload(input_, stop=stop, **kwargs))
        if (form := payload.pop("response_format", None)) is not None:
            # Named openly, it would make the client raise on a reply that was cut off, and drop it.
            payload["extra_body"] = {"response_format": form, **(payload.get("extra_body") or {})}
        return payload

    def _renamed(self, params: dict[str, Any]) -> dict[str, Any]:
        """With the limit of tokens under the endpoint's name for it, instead of LangChain's."""
        if (tokens := params.pop("max_completion_tokens", None)) is not None:
            params[self.limit] = tokens
        return params

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Whatever goes wrong, as a `ModelError` of one line that names model and endpoint."""
        try:
            yield
        except (TimeoutError, openai.APITimeoutError) as error:
            raise self._failure(f"gave no answer within {self.seconds:g} s") from error
        except openai.APIStatusError as error:
            raise self._failure(f"answered {error.status_code}: {_said(error)}") from error
        except openai.APIConnectionError as error:
            raise self._failure(f"cannot be reached: {_root(error)}") from error
        except ModelError as error:
            raise self._failure(str(error)) from error
        except Exception as error:
            # What the client stumbles over in an answer that is no chat completion may be anything.
            reason = f"{type(error).__name__}: {error}"
            raise self._failure(f"answered something that is no chat completion: {reason}") from error

    def _failure(self, what: str) -> ModelError:
        line = " ".join(f"{self.model_name} at {self.openai_api_base} {what}".split())
        if isinstance(self.openai_api_key, SecretStr) and (key := self.openai_api_key.get_secret_value()) != "none":
            # Some servers repeat the key that they refuse, and this line goes on record.
            line = line.replace(key, "[key]")
        return ModelError(line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…", fault=True)


def _loop(process: int) -> asyncio.AbstractEventLoop:
    """The event loop, in a thread of its own, of all who ask without one; a forked process needs another."""
    with _starting:
        if process not in _loops:
            loop = _loops[process] = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="endpoints", daemon=True).start()
        return _loops[process]


def _checked(result: ChatResult) -> ChatResult:
    """A result with one answer at least, and with nothing in it that a record could not hold.

    Raises:
        ModelError: There is no answer in it.
    """
    if not result.generations:
        raise ModelError("answered with no choice")
    for generation in result.generations:
        if refusal := generation.message.additional_kwargs.get("refusal"):
            raise ModelError(f"refused: {refusal}")
        info = generation.generation_info or {}
        # Under the same name the records keep something else: a number for each token.
        info.pop("logprobs", None)
        info["finish"] = "length" if info.get("finish_reason") == "length" else "stop"
        generation.generation_info = info
    return result


def _said(error: openai.APIStatusError) -> str:
    """What an endpoint says about its refusal, without the wrapping."""
    body = error.body
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or body
    # A page says no more than its status.
    text = "" if isinstance(body, str) and body.startswith("<") else str(body or "")
    return text or str(error.response.reason_phrase)


def _root(error: BaseException) -> str:
    """What a chain of errors began with, in words."""
    words = str(error)
    while (cause := error.__cause__) is not None:
        error, words = cause, str(cause) or words
    return words
