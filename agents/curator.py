"""The curator selects the attempts worth learning, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from quintet.agents.roles import RoundRole
from quintet.agents.settings import CuratorSettings
from quintet.agents.solver import Solver
from quintet.agents.table import STRICTNESS, Round
from quintet.records import Attempt, Call, Critique, Record, Reply, Row, Selection, Task

FEW_CHOICES = 10
"""Below this many possible answers a verdict leaks the answer, so a revised attempt yields no row."""


@dataclass
class _Candidate:
    attempt: Attempt
    critique: Critique
    task: Task
    scores: dict[str, float]
    refusal: str = ""


class Curator(RoundRole):
    """Chooses right attempts, the hardest and newest tasks first, within a budget of rows."""

    builtin: ClassVar[bool] = True
    after: ClassVar[str] = "proposer"

    @property
    def settings(self) -> CuratorSettings:
        """The curator's settings."""
        return self.table.settings.curator

    async def act(self, round: Round) -> list[Record]:
        """A selection with its reason for every attempt of the round, and a row for each one chosen."""
        candidates = await self._candidates(round)
        for candidate in candidates:
            candidate.refusal = self._refusal(candidate)
        self._refuse_repeats(candidates)
        kept = [candidate for candidate in candidates if not candidate.refusal]
        kept.sort(key=lambda c: (c.scores["pass_rate"], -c.scores["novelty"], c.attempt.id))
        for candidate in kept[self.settings.row_budget :]:
            candidate.refusal = "over the row budget"
        said: list[Record] = []
        for candidate in candidates:
            selection = Selection(
                round=round.number,
                task=candidate.task.id,
                attempt=candidate.attempt.id,
                chosen=not candidate.refusal,
                reason=candidate.refusal or _praise(candidate),
                scores=candidate.scores,
            )
            said.append(selection)
            if selection.chosen:
                said.append(self._row(candidate, selection))
        return said

    async def _candidates(self, round: Round) -> list[_Candidate]:
        """Every attempt of the round with what is known of it, in a fixed order."""
        ledger = self.table.ledger
        tasks = {task.id: task for task in round.tasks}
        critiques = {critique.attempt: critique for critique in ledger.find(Critique, round=round.number)}
        attempts = [a for a in ledger.find(Attempt, round=round.number) if a.task in tasks and a.id in critiques]
        order = {task.id: place for place, task in enumerate(round.tasks)}
        attempts.sort(key=lambda a: (order[a.task], a.turn, a.revises or "", a.sample))
        novelty = await self.table.memory.novelty([t.question for t in round.tasks], Task, before=round.number)
        new = dict(zip(tasks, novelty, strict=True))
        # Evaluation items are remembered as of before the first round.
        far = await self.table.memory.novelty([t.question for t in round.tasks], Task, before=0)
        apart = dict(zip(tasks, far, strict=True))
        rates: dict[str, list[bool]] = {}
        for attempt in attempts:
            if attempt.turn == 0:
                rates.setdefault(attempt.task, []).append(critiques[attempt.id].correct)
        return [
            _Candidate(
                attempt,
                critiques[attempt.id],
                tasks[attempt.task],
                {
                    "correct": float(critiques[attempt.id].correct),
                    "pass_rate": round_(sum(rates[attempt.task]) / len(rates[attempt.task])),
                    "novelty": round_(new[attempt.task]),
                    "held_out_distance": round_(apart[attempt.task]),
                    "tokens": float(self._tokens(attempt)[1]),
                },
            )
            for attempt in attempts
        ]

    def _refusal(self, candidate: _Candidate) -> str:
        """Why an attempt is not worth learning; empty if it is."""
        attempt, critique, task, scores = candidate.attempt, candidate.critique, candidate.task, candidate.scores
        if critique.error:
            return "could not be verified"
        if not critique.correct:
            return "wrong answer" if attempt.answer else "no answer"
        objection = self._objection(attempt)
        if objection:
            return objection
        if attempt.revises and task.choices is not None and task.choices < FEW_CHOICES:
            return "few choices: the verdict gave the answer away"
        if task.split != "train":
            return "held out for evaluation"
        if self.table.examiner.families[task.family].proposal is None:
            # Typed tasks are told apart by their canonical question; templates put unrelated numbers close together.
            if scores["held_out_distance"] <= self.settings.duplicate_distance:
                return "too close to an evaluation item"
            if scores["novelty"] <= self.settings.duplicate_distance:
                return "near-duplicate of an earlier task"
        if not self._tokens(attempt)[0]:
            return "cut off"
        if scores["tokens"] > self.settings.longest:
            return "too long"
        if scores["pass_rate"] > self.settings.easy:
            return "too easy"
        return ""

    def _objection(self, attempt: Attempt) -> str:
        """A joined role's verdict against an attempt that the verifier accepts."""
        replies = self.table.ledger.find(Reply, round=attempt.round, task=attempt.task)
        against = [r for r in replies if r.turn == attempt.turn and r.verdict in ("revise", "reject")]
        if not against:
            return ""
        strictest = max(against, key=lambda reply: STRICTNESS.index(reply.verdict or "accept"))
        return f"{strictest.role} said {strictest.verdict}"

    def _tokens(self, attempt: Attempt) -> tuple[bool, int]:
        """Whether an attempt ended by itself, and its length in tokens."""
        call = self.table.ledger.get(attempt.call)
        if not isinstance(call, Call):
            return False, 0
        completion = call.completions[attempt.sample]
        return completion.finish == "stop", len(completion.tokens)

    def _refuse_repeats(self, candidates: list[_Candidate]) -> None:
        """Of one task, keep different texts only, the shortest first, and no more than the settings allow."""
        texts: dict[str, set[str]] = {}
        for candidate in sorted(candidates, key=lambda c: c.scores["tokens"]):
            if candidate.refusal:
                continue
            kept = texts.setdefault(candidate.task.id, set())
            text = " ".join(candidate.attempt.text.split())
            if text in kept:
                candidate.refusal = "duplicate of another attempt"
            elif len(kept) >= self.settings.rows_per_task:
                candidate.refusal = "enough rows of this task"
            else:
                kept.add(text)

    def _row(self, candidate: _Candidate, selection: Selection) -> Row:
        """The training example: the first attempt's prompt, whatever turn the words were found in."""
        attempt, task = candidate.attempt, candidate.task
        call = self.table.ledger.get(attempt.call)
        tokens = call.completions[attempt.sample].tokens if isinstance(call, Call) else ()
        return Row(
            round=attempt.round,
            task=task.id,
            attempt=attempt.id,
            selection=selection.id,
            prompt=Solver().sit(self.table).prompt(task),
            completion=attempt.text,
            tokens=tokens,
        )


def round_(value: float) -> float:
    """Six decimals: enough to rank by, and alike wherever it is computed."""
    return round(float(value), 6)


def _praise(candidate: _Candidate) -> str:
    rescued = "right after revision" if candidate.attempt.revises else "right"
    return f"{rescued}; pass rate {candidate.scores['pass_rate']:.2f}, novelty {candidate.scores['novelty']:.2f}"
