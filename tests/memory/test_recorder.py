"""Every model call is recorded, by any LangChain model, the failed ones with their reason."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel, FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from remembered import make_task

from quintet.memory.errors import LedgerError
from quintet.memory.ledger import RunLedger
from quintet.memory.recorder import Recorder
from quintet.memory.workspace import Workspace
from quintet.records import Call, Message

WHO = {"role": "solver", "round": 2, "task": "task-1", "turn": 1}


class Served(BaseChatModel):
    """Answers as Quintet's own engine does."""

    error: str | None = None

    @property
    def _llm_type(self) -> str:
        return "served"

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        info = {"tokens": [5, 6], "logprobs": [-0.5, -0.25], "behaviour_logprobs": [-0.5, 0.0], "finish": "length"}
        said = (
            []
            if self.error
            else [ChatGeneration(message=AIMessage(f"Answer: {k}"), generation_info=info) for k in range(3)]
        )
        output = {
            "request": "r" * 64,
            "model": "smollm2",
            "adapter": "adapter-1",
            "prompt_tokens": 11,
            "options": {"temperature": 0.5, "seed": "s"},
            "error": self.error,
        }
        return ChatResult(generations=said, llm_output=output)


class Broken(BaseChatModel):
    @property
    def _llm_type(self) -> str:
        return "broken"

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        raise ConnectionError("server\n  stalled")


class Reporting(BaseChatModel):
    @property
    def _llm_type(self) -> str:
        return "reporting"

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        usage = {"input_tokens": 20, "output_tokens": 7, "total_tokens": 27}
        message = AIMessage("hello", usage_metadata=usage, response_metadata={"finish_reason": "length"})
        return ChatResult(generations=[ChatGeneration(message=message, generation_info={"finish_reason": "length"})])


async def test_a_served_call_keeps_what_the_engine_says(run: RunLedger):
    task = make_task("2 + 2?")
    run.add(task)
    await Served().agenerate(
        [[SystemMessage("You add."), HumanMessage("2 + 2?")]],
        callbacks=[Recorder(run)],
        metadata={**WHO, "task": task.id},
    )
    (call,) = run.find(Call)
    assert call.request == "r" * 64
    assert (call.role, call.round, call.task, call.turn) == ("solver", 2, task.id, 1)
    assert (call.model, call.adapter, call.prompt_tokens, call.error) == ("smollm2", "adapter-1", 11, None)
    assert call.messages == (Message(role="system", content="You add."), Message(role="user", content="2 + 2?"))
    assert [completion.text for completion in call.completions] == ["Answer: 0", "Answer: 1", "Answer: 2"]
    assert call.completions[0].tokens == (5, 6)
    assert call.completions[0].behaviour_logprobs == (-0.5, 0.0)
    assert call.completions[0].finish == "length"
    assert call.options == {"temperature": 0.5, "seed": "s"}
    assert run.lookup("r" * 64) == call
    assert run.children(task.id) == [call.id]
    (event,) = run.events(kinds=[Call])
    assert event.tokens == 11 + 6
    assert event.seconds is not None
    assert event.seconds >= 0


async def test_any_langchain_model_is_recorded_under_a_stable_request(run: RunLedger, ledger: Any):
    async def ask(run: RunLedger, question: str, **who: Any) -> None:
        await FakeListChatModel(responses=["4"]).ainvoke(
            question, {"callbacks": [Recorder(run)], "metadata": {**WHO, **who}}
        )

    again = ledger.begin("again", 0, {})
    for one in (run, again):
        await ask(one, "2 + 2?")
        await ask(one, "2 + 3?")
        await ask(one, "2 + 2?", turn=2)
    assert len({call.request for call in run.find(Call)}) == 3
    assert run.digest() == again.digest()
    assert run.find(Call)[0].completions[0].text == "4"
    await ask(run, "2 + 2?")
    assert run.count(Call) == 3


async def test_the_caller_may_name_the_request(run: RunLedger):
    model = GenericFakeChatModel(messages=iter([AIMessage("4")]))
    await model.ainvoke("2 + 2?", {"callbacks": [Recorder(run)], "metadata": {**WHO, "request": "named"}})
    found = run.lookup("named")
    assert found is not None
    assert found.completions[0].text == "4"


async def test_a_failed_call_is_recorded_with_its_reason_and_the_error_goes_on(run: RunLedger):
    with pytest.raises(ConnectionError):
        await Broken().ainvoke("2 + 2?", {"callbacks": [Recorder(run)], "metadata": {**WHO, "request": "named"}})
    (call,) = run.find(Call)
    assert call.error == "ConnectionError: server stalled"
    assert call.completions == ()
    assert call.messages == (Message(role="user", content="2 + 2?"),)
    assert run.lookup("named") is None


async def test_a_reply_that_comes_after_a_failure_is_recorded_too(run: RunLedger):
    who = {"callbacks": [Recorder(run)], "metadata": WHO}
    await Served(error="out of time").agenerate([[HumanMessage("2 + 2?")]], **who)
    assert run.lookup("r" * 64) is None
    await Served().agenerate([[HumanMessage("2 + 2?")]], **who)
    found = run.lookup("r" * 64)
    assert found is not None
    assert found.error is None
    assert [call.error for call in run.find(Call)] == ["out of time", None]


async def test_two_prompts_at_once_are_two_calls(run: RunLedger):
    model = FakeListChatModel(responses=["a", "b"])
    await model.agenerate([[HumanMessage("1?")], [HumanMessage("2?")]], callbacks=[Recorder(run)], metadata=WHO)
    assert {call.messages[0].content for call in run.find(Call)} == {"1?", "2?"}


async def test_tokens_as_the_model_reports_them(run: RunLedger):
    await Reporting().ainvoke("hi", {"callbacks": [Recorder(run)], "metadata": WHO})
    (event,) = run.events(kinds=[Call])
    assert event.tokens == 27
    assert isinstance(event.record, Call)
    assert event.record.prompt_tokens == 20
    assert event.record.completions[0].finish == "length"


async def test_a_ledger_that_cannot_be_written_stops_the_call(run: RunLedger, workspace: Workspace):
    with sqlite3.connect(workspace.database) as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no room'); END")
    with pytest.raises(LedgerError, match="no room"):
        await FakeListChatModel(responses=["4"]).ainvoke("2?", {"callbacks": [Recorder(run)], "metadata": WHO})


async def test_nothing_of_a_finished_call_is_kept(run: RunLedger):
    recorder = Recorder(run)
    await FakeListChatModel(responses=["4"]).ainvoke("2?", {"callbacks": [recorder]})
    with pytest.raises(ConnectionError):
        await Broken().ainvoke("2?", {"callbacks": [recorder]})
    assert recorder._asked == {}
    assert run.count(Call) == 2
