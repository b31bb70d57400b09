"""The port for chat models that Quintet does not serve: a config names them, entry points make them."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from quintet.models.errors import ModelError
from quintet.plugins import PluginError, plugin
from quintet.records import Part

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

GROUP = "quintet.chats"
"""The entry-point group: each names a callable from `ChatSettings` to a `BaseChatModel`."""

OPENAI = "https://api.openai.com/v1"


class ChatSettings(Part):
    """A chat model that roles may speak through, instead of the one that is trained; a section of `chats`."""

    provider: str = "openai"
    """Who makes it: an entry point of the group `quintet.chats`. `openai` is every endpoint that speaks OpenAI's chat
    completions: OpenAI, vLLM, llama.cpp, Ollama, LM Studio, `transformers serve`."""
    model: str = Field(min_length=1)
    """Its name, as the provider knows it."""
    base_url: str = Field("", pattern=r"^(https?://\S+)?$")
    """Where the endpoint is, up to and with `/v1`; empty is the provider's own."""
    key_env: str = ""
    """Environment variable that holds the key; the key itself stands in no file. Empty sends none: a key goes only
    where the config says so."""
    seconds: float = Field(60.0, gt=0)
    """Time limit of an answer, in seconds, its retries included; the rest of the table waits for it."""
    retries: int = Field(2, ge=0)
    """Times a request is repeated that was refused for now (408, 409, 429, 5xx) or never arrived."""
    parallel: int = Field(8, gt=0)
    """Most requests at once. All tasks of a round ask together, and a small server answers a few at a time; waiting for
    a turn does not count as `seconds`."""
    structured: Literal["schema", "prompt"] = "prompt"
    """How a reply is held to the role's schema. `schema` sends it as `response_format`, which the endpoint must
    understand (OpenAI, vLLM, llama.cpp and Ollama do; `transformers serve` ignores it); `prompt`, which every model
    reads, says it in words."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What else the body of every request holds, such as `top_p`. A `temperature`, `max_tokens` or
    `max_completion_tokens` here stands above the role's: models that reason take no temperature but 1, and spend
    tokens before they speak."""


@dataclass(frozen=True)
class Asking:
    """How one question is put to a chat model that Quintet does not serve."""

    model: BaseChatModel
    """The model, with the role's temperature and token limit."""
    options: dict[str, Any] = field(default_factory=dict)
    """Arguments of the call."""
    words: str = ""
    """What joins the question, where only words can tell the model which form is wanted."""


def asking(model: BaseChatModel, temperature: float, max_tokens: int, schema: dict[str, Any] | None = None) -> Asking:
    """How a role's question is put to a chat model, by what the model can take.

    Temperature and token limit are set where the model has fields of these names that whoever made it left alone. A
    schema goes with the call as `response_format` if the model has an attribute `structured` that is `"schema"`. There
    is no seed: samples of one question are asked for one by one, and would all be the same.

    Args:
        model: One that Quintet does not serve.
        temperature: The role's.
        max_tokens: The role's.
        schema: JSON schema of the reply; `None` is free text.
    """
    wanted = {"temperature": temperature, "max_tokens": max_tokens}
    free = set(type(model).model_fields) - model.model_fields_set
    # A copy with other fields: which arguments a call takes differs from class to class, what the fields mean does not.
    model = model.model_copy(update={name: value for name, value in wanted.items() if name in free})
    if schema is None:
        return Asking(model)
    if getattr(model, "structured", "prompt") == "schema":
        return Asking(model, options={"response_format": _response_format(schema)})
    return Asking(model, words=f"\n\nAnswer with JSON of this schema and nothing else: {json.dumps(schema)}")


def load_chat(name: str, settings: ChatSettings) -> BaseChatModel:
    """The chat model that a section of `chats` describes.

    Args:
        name: Of the section, for messages.
        settings: What it says.

    Raises:
        ModelError: There is no such provider, or it cannot make the model.
    """
    from langchain_core.language_models import BaseChatModel

    try:
        provider = plugin(GROUP, settings.provider, "provider")
    except PluginError as error:
        raise ModelError(f"chats.{name}: {error}") from error
    try:
        model = provider.found(settings)
    except ModelError as error:
        raise ModelError(f"chats.{name}: {error}") from error
    except Exception as error:
        # Any package may stand here, with errors of its own.
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ModelError(f"chats.{name}: {provider.source} makes no model: {reason}") from error
    if not isinstance(model, BaseChatModel):
        raise ModelError(f"chats.{name}: {provider.source} makes a {type(model).__name__}, no BaseChatModel")
    return model


def openai_compatible(settings: ChatSettings) -> BaseChatModel:
    """A chat model behind an endpoint that speaks OpenAI's chat completions.

    Raises:
        ModelError: A package or the key is missing, or the limit of tokens is named twice.
    """
    if not settings.key_env and not settings.base_url:
        raise ModelError(f'{OPENAI} wants a key: name its environment variable, such as key_env = "OPENAI_API_KEY"')
    key = os.environ.get(settings.key_env, "") if settings.key_env else "none"
    if not key:
        raise ModelError(f"environment variable {settings.key_env} (key_env) is not set; it is to hold the key")
    try:
        from quintet.models.endpoint import Endpoint
    except ModuleNotFoundError as error:
        raise ModelError(f'package {error.name} is not installed; run: pip install "quintet[openai]"') from error

    body, fields = dict(settings.options), {}
    # OpenAI's newer models refuse the older name, and it is the only one that many other servers know.
    limit = "max_tokens" if settings.base_url else "max_completion_tokens"
    if "temperature" in body:
        fields["temperature"] = body.pop("temperature")
    named = [name for name in ("max_tokens", "max_completion_tokens") if name in body]
    if len(named) > 1:
        raise ModelError("options name both max_tokens and max_completion_tokens: keep the one the endpoint knows")
    for name in named:
        limit, fields["max_tokens"] = name, body.pop(name)
    return Endpoint(
        model=settings.model,
        base_url=settings.base_url or OPENAI,
        api_key=key,
        max_retries=settings.retries,
        seconds=settings.seconds,
        parallel=settings.parallel,
        structured=settings.structured,
        limit=limit,
        extra_body=body or None,
        **fields,
    )


def _response_format(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema as OpenAI's `response_format`."""
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", str(schema.get("title", "reply")))[:64]
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": _sealed(schema)}}


def _sealed(schema: Any) -> Any:
    """A schema as OpenAI's strict decoding wants it: closed objects, all properties required, no defaults."""
    if isinstance(schema, list):
        return [_sealed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    sealed: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            sealed[key] = {name: _sealed(part) for name, part in value.items()}
        elif key in ("enum", "const", "examples"):
            sealed[key] = value
        elif key != "default":
            sealed[key] = _sealed(value)
    if "properties" in sealed:
        sealed |= {"required": list(sealed["properties"]), "additionalProperties": False}
    return sealed
