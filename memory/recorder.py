"""The recorder: a LangChain callback that writes every model call into the ledger, failed ones too."""

from __future__ import annotations

import json
import time
from typing import Any, NamedTuple
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, Generation, LLMResult

from quintet.memory.ledger import RunLedger
from quintet.models.errors import StoppingError
from quintet.records import Call, Completion, Message, digest

_REPORTED = ("tokens", "logprobs", "behaviour_logprobs", "finish")


class _Asked(NamedTuple):
    messages: tuple[Message, ...]
    options: dict[str, Any]
    metadata: dict[str, Any]
    started: float


class Recorder(AsyncCallbackHandler):
    """Writes one `Call` for each prompt that any `BaseChatModel` is given.

    Who asked travels in the call's metadata: `role`, `round`, `task`, `turn`, and `request` where the caller wants to
    name the request of a model that does not hash its own (`llm_output["request"]`).
    """

    raise_error = True
    """A ledger that cannot be written must stop the run."""

    def __init__(self, ledger: RunLedger) -> None:
        self.ledger = ledger
        self._asked: dict[UUID, _Asked] = {}

    async def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        invocation_params: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Note what is asked, and when."""
        said = tuple(_message(message) for message in messages[0])
        options = _plain(invocation_params or {})
        self._asked[run_id] = _Asked(said, options, dict(metadata or {}), time.monotonic())

    async def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Record the call with its replies.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        self._record(run_id, response, None)

    async def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Record the call with the reason why there is no reply.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        if isinstance(error, StoppingError):
            # It was not asked: the same request is asked when the run goes on.
            self._asked.pop(run_id, None)
            return
        self._record(run_id, LLMResult(generations=[]), " ".join(f"{type(error).__name__}: {error}".split()))

    def _record(self, run_id: UUID, response: LLMResult, error: str | None) -> None:
        asked = self._asked.pop(run_id, None)
        if asked is None:
            return
        output, metadata = response.llm_output or {}, asked.metadata
        replies = [g for batch in response.generations for g in batch if isinstance(g, Generation)]
        completions = tuple(completion(reply) for reply in replies)
        told = any(reply.tokens for reply in completions)
        who = {name: metadata.get(name) for name in ("role", "round", "task", "turn")}
        model = str(output.get("model") or output.get("model_name") or _model(asked))
        asked_for = {"model": model, "messages": [dict(m) for m in asked.messages], "options": asked.options, **who}
        request = output.get("request") or metadata.get("request") or digest(asked_for)
        error = output.get("error") or error
        if error and not completions:
            # The reply to this request may yet come, on resume, and needs the request's own id.
            request = digest({"request": request, "error": error})
        call = Call(
            request=request,
            round=who["round"] or 0,
            role=who["role"] or "",
            task=who["task"],
            turn=who["turn"] or 0,
            model=model,
            adapter=output.get("adapter", asked.options.get("adapter")),
            messages=asked.messages,
            options=_plain(output["options"]) if "options" in output else asked.options,
            completions=completions,
            prompt_tokens=output.get("prompt_tokens") or _usage(replies, "input_tokens", output, "prompt_tokens"),
            reported_tokens=0 if told else _usage(replies, "output_tokens", output, "completion_tokens"),
            error=error,
        )
        self.ledger.add(call, seconds=time.monotonic() - asked.started)


def _message(message: BaseMessage) -> Message:
    role = "system" if isinstance(message, SystemMessage) else "assistant" if isinstance(message, AIMessage) else "user"
    return Message(role=role, content=message.text)


def completion(reply: Generation) -> Completion:
    """A reply as a record, with what its model tells of it."""
    info = reply.generation_info or {}
    # Without tokens, `logprobs` is something else: OpenAI's clients put a table there.
    names = _REPORTED if info.get("tokens") is not None else ("finish",)
    known = {name: info[name] for name in names if info.get(name) is not None}
    if "finish" not in known:
        known["finish"] = "length" if info.get("finish_reason") in ("length", "max_tokens") else "stop"
    return Completion(text=reply.text, **known)


def _usage(replies: list[Generation], name: str, output: dict[str, Any], total: str) -> int:
    """Tokens as LangChain's `usage_metadata` reports them, or else OpenAI's `token_usage`; 0 if neither does."""
    found = 0
    for reply in replies:
        usage = getattr(reply.message, "usage_metadata", None) if isinstance(reply, ChatGeneration) else None
        count = (usage or {}).get(name, 0)
        # All completions share the prompt, which is to be counted once.
        found = max(found, count) if name == "input_tokens" else found + count
    return found or int((output.get("token_usage") or {}).get(total) or 0)


def _model(asked: _Asked) -> str:
    options = asked.options
    named = options.get("model") or options.get("model_name") or asked.metadata.get("ls_model_name")
    return str(named or options.get("_type") or "unknown")


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """Options as JSON keeps them; what JSON cannot hold is left out, since its text may name an address in memory."""
    kept = {}
    for name, value in options.items():
        try:
            kept[str(name)] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError):
            continue
    return kept
