"""A long run that nobody waited for: plausible records by the hundred thousand, for what must stay quick.

Nothing in it was computed by a model; the links between the records, their columns and their proportions are those of
a real run.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

from quintet.evaluation.gate import decide, verify_final
from quintet.graph.settings import Settings
from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.records import (
    BASE,
    Adapter,
    Answer,
    Attempt,
    Call,
    Completion,
    Critique,
    Curriculum,
    Decision,
    Evaluation,
    Lesson,
    Message,
    Monitors,
    Opening,
    Proposal,
    Recall,
    Recalled,
    Record,
    Reply,
    Row,
    Selection,
    Split,
    Stage,
    Suite,
    Task,
    Verification,
)

FAMILIES = ("chain_sum", "products", "gcd")
ITEMS: dict[Split, int] = {"gate": 192, "retention": 120, "steer": 96, "final": 288}
SAMPLES = 2
REVISED = 0.1
"""Share of the tasks with a second turn."""
SECONDS = {"propose": 0.4, "episodes": 130.0, "curate": 2.5, "approve": 0.0, "train": 40.0, "evaluate": 30.0}


def many_run(workspace: Path, rounds: int = 10, tasks: int = 1000, name: str = "many-1") -> Path:
    """Write a finished run into a workspace, about ten events a task and round; returns the workspace.

    Its adapters stand in the ledger only: no weights lie on the disk. A role named `skeptic` replied now and then, but
    no file that it joined from is named in the settings.

    Args:
        workspace: Its folder, made where there is none; it may hold other runs.
        rounds: Rounds, each with an adapter; every second one is promoted.
        tasks: Tasks of a round.
        name: The run's.
    """
    settings = Settings.compose(
        {
            "name": "many",
            "rounds": rounds,
            "proposer": {"tasks": tasks // len(FAMILIES), "invented": 8},
            "solver": {"samples": SAMPLES},
            "evaluation": {f"{suite}_items": n for suite, n in ITEMS.items()},
        }
    )
    with Workspace(workspace).ledger() as ledgers:
        ledger = ledgers.begin(name, 0, {**settings.model_dump(mode="json"), "joined": [], "data": {}})
        made = _Made(ledger, settings)
        for number in range(1, rounds + 1):
            made.round(number, tasks)
        made.finish(rounds)
        seconds = sum(SECONDS.values()) * rounds
        ledger.update(status="finished", seconds=seconds, tokens=ledger.tokens(), peak_rss_mb=3004.3)
    return workspace


class _Made:
    """The run as far as it is written."""

    def __init__(self, ledger: RunLedger, settings: Settings) -> None:
        self.ledger, self.settings = ledger, settings
        self.random = random.Random(0)
        self.incumbent = BASE
        self.levels = dict.fromkeys(FAMILIES, 1)
        self.skill = {BASE: 0.2}
        """Share right, by adapter."""
        self.tested: list[Decision] = []
        self.asked = itertools.count()
        self.items = {suite: [self._task(suite, n) for n in range(ITEMS[suite])] for suite in ("retention", "steer")}
        ledger.add(*(task for tasks in self.items.values() for task in tasks))

    def round(self, number: int, tasks: int) -> None:
        """Everything of one round, in the order in which a real one records it."""
        ledger = self.ledger
        asked = [self._task("train", number * 100_000 + n) for n in range(tasks)]
        ledger.add(*(record for n, task in enumerate(asked) for record in self._proposed(number, n, task)))
        self._end("propose", number)
        episodes = [list(self._episode(number, task)) for task in asked]
        ledger.add(*itertools.chain.from_iterable(episodes))
        self._end("episodes", number)
        attempts = [record for episode in episodes for record in episode if isinstance(record, Attempt)]
        right = {
            record.attempt
            for episode in episodes
            for record in episode
            if isinstance(record, Critique) and record.correct
        }
        chosen = list(self._curated(number, attempts, right))
        ledger.add(*chosen)
        for stage in ("curate", "approve"):
            self._end(stage, number)
        rows = tuple(record.id for record in chosen if isinstance(record, Row))
        adapter = Adapter(
            round=number,
            start=self.incumbent,
            rows=rows,
            recipe=self.settings.training.recipe(),
            weights=hashlib.sha256(f"{ledger.run} {number}".encode()).hexdigest(),
            metrics={
                "first_loss": 0.9 / number,
                "last_loss": 0.5 / number,
                "rows": float(len(rows)),
                "left_out": 0.0,
                "tokens": 120.0 * len(rows),
                "steps": float(2 * len(rows) // 8),
            },
        )
        self.skill[adapter.id] = self.skill[self.incumbent] + (0.12 if number % 2 else 0.0)
        ledger.add(adapter)
        self._end("train", number)
        self._decided(number, adapter.id)

    def finish(self, number: int) -> None:
        """The final suite."""
        tasks = [self._task("final", n) for n in range(ITEMS["final"])]
        opening = Opening(round=number, number=1, tasks=tuple(task.id for task in tasks))
        self.ledger.add(*tasks, opening)
        base = self._evaluated("final", BASE, tasks, number)
        promoted = self._evaluated("final", self.incumbent, tasks, number) if self.incumbent != BASE else None
        verdict: Verification = verify_final(opening, base, promoted, self.settings.evaluation)
        self.ledger.add(verdict)
        self._end("finish", number)

    def _task(self, split: Split, number: int) -> Task:
        family = FAMILIES[number % len(FAMILIES)]
        first, second = self.random.randrange(10, 100), self.random.randrange(10, 100)
        return Task(
            family=family,
            level=self.levels[family] if split == "train" else 2 + number // len(FAMILIES) % 2,
            question=f"State the final answer to problem {number} of {split}: {first} + {second} =",
            canonical=f"{split} {number}: {first}+{second}",
            truth={"answer": str(first + second), "metadata": {}},
            split=split,
        )

    def _proposed(self, round: int, number: int, task: Task) -> Iterator[Record]:
        yield task
        values = {"round": round, "number": number, "family": task.family, "level": task.level}
        yield Proposal(**values, origin="drawn", task=task.id, accepted=True, reason="grounded")
        if number % 20 == 0:
            reason = self.random.choice(["duplicate", "no such question", "too easy"])
            yield Proposal(**values, origin="invented", content='{"first": 3}', accepted=False, reason=reason)

    def _call(self, round: int, role: str, task: Task, texts: list[str], turn: int = 0, adapter: str = "") -> Call:
        tokens = tuple(self.random.randrange(49_000) for _ in range(14))
        return Call(
            request=hashlib.sha256(f"{self.ledger.run} {next(self.asked)}".encode()).hexdigest(),
            round=round,
            role=role,
            task=task.id,
            turn=turn,
            model="smollm2-135m",
            adapter=adapter or self.incumbent,
            messages=(
                Message(role="system", content="You solve short problems."),
                Message(role="user", content=f"{task.question}\nEnd with: Answer: <final answer>"),
            ),
            options={"temperature": 0.8, "top_k": 20, "max_tokens": 48, "n": len(texts), "seed": "0", "schema": None},
            completions=tuple(
                Completion(text=text, tokens=tokens, logprobs=(-0.25,) * 14, behaviour_logprobs=(-0.125,) * 14)
                for text in texts
            ),
            prompt_tokens=60,
        )

    def _attempts(self, round: int, task: Task, call: Call, turn: int = 0, revises: str | None = None) -> list[Record]:
        found: list[Record] = []
        for sample, completion in enumerate(call.completions):
            answer = completion.text.rpartition(" ")[2].rstrip(".")
            attempt = Attempt(
                round=round,
                task=task.id,
                call=call.id,
                sample=sample,
                turn=turn,
                revises=revises,
                adapter=self.incumbent,
                text=completion.text,
                answer=answer,
                strict_answer=answer if completion.text.startswith("Answer:") else None,
            )
            correct = answer == task.truth["answer"]
            critique = Critique(
                round=round,
                task=task.id,
                attempt=attempt.id,
                score=float(correct),
                correct=correct,
                strict=correct and attempt.strict_answer is not None,
                verdict="accept" if correct else "revise" if turn == 0 else "reject",
                feedback="" if correct else "Add the tens first, then the ones.",
            )
            found += [attempt, critique]
        return found

    def _said(self, task: Task, skill: float, form: str = "The answer is {}.") -> str:
        right = self.random.random() < skill
        return form.format(task.truth["answer"] if right else self.random.randrange(10, 200))

    def _episode(self, round: int, task: Task) -> Iterator[Record]:
        skill = self.skill[self.incumbent]
        call = self._call(round, "solver", task, [self._said(task, skill) for _ in range(SAMPLES)])
        first = self._attempts(round, task, call)
        yield call
        yield from first
        if self.random.random() > REVISED:
            return
        yield Reply(round=round, role="skeptic", task=task.id, content={"doubt": "Are the tens right?"}, verdict=None)
        yield Recall(
            round=round,
            role="solver",
            task=task.id,
            turn=1,
            query=task.question,
            items=(Recalled(id=first[0].id, distance=0.25),),
            sources=(first[0].id,),
        )
        again = self._call(round, "solver", task, [self._said(task, skill, "Answer: {}")], turn=1)
        yield again
        revised = self._attempts(round, task, again, 1, first[0].id)
        yield from revised
        judged = revised[1]
        if isinstance(judged, Critique) and judged.correct:
            text = "This advice helped: add the tens first."
            yield Lesson(round=round, task=task.id, attempt=revised[0].id, critique=first[1].id, text=text)

    def _curated(self, round: int, attempts: list[Attempt], right: set[str]) -> Iterator[Record]:
        for attempt in attempts:
            correct = attempt.id in right
            chosen = correct and self.random.random() < 0.5
            reason = "right; pass rate 0.50, novelty 0.10" if chosen else "enough rows" if correct else "wrong answer"
            selection = Selection(
                round=round,
                task=attempt.task,
                attempt=attempt.id,
                chosen=chosen,
                reason=reason,
                scores={"correct": float(correct), "pass_rate": 0.5, "novelty": 0.1, "tokens": 14.0},
            )
            yield selection
            if chosen:
                yield Row(
                    round=round,
                    task=attempt.task,
                    attempt=attempt.id,
                    selection=selection.id,
                    prompt=(Message(role="user", content="State the final answer."),),
                    completion=attempt.text,
                    tokens=tuple(range(14)),
                )

    def _evaluated(self, suite: Suite, adapter: str, tasks: list[Task], round: int) -> Evaluation:
        texts = [self._said(task, self.skill[adapter]) for task in tasks]
        calls = [
            self._call(round, "evaluation", task, [text], adapter=adapter)
            for task, text in zip(tasks, texts, strict=True)
        ]
        answers = []
        for task, text in zip(tasks, texts, strict=True):
            answer = text.rpartition(" ")[2].rstrip(".")
            right = answer == task.truth["answer"]
            answers.append(
                Answer(task=task.id, text=text, answer=answer, score=float(right), correct=right, strict=False)
            )
        ids = tuple(task.id for task in tasks)
        found = Evaluation(round=round, suite=suite, adapter=adapter, tasks=ids, answers=tuple(answers))
        self.ledger.add(*calls, found)
        return found

    def _decided(self, number: int, candidate: str) -> None:
        gate = [self._task("gate", number * 100_000 + n) for n in range(ITEMS["gate"])]
        self.ledger.add(*gate)
        four = [
            self._evaluated(suite, adapter, tasks, number)
            for suite, tasks in (("gate", gate), ("retention", self.items["retention"]))
            for adapter in (self.incumbent, candidate)
        ]
        self._evaluated("steer", candidate, self.items["steer"], number)
        self._end("evaluate", number)
        decision = decide(number, candidate, self.incumbent, *four, self.settings.evaluation, self.tested)  # type: ignore[arg-type]
        if decision.promoted != bool(number % 2):
            # A test may wait for it: every second adapter is promoted, whatever chance made of its items.
            reason = f"{'promoted' if number % 2 else 'rejected'}: for the test"
            decision = decision.with_(promoted=bool(number % 2), reason=reason)
        self.tested.append(decision)
        share = self.skill[self.incumbent]
        curriculum = Curriculum(
            round=number,
            levels=self.levels,
            reason="; ".join(f"{family} stays at 1 ({share:.0%} right at 1)" for family in FAMILIES),
            evidence=dict.fromkeys(FAMILIES, share),
        )
        values = {"pass@1": share, "pass@2": share * 1.4, "strict": 0.01, "selected": 0.2, "completion_tokens": 14.0}
        values |= {"truncated": 0.01, "empty": 0.0, "distinct": 0.6, "contaminated": 0.0}
        values |= {f"rows.{family}": 60.0 for family in FAMILIES}
        watch = Monitors(round=number, values=values, alarms=("truncated: 60% cut off",) if number == 3 else ())
        self.ledger.add(decision, curriculum, watch, Stage(round=number, name="decide"))
        if decision.promoted:
            self.incumbent = candidate

    def _end(self, stage: str, number: int) -> None:
        if stage != "approve":
            self.ledger.add(Stage(round=number, name=stage), seconds=SECONDS.get(stage, 20.0))
