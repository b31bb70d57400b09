"""Records that the memory tests write down."""

from __future__ import annotations

from quintet.records import BASE, Attempt, Call, Completion, Lesson, Message, Proposal, Record, Row, Split, Task


def make_task(question: str, family: str = "sums", split: Split = "train", level: int = 0) -> Task:
    return Task(family=family, level=level, question=question, canonical=question, truth={"answer": "1"}, split=split)


def make_call(
    request: str,
    error: str | None = None,
    round: int = 1,
    role: str = "solver",
    adapter: str = BASE,
    said: str = "Answer: 4",
) -> Call:
    replies = () if error else (Completion(text=said, tokens=(1, 2, 3), logprobs=(-0.1, -0.25, -1e-7)),)
    return Call(
        request=request,
        round=round,
        role=role,
        adapter=adapter,
        model="scripted",
        messages=(Message(role="user", content="2 + 2?"),),
        completions=replies,
        prompt_tokens=5,
        error=error,
    )


def proposed(task: Task, round: int, accepted: bool = True) -> list[Record]:
    """A task and the proposal that brings it into a round."""
    proposal = Proposal(
        round=round,
        origin="drawn",
        number=0,
        family=task.family,
        level=task.level,
        task=task.id,
        accepted=accepted,
        reason="new" if accepted else "too near",
    )
    return [task, proposal]


def made_attempt(task: Task, round: int, adapter: str = BASE) -> Attempt:
    """An attempt under an adapter."""
    said = {"text": "Answer: 1", "answer": "1", "strict_answer": "1"}
    return Attempt(round=round, task=task.id, call=f"call-{task.id}", sample=0, turn=0, adapter=adapter, **said)


def learnt(task: Task, round: int, text: str = "Carry the one.", attempt: str = "") -> list[Record]:
    """A lesson and a row about a task."""
    made = {"round": round, "task": task.id, "attempt": attempt or f"attempt-{text}"}
    lesson = Lesson(**made, critique="critique-1", text=text)
    row = Row(**made, selection="selection-1", prompt=(Message(role="user", content="q"),), completion=text)
    return [lesson, row]
