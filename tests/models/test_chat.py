from __future__ import annotations

from typing import Any, Literal

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import LLMResult
from langchain_tests.unit_tests import ChatModelUnitTests
from pydantic import BaseModel
from small_models import ask

from quintet.models.chat import LocalChat
from quintet.models.engine import Engine
from quintet.models.errors import ModelError
from quintet.models.waves import Waves
from quintet.records import BASE


class TestStandard(ChatModelUnitTests):
    """What LangChain asks of every chat model."""

    @pytest.fixture(autouse=True)
    def _engine(self, llama: Engine) -> None:
        type(self).waves = Waves(llama)

    @property
    def chat_model_class(self) -> type[LocalChat]:
        return LocalChat

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"waves": self.waves}

    @property
    def has_tool_calling(self) -> bool:
        return False

    @property
    def has_structured_output(self) -> bool:
        return True


@pytest.fixture
def chat(llama: Engine) -> LocalChat:
    return LocalChat(waves=Waves(llama), model="tiny")


class Heard(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.results: list[LLMResult] = []
        self.errors: list[BaseException] = []

    async def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        self.results.append(response)

    async def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.errors.append(error)


async def test_all_samples_come_back_with_tokens_and_logprobs(chat: LocalChat, llama: Engine) -> None:
    heard = Heard()
    result = await chat.agenerate(
        [[SystemMessage("Be brief."), HumanMessage("Hi"), AIMessage("Ho"), HumanMessage("And?")]],
        callbacks=[heard],
        metadata={"role": "solver"},
        n=3,
        temperature=0.9,
        top_k=7,
        max_tokens=6,
        seed="s",
    )
    assert len(result.generations[0]) == 3
    for generation in result.generations[0]:
        info = generation.generation_info
        assert info is not None
        assert len(info["tokens"]) == len(info["logprobs"]) == len(info["behaviour_logprobs"]) == 6
        assert info["finish"] == "length"
        assert generation.text == llama.tokenizer.decode(info["tokens"], skip_special_tokens=True)
    assert result.llm_output is not None
    request = result.llm_output.pop("request")
    assert len(request) == 64
    prompt = result.llm_output.pop("prompt_tokens")
    assert prompt > 10
    assert result.llm_output == {
        "model": "tiny",
        "adapter": BASE,
        "options": {"temperature": 0.9, "top_k": 7, "max_tokens": 6, "n": 3, "seed": "s", "schema": None},
        "error": None,
        "from_log": False,
    }
    assert len(heard.results[0].generations[0]) == 3


async def test_an_error_in_a_reply_is_reported_and_a_failed_call_raises(chat: LocalChat) -> None:
    heard = Heard()
    result = await chat.agenerate([[HumanMessage("word " * 600)]], n=2)
    assert result.llm_output is not None
    assert "exceed the model's 512" in result.llm_output["error"]
    assert [generation.generation_info["finish"] for generation in result.generations[0]] == ["error", "error"]
    with pytest.raises(ModelError, match="not registered"):
        await chat.agenerate([[HumanMessage("Hi")]], adapter="nope", callbacks=[heard])
    assert isinstance(heard.errors[0], ModelError)


def test_sync_invoke_gives_the_first_sample(chat: LocalChat, llama: Engine) -> None:
    message = chat.invoke("Hi", max_tokens=5)
    assert message.content == llama.generate([ask("Hi", max_tokens=5)])[0].completions[0].text
    assert message.usage_metadata is not None
    assert message.usage_metadata["output_tokens"] == 5


async def test_sync_invoke_works_within_an_event_loop(chat: LocalChat) -> None:
    assert chat.invoke("Hi", max_tokens=2).content == (await chat.ainvoke("Hi", max_tokens=2)).content


def test_stop_cuts_the_text(chat: LocalChat) -> None:
    whole = str(chat.invoke("Hi", max_tokens=9).content)
    end = whole[4:6]
    assert chat.invoke("Hi", max_tokens=9, stop=[end]).content == whole[: whole.index(end)]


class Verdict(BaseModel):
    verdict: Literal["accept", "revise"]


async def test_structured_output_is_parsed(chat: LocalChat) -> None:
    assert isinstance(await chat.with_structured_output(Verdict).ainvoke("Judge!"), Verdict)
    raw = await chat.with_structured_output(Verdict.model_json_schema(), include_raw=True).ainvoke("Judge!")
    assert set(raw) == {"raw", "parsed", "parsing_error"}
    Verdict.model_validate(raw["parsed"])


async def test_structured_output_that_is_cut_short_is_data(chat: LocalChat) -> None:
    short = LocalChat(waves=chat.waves, max_tokens=2)
    raw = await short.with_structured_output(Verdict, include_raw=True).ainvoke("Judge!")
    assert raw["parsed"] is None
    assert raw["parsing_error"] is not None


async def test_a_message_no_local_model_reads_is_refused(chat: LocalChat) -> None:
    with pytest.raises(ModelError, match="'tool' message cannot be sent"):
        await chat.ainvoke([ToolMessage("x", tool_call_id="1")])
