"""Chat models that Quintet does not serve: how they are named, asked, limited, and what their failures say."""

from __future__ import annotations

import asyncio
import builtins
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from installing import install
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.outputs import LLMResult
from pydantic import BaseModel, Field, ValidationError
from stub_endpoint import Answer, Stub, babbles, endpoint, says, sends, stalls, trickles

from quintet.models.errors import ModelError
from quintet.models.providers import ChatSettings, asking, load_chat, openai_compatible

KEY = "secret-7c1e"


class Opinion(BaseModel):
    verdict: str = Field(max_length=8)
    why: str = "no reason"


@pytest.fixture(autouse=True)
def plugged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that brings providers, beside the built-in one."""
    lines = [
        "[quintet.chats]",
        "openai = quintet.models.providers:openai_compatible",
        "parrot = parrots:parrot",
        "plant = parrots:plant",
        "broken = parrots:broken",
    ]
    install(tmp_path, *lines, package="chats")
    (tmp_path / "parrots.py").write_text(
        "from langchain_core.language_models import FakeListChatModel\n"
        "def parrot(settings): return FakeListChatModel(responses=[settings.model])\n"
        "def plant(settings): return 'green'\n"
        "def broken(settings): raise OSError('no\\nfeathers')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture
def stub() -> Iterator[Stub]:
    with endpoint(says("Hello.")) as running:
        yield running


def chat(url: str, **settings: Any) -> BaseChatModel:
    values = {"model": "stub", "base_url": url, "seconds": 2.0, "retries": 0}
    return openai_compatible(ChatSettings.model_validate(values | settings))


async def asked(model: BaseChatModel, **options: Any) -> LLMResult:
    from langchain_core.messages import HumanMessage, SystemMessage

    return await model.agenerate([[SystemMessage("You are terse."), HumanMessage("Hello?")]], **options)


def refusal(settings: dict[str, Any]) -> str:
    """What is said of settings from which no model can be made."""
    with pytest.raises(ModelError) as caught:
        load_chat("judge", ChatSettings.model_validate({"model": "m"} | settings))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_packages_provider_is_found_by_its_entry_point() -> None:
    model = load_chat("judge", ChatSettings(provider="parrot", model="polly"))
    assert model.invoke("Who?").text == "polly"


def test_the_built_in_provider_comes_through_the_same_door(stub: Stub) -> None:
    model = load_chat("judge", ChatSettings(model="stub", base_url=stub.url))
    assert model.invoke("Who?").text == "Hello."


def test_what_cannot_be_loaded_says_why_and_what_would_be_right(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "'opnai' is unknown: did you mean 'openai'?" in refusal({"provider": "opnai"})
    assert "makes a str, no BaseChatModel" in refusal({"provider": "plant"})
    assert "parrots:broken (quintet.chats) makes no model: OSError: no feathers" in refusal({"provider": "broken"})
    assert 'key_env = "OPENAI_API_KEY"' in refusal({})
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    assert refusal({"key_env": "JUDGE_KEY"}).startswith("chats.judge: environment variable JUDGE_KEY")


def test_a_missing_package_is_named_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def lacking(name: str, *arguments: Any) -> Any:
        if name.partition(".")[0] in ("openai", "langchain_openai"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *arguments)

    monkeypatch.delitem(sys.modules, "quintet.models.endpoint", raising=False)
    monkeypatch.setattr(builtins, "__import__", lacking)
    assert 'package openai is not installed; run: pip install "quintet[openai]"' in refusal({"base_url": "http://h/v1"})


@pytest.mark.parametrize(
    "wrong", [{"base_url": "localhost:8000"}, {"seconds": 0}, {"structured": "yes"}, {"modle": "m"}, {"model": ""}]
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ChatSettings.model_validate({"model": "m"} | wrong)


def test_reading_a_config_imports_no_client() -> None:
    heavy = "any(name.startswith(('langchain', 'openai')) for name in sys.modules)"
    code = f"import sys, quintet.models.providers; sys.exit({heavy})"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


async def test_the_key_comes_from_its_variable_and_goes_nowhere_else(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "another secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    keyed, keyless = chat(stub.url, key_env="JUDGE_KEY"), chat(stub.url)
    await asked(keyed)
    await asked(keyless)
    assert [headers["authorization"] for headers in stub.headers] == [f"Bearer {KEY}", "Bearer none"]
    assert KEY not in repr(keyed) + str(keyed._get_invocation_params())


async def test_a_role_asks_at_its_temperature_and_within_its_tokens(stub: Stub) -> None:
    asks = asking(chat(stub.url), temperature=0.3, max_tokens=12)
    await asked(asks.model, **asks.options)
    [body] = stub.bodies
    assert (body["temperature"], body["max_tokens"], body["stream"]) == (0.3, 12, False)
    assert "max_completion_tokens" not in body
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


async def test_options_join_every_request_and_stand_above_the_roles_settings(stub: Stub) -> None:
    options = {"temperature": 1.0, "max_completion_tokens": 900, "top_p": 0.5, "chat_template_kwargs": {"think": False}}
    model = chat(stub.url, options=options)
    asks = asking(model, temperature=0.3, max_tokens=12)
    await asked(asks.model, **asks.options)
    [body] = stub.bodies
    assert {name: body[name] for name in options} == options
    assert "max_tokens" not in body
    shown = model._get_invocation_params()
    assert (shown["temperature"], shown["max_completion_tokens"]) == (1.0, 900), "the record shows what was sent"


async def test_openai_itself_is_asked_under_the_newer_name_of_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    model: Any = openai_compatible(ChatSettings(model="gpt-4o", key_env="JUDGE_KEY", options={"max_tokens": 5}))
    assert model.openai_api_base == "https://api.openai.com/v1"
    assert model._get_request_payload("Hello?")["max_tokens"] == 5
    model = openai_compatible(ChatSettings(model="gpt-4o", key_env="JUDGE_KEY"))
    assert asking(model, 0.5, 9).model._get_request_payload("Hello?")["max_completion_tokens"] == 9  # type: ignore[attr-defined]


async def test_a_schema_goes_along_where_the_endpoint_understands_it_and_into_words_elsewhere(stub: Stub) -> None:
    schema = Opinion.model_json_schema()
    told = asking(chat(stub.url, structured="schema"), 0.5, 9, schema)
    await asked(told.model, **told.options)
    wanted = stub.bodies[0]["response_format"]["json_schema"]
    assert (wanted["name"], wanted["strict"], told.words) == ("Opinion", True, "")
    assert wanted["schema"]["required"] == ["verdict", "why"]
    assert wanted["schema"]["additionalProperties"] is False
    assert wanted["schema"]["properties"]["verdict"]["maxLength"] == 8

    asked_in_words = asking(chat(stub.url), 0.5, 9, schema)
    assert "response_format" not in asked_in_words.options
    assert '"maxLength": 8' in asked_in_words.words
    assert asking(chat(stub.url), 0.5, 9).words == ""


async def test_a_reply_that_was_cut_off_is_still_a_reply(stub: Stub) -> None:
    stub.answer = says('{"verdict": "acc', finish="length")
    told = asking(chat(stub.url, structured="schema"), 0.5, 9, Opinion.model_json_schema())
    result = await asked(told.model, **told.options)
    [[generation]] = result.generations
    assert generation.text == '{"verdict": "acc'
    assert generation.generation_info
    assert generation.generation_info["finish"] == "length"
    assert "logprobs" not in generation.generation_info


def test_any_chat_model_can_be_asked_and_keeps_what_its_maker_set() -> None:
    class Warm(FakeListChatModel):
        temperature: float | None = None
        max_tokens: int | None = None

    asks: Any = asking(Warm(responses=["yes"], max_tokens=4000), 0.3, 12)
    assert (asks.model.temperature, asks.model.max_tokens, asks.options) == (0.3, 4000, {})
    plain = FakeListChatModel(responses=["yes"])
    assert asking(plain, 0.3, 12).model == plain


FAILURES: dict[str, tuple[Answer, str]] = {
    "error": (sends('{"error": {"message": "out of\\nmemory"}}', 500), "answered 500: out of memory"),
    "long error": (sends("words " * 500, 500, "text/plain"), "answered 500: words words"),
    "error without JSON": (sends("<html>\n<h1>Bad gateway</h1>", 502, "text/html"), "answered 502: Bad Gateway"),
    "refused request": (sends('{"detail": "Unexpected fields"}', 422), "answered 422: Unexpected fields"),
    "stall": (stalls, "gave no answer within 0.5 s"),
    "trickle": (trickles, "gave no answer within 0.5 s"),
    "no HTTP": (babbles, "cannot be reached: illegal status line"),
    "page": (sends("<html>Sign in</html>", kind="text/html"), "no chat completion: ValueError: Unexpected response"),
    "broken JSON": (sends('{"choices": ['), "no chat completion: JSONDecodeError"),
    "other JSON": (sends('{"hello": 1}'), "no chat completion: TypeError"),
    "no choice": (sends('{"choices": []}'), "answered with no choice"),
    "empty choice": (sends('{"choices": [{}]}'), "no chat completion: "),
    "strange choice": (sends('{"choices": [{"message": 3}]}'), "no chat completion: "),
    "refusal": (says(None, refusal="I will not."), "refused: I will not."),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_every_failure_is_one_line_that_names_the_endpoint_within_its_time(failure: str, stub: Stub) -> None:
    stub.answer, expected = FAILURES[failure]
    started = time.monotonic()
    with pytest.raises(ModelError) as caught:
        await asked(chat(stub.url, seconds=0.5))
    assert time.monotonic() - started < 2
    line = str(caught.value)
    assert line.startswith(f"stub at {stub.url} ")
    assert expected in line
    assert "\n" not in line
    assert len(line) <= 301


async def test_asked_without_an_event_loop_the_time_limit_holds_too(stub: Stub) -> None:
    stub.answer = trickles
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"gave no answer within 0\.5 s"):
        # Within a running loop, as in a notebook, where no other can run.
        chat(stub.url, seconds=0.5).invoke("Hello?")
    assert time.monotonic() - started < 2


async def test_an_endpoint_that_is_down_is_named() -> None:
    with endpoint(says("Hello.")) as stub:
        url = stub.url
    with pytest.raises(ModelError, match=f"stub at {url} cannot be reached: "):
        await asked(chat(url))


async def test_a_key_that_a_server_repeats_is_not_put_on_record(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    stub.answer = sends(f'{{"error": {{"message": "{KEY} is not welcome"}}}}', 401)
    with pytest.raises(ModelError, match=r"answered 401: \[key\] is not welcome"):
        await asked(chat(stub.url, key_env="JUDGE_KEY"))


async def test_a_busy_endpoint_is_asked_again(stub: Stub) -> None:
    busy, ready = sends('{"error": "busy"}', 503), says("Hello.")

    def answer(handler: Any, stub: Stub) -> None:
        (busy if len(stub.bodies) == 1 else ready)(handler, stub)

    stub.answer = answer
    result = await asked(chat(stub.url, retries=1, seconds=10))
    assert (result.generations[0][0].text, len(stub.bodies)) == ("Hello.", 2)


async def test_no_more_requests_are_open_than_the_endpoint_can_take(stub: Stub) -> None:
    def slow(handler: Any, stub: Stub) -> None:
        time.sleep(0.2)
        says("Hello.")(handler, stub)

    stub.answer = slow
    # Waiting for a turn takes longer than an answer may.
    model = chat(stub.url, parallel=2, seconds=0.5)
    copies = [asking(model, 0.1 * number, 9).model for number in range(10)]
    await asyncio.gather(*(asked(copy) for copy in copies))
    assert stub.most == 2


def test_the_same_holds_for_threads_without_an_event_loop(stub: Stub) -> None:
    def slow(handler: Any, stub: Stub) -> None:
        time.sleep(0.1)
        says("Hello.")(handler, stub)

    stub.answer = slow
    model = chat(stub.url, parallel=2)
    with ThreadPoolExecutor(6) as threads:
        assert {reply.content for reply in threads.map(model.invoke, ["Hello?"] * 6)} == {"Hello."}
    assert stub.most == 2


def test_a_limit_of_tokens_under_both_names_is_refused(stub: Stub) -> None:
    with pytest.raises(ModelError, match="both max_tokens and max_completion_tokens"):
        chat(stub.url, options={"max_tokens": 5, "max_completion_tokens": 6})


def test_one_model_serves_several_runs_each_with_an_event_loop_of_its_own(stub: Stub) -> None:
    model = chat(stub.url, parallel=1)

    async def several() -> None:
        await asyncio.gather(*(asked(model) for _ in range(3)))

    for _ in range(3):
        asyncio.run(several())
    assert len(stub.bodies) == 9
