"""A record of every kind, linked as in a run, with a text in it that must never be read as HTML."""

from __future__ import annotations

from quintet.records import (
    KINDS,
    Adapter,
    Allocation,
    Answer,
    Attempt,
    Baseline,
    Call,
    Completion,
    Contrast,
    Critique,
    Curation,
    Curriculum,
    Decision,
    Evaluation,
    Experience,
    Handover,
    Lesson,
    Message,
    Monitors,
    Opening,
    Persona,
    Proposal,
    Recall,
    Recalled,
    Record,
    Reply,
    Rescore,
    Retirement,
    Reward,
    Rollback,
    Row,
    Selection,
    Skill,
    Stage,
    Task,
    Transition,
    Verification,
)

OURS = frozenset(kind for kind, record in KINDS.items() if record.__module__.startswith("quintet.records."))
"""All kinds but those that other tests define."""

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}"


def every_kind(said: str = HOSTILE, round: int = 7) -> dict[str, Record]:
    """By kind; each says the text wherever it has words of its own."""
    task = Task(family="sums", level=1, question=f"What is {said}?", canonical=said, truth={"answer": f"hidden {said}"})
    call = Call(
        request=f"request {said}",
        round=round,
        role="solver",
        task=task.id,
        model="tiny",
        messages=(Message(role="system", content=said), Message(role="user", content=task.question)),
        options={"temperature": 0.5, "schema": {"title": said}},
        completions=(
            Completion(text=said, tokens=(5, 6, 7), logprobs=(-0.5, -1.0, -1.5)),
            Completion(text=f"{said} again", finish="length"),
        ),
        prompt_tokens=3,
    )
    attempt = Attempt(
        round=round, task=task.id, call=call.id, sample=0, turn=0, text=said, answer=said, strict_answer=None
    )
    about = {"round": round, "task": task.id, "attempt": attempt.id}
    critique = Critique(**about, score=1.0, correct=True, strict=False, verdict="accept", feedback=said, error=said)
    lesson = Lesson(**about, critique=critique.id, text=said)
    selection = Selection(**about, chosen=True, reason=f"right; {said}", scores={"correct": 1.0, said: 0.25})
    row = Row(**about, selection=selection.id, prompt=call.messages, completion=said, tokens=(5, 6), weight=0.5)
    contrast = Contrast(**about, prompt=call.messages, completion=f"{said} again", tokens=(5, 7), reward=0.25)
    experience = Experience(
        round=round,
        role=said,
        about=task.id,
        call=call.id,
        prompt=call.messages,
        completion=said,
        reward=0.75,
        baseline=0.5,
    )
    adapter = Adapter(
        round=round,
        rows=(row.id,),
        contrasts=(contrast.id,),
        experiences=(experience.id,),
        recipe={"objective": said, "options": {said: 1}},
        weights="ab" * 32,
        metrics={},
    )
    answer = Answer(task=task.id, text=said, answer=said, score=1.0, correct=True, strict=True)
    base = Evaluation(round=round, suite="gate", tasks=(task.id,), answers=(answer,))
    better = Evaluation(round=round, suite="gate", adapter=adapter.id, tasks=(task.id,), answers=(answer,))
    decision = Decision(
        round=round,
        candidate=adapter.id,
        promoted=True,
        reason=f"promoted: {said}",
        evaluations=(base.id, better.id),
        won=41,
        lost=6,
        effect=0.156,
        p_value=4e-7,
        alpha=0.05,
    )
    opening = Opening(round=round, number=9, tasks=(task.id,))
    records: list[Record] = [
        task,
        Proposal(
            round=round,
            origin="invented",
            number=0,
            family="sums",
            level=1,
            task=task.id,
            content=said,
            accepted=True,
            reason=said,
        ),
        Recall(
            round=round,
            role="solver",
            task=task.id,
            query=said,
            items=(Recalled(id=lesson.id, distance=0.25),),
            sources=(lesson.id,),
        ),
        Reward(round=round, role=said, about=task.id, value=0.75, reason=said),
        Curation(round=round, family=said, read=3, kept=2, rejected={said: 1}, examples={said: said}, file=said),
        Allocation(round=round, shares={said: 1.0}, reason=said, evidence={said: {said: 0.5}}),
        call,
        Transition(round=round, task=task.id, number=0, call=call.id, sample=0, action=said, observation=said),
        attempt,
        critique,
        Reply(round=round, role=said, task=task.id, content={"why": said, "deep": {"x": [said]}}, verdict="revise"),
        lesson,
        Skill(**about, name=said, about=said, code=said),
        Persona(round=round, role=said, text=said, kept=True, reason=said),
        Retirement(round=round, memory=lesson.id, retired=True, reason=said, number=1),
        selection,
        row,
        contrast,
        Rescore(round=round, row=row.id, scores={said: 0.5}),
        Baseline(round=round, role=said, family=said, value=0.5, mean=0.25, rewards=3),
        experience,
        Handover(round=round, role=said, adapter=adapter.id, reason=said),
        adapter,
        better,
        decision,
        Rollback(round=round, retired=(adapter.id,), reason=said, number=1),
        Curriculum(round=round, levels={said: 2}, reason=said, evidence={said: 0.5}),
        Monitors(round=round, values={said: 0.5}, alarms=(said,)),
        opening,
        Verification(round=round, opening=opening.id, base=base.id, promoted=better.id, effect=0.1),
        Stage(round=round, name=said),
    ]
    return {record.kind: record for record in records} | {"base evaluation": base}
