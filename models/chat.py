"""The in-process model as a LangChain chat model, so that it stands wherever any other chat model does."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda, RunnableParallel, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema
from pydantic import BaseModel, Field

from quintet.models.errors import ModelError
from quintet.models.requests import Reply, Request, Sampling
from quintet.models.waves import Waves
from quintet.records import BASE, SCORED, Completion, Message

_ROLES = {"system": "system", "human": "user", "ai": "assistant"}


class LocalChat(BaseChatModel):
    """A chat model served by Quintet's own engine, through waves.

    For n samples of one prompt, prefilled once, call `agenerate([messages], n=6)`; `ainvoke` returns the first. A call
    may also give the fields below by name, and `seed`, `adapter` and `schema`; with `given`, a text or token ids, it
    generates nothing and answers with their log-probabilities (`messages` may then be empty). There is no `_stream`:
    LangGraph would send generation through it and lose all samples but one.
    """

    waves: Waves = Field(exclude=True, repr=False)
    """Where requests go."""
    model: str = "smollm2-135m"
    """Name of the model, for the record."""
    adapter: str = BASE
    """Adapter that speaks unless a call names another."""
    temperature: float = 0.8
    """0 is greedy."""
    top_k: int = 20
    """0 is the whole vocabulary."""
    max_tokens: int = 48
    """Most tokens of a reply."""
    stop: list[str] | None = None
    """Texts at which a reply is cut; its tokens stay as generated."""

    @property
    def _llm_type(self) -> str:
        return "quintet-local"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model, "adapter": self.adapter} | self._options({})

    def _options(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        names = ("temperature", "top_k", "max_tokens")
        return {name: getattr(self, name) if kwargs.get(name) is None else kwargs[name] for name in names}

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = self._request(messages, kwargs)
        return self._result(request, *await self.waves.submit(request), stop)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = self._request(messages, kwargs)
        return self._result(request, *self.waves.submit_sync(request), stop)

    def _request(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> Request:
        if (given := kwargs.get("given")) is not None:
            return Request(
                messages=tuple(_message(message) for message in messages),
                adapter=kwargs.get("adapter") or self.adapter,
                given=given if isinstance(given, str) else tuple(given),
            )
        schema = kwargs.get("schema")
        if schema is not None and not isinstance(schema, dict):
            schema = convert_to_json_schema(schema)
        return Request(
            messages=tuple(_message(message) for message in messages),
            n=kwargs.get("n") or 1,
            sampling=Sampling(**self._options(kwargs)),
            seed=str(kwargs.get("seed") or ""),
            adapter=kwargs.get("adapter") or self.adapter,
            schema_=schema,
        )

    def _result(self, request: Request, key: str, reply: Reply, from_log: bool, stop: list[str] | None) -> ChatResult:
        if late := sum(completion.finish == "time" for completion in reply.completions):
            # Kept as an answer it would count as wrong, and how fast the machine is would be part of the result.
            line = f"{late} of {request.n} samples were cut short by the time limit (model.call_seconds)"
            raise ModelError(line, fault=True)
        stops = stop if stop is not None else self.stop or []
        return ChatResult(
            generations=[
                _generation(completion, reply, stops, request.given is not None) for completion in reply.completions
            ],
            llm_output={
                "request": key,
                "model": self.model,
                "adapter": request.adapter,
                "prompt_tokens": reply.prompt_tokens,
                "options": request.sampling.model_dump()
                | {"n": request.n, "seed": request.seed, "schema": request.schema_}
                if request.given is None
                else {SCORED: True},
                "error": reply.error,
                "from_log": from_log,
            },
        )

    def _combine_llm_outputs(self, llm_outputs: list[dict[str, Any] | None]) -> dict[str, Any]:
        """One prompt's output as it is; with several prompts, each prompt's callbacks have seen its own."""
        return (llm_outputs[0] or {}) if len(llm_outputs) == 1 else {"outputs": llm_outputs}

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[Any, Any]:
        """A chain whose replies are held to a schema while they are decoded, and parsed.

        Args:
            schema: A pydantic model, a TypedDict, or a JSON schema.
            include_raw: Return `{"raw", "parsed", "parsing_error"}`, and never raise on a reply that was cut short.
            **kwargs: `method` and `strict` of other providers are accepted; decoding is always constrained.
        """
        known = {"method", "strict", "tools"}
        if unknown := sorted(set(kwargs) - known):
            raise ModelError(f"with_structured_output does not know {', '.join(unknown)}; known: {', '.join(known)}")
        model: Runnable[Any, Any] = self.bind(schema=convert_to_json_schema(schema))
        parser = RunnableLambda(_parser(schema))
        if not include_raw:
            return model | parser
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableParallel(raw=model) | parsed.with_fallbacks([failed], exception_key="parsing_error")


def _parser(schema: dict[str, Any] | type) -> Callable[[AIMessage], Any]:
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return lambda message: schema.model_validate_json(message.text)
    return lambda message: json.loads(message.text)


def _message(message: BaseMessage) -> Message:
    role = _ROLES.get(message.type)
    if role is None:
        raise ModelError(f"a {message.type!r} message cannot be sent to a local model; use {', '.join(_ROLES)}")
    return Message.model_validate({"role": role, "content": message.text})


def _generation(completion: Completion, reply: Reply, stops: Sequence[str], given: bool) -> ChatGeneration:
    text = completion.text
    for end in stops:
        text = text.split(end, 1)[0]
    # Tokens that were given and scored are part of the prompt: none was generated.
    made = 0 if given else len(completion.tokens)
    usage = UsageMetadata(input_tokens=reply.prompt_tokens, output_tokens=made, total_tokens=reply.prompt_tokens + made)
    return ChatGeneration(
        message=AIMessage(content=text, usage_metadata=usage),
        generation_info={
            "tokens": list(completion.tokens),
            "logprobs": list(completion.logprobs),
            "behaviour_logprobs": list(completion.behaviour_logprobs),
            "finish": completion.finish,
        },
    )
