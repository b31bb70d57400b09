"""The curator selects the attempts worth learning, each with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from quintet.agents import trajectories
from quintet.agents.allocating import ruled
from quintet.agents.contrasting import contrasts
from quintet.agents.metrics import ALWAYS, Candidate, scored
from quintet.agents.playing import environment
from quintet.agents.ranking import WORTH, beyond, over_share, weigh
from quintet.agents.rescoring import rescored
from quintet.agents.roles import RoundRole
from quintet.agents.settings import CuratorSettings
from quintet.agents.solver import Solver
from quintet.agents.table import STRICTNESS, Round
from quintet.records import Attempt, Call, Completion, Critique, Recall, Record, Reply, Row, Selection
from quintet.training.objective import LearnsFrom, learns_from

FEW_CHOICES = 10
"""Below this many possible answers a verdict leaks the answer, so a revised attempt yields no row."""


class Curator(RoundRole):
    """Chooses right attempts, the hardest and newest tasks first, within a budget of rows."""

    builtin: ClassVar[bool] = True
    after: ClassVar[str] = "proposer"

    @property
    def settings(self) -> CuratorSettings:
        """The curator's settings."""
        return self.table.settings.curator

    @property
    def _learns_from(self) -> LearnsFrom:
        return learns_from(self.table.training)

    async def act(self, round: Round) -> list[Record]:
        """A selection with its reason for every attempt of the round, and a row for each one chosen."""
        candidates = await self._candidates(round)
        refusals = {candidate.attempt.id: self._refusal(candidate) for candidate in candidates}
        if self.settings.weights:
            weigh([one for one in candidates if not refusals[one.attempt.id]], self.settings.weights)
        self._refuse_repeats(candidates, refusals)
        self._refuse_crowds(candidates, refusals)
        kept = [candidate for candidate in candidates if not refusals[candidate.attempt.id]]
        allocation, counts = ruled(self.table, round, self.settings.row_budget)
        rules = self._within_budget(kept, counts)
        for candidate in kept:
            if candidate.attempt.id not in rules:
                refusals[candidate.attempt.id] = "over the row budget"
        said: list[Record] = [allocation] if allocation else []
        for candidate in candidates:
            selection = Selection(
                round=round.number,
                task=candidate.task.id,
                attempt=candidate.attempt.id,
                chosen=not refusals[candidate.attempt.id],
                reason=refusals[candidate.attempt.id] or _praise(candidate),
                scores=candidate.scores,
                rule=rules.get(candidate.attempt.id, ""),
            )
            said.append(selection)
            if selection.chosen:
                said += self._rows(candidate, selection)
        if self._learns_from != "right":
            fit = [one for one in candidates if not self._unfit(one)]
            rows = [one for one in said if isinstance(one, Row)]
            said += contrasts(
                fit, rows, self._learns_from, self.settings.rows_per_task, Solver().sit(self.table).prompt
            )
        return [*said, *await rescored(self.table, round, self.settings.metrics, self.settings.rescore)]

    async def _candidates(self, round: Round) -> list[Candidate]:
        """Every attempt of the round with what is known of it, in a fixed order."""
        ledger = self.table.ledger
        tasks = {task.id: task for task in round.tasks}
        critiques = {critique.attempt: critique for critique in ledger.find(Critique, round=round.number)}
        attempts = [a for a in ledger.find(Attempt, round=round.number) if a.task in tasks and a.id in critiques]
        order = {task.id: place for place, task in enumerate(round.tasks)}
        attempts.sort(key=lambda a: (order[a.task], a.turn, a.revises or "", a.sample))
        solver = Solver().sit(self.table)
        candidates = [
            Candidate(
                round.number,
                attempt,
                critiques[attempt.id],
                tasks[attempt.task],
                self._completion(attempt),
                prompt=() if attempt.transitions else solver.prompt(tasks[attempt.task]),
                adapter=round.incumbent,
                rows=self._number(attempt),
            )
            for attempt in attempts
        ]
        await scored(candidates, list(dict.fromkeys((*ALWAYS, *self.settings.metrics))), self.table)
        return candidates

    def _completion(self, attempt: Attempt) -> Completion:
        if played := trajectories.moves(self.table.ledger, attempt):
            return trajectories.whole(attempt, played)
        call = self.table.ledger.get(attempt.call)
        if not isinstance(call, Call):
            return Completion(text=attempt.text, finish="error")
        return call.completions[attempt.sample]

    def _number(self, attempt: Attempt) -> int:
        """How many rows an attempt would give."""
        if not attempt.transitions:
            return 1
        return sum(move.learnable for move in trajectories.moves(self.table.ledger, attempt))

    def _refusal(self, candidate: Candidate) -> str:
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
        if attempt.revises and attempt.answer in self._recalled_answers(attempt):
            return "its answer stood in what was recalled"
        if attempt.revises and self._learns_from == "groups":
            return "revised: a group is of first attempts"
        unfit = self._unfit(candidate)
        if unfit:
            return unfit
        if scores["pass_rate"] > self.settings.easy:
            return "too easy"
        return self._out_of_bounds(scores)

    def _unfit(self, candidate: Candidate) -> str:
        """Why nothing can be learnt from an attempt, right or wrong; empty if something can."""
        task, scores = candidate.task, candidate.scores
        if task.split != "train":
            return "held out for evaluation"
        if self.table.examiner.families[task.family].proposal is None and not environment(self.table, task):
            # Typed tasks and environments are told apart by their canonical question; templates put unrelated numbers
            # close together.
            if scores["held_out_distance"] <= self.settings.duplicate_distance:
                return "too close to an evaluation item"
            if scores["novelty"] <= self.settings.duplicate_distance:
                return "near-duplicate of an earlier task"
        if candidate.completion.finish != "stop":
            return "cut off"
        if scores["tokens"] > self.settings.longest:
            return "too long"
        return ""

    def _recalled_answers(self, attempt: Attempt) -> set[str | None]:
        """Answers of the exemplars that were before the solver when it made this attempt.

        Told that it is wrong, a small model says what it has just read: that this is right now and then proves nothing.
        """
        ledger = self.table.ledger
        recalls = ledger.find(Recall, round=attempt.round, task=attempt.task)
        sources = {id for recall in recalls if recall.turn == attempt.turn for id in recall.sources}
        rows = {row.attempt for row in ledger.get_many(sources).values() if isinstance(row, Row)}
        return {one.answer for one in ledger.get_many(rows).values() if isinstance(one, Attempt)}

    def _out_of_bounds(self, scores: dict[str, float]) -> str:
        """The first bound of the settings that the scores break; empty if none."""
        for name, bound in self.settings.at_least.items():
            if scores[name] < bound:
                return f"{name} below {bound:g}"
        for name, bound in self.settings.at_most.items():
            if scores[name] > bound:
                return f"{name} above {bound:g}"
        return ""

    def _within_budget(self, kept: Sequence[Candidate], counts: Mapping[str, int]) -> dict[str, str]:
        """The attempts that the row budget holds, each with the rule that chose it, if rules share it out.

        Args:
            kept: Attempts worth learning.
            counts: How many rows each rule may choose; they take turns.
        """
        if not counts or sum(one.rows for one in kept) <= self.settings.row_budget:
            # Where there is room for all, no rule has made a difference.
            ranked = self._ranked(kept, self.settings.prefer)
            out = {one.attempt.id for one in beyond(ranked, lambda one: None, self.settings.row_budget)}
            return {one.attempt.id: "" for one in ranked if one.attempt.id not in out}
        rankings = {rule: iter(self._ranked(kept, self.settings.rules[rule])) for rule in sorted(counts)}
        left = dict(counts)
        chosen: dict[str, str] = {}
        while any(left.values()):
            for rule, ranking in rankings.items():
                # What does not fit now never will.
                fits = (one for one in ranking if one.attempt.id not in chosen and one.rows <= left[rule])
                if left[rule] and (best := next(fits, None)) is not None:
                    chosen[best.attempt.id] = rule
                    left[rule] -= best.rows
                else:
                    left[rule] = 0
        return chosen

    def _ranked(self, candidates: Sequence[Candidate], prefer: Sequence[str]) -> list[Candidate]:
        """What is learnt first at the front; the id breaks ties, the same way in every run."""
        signs = [(-1.0, name[1:]) if name.startswith("-") else (1.0, name) for name in prefer]
        return sorted(candidates, key=lambda one: (*(sign * one.scores[name] for sign, name in signs), one.attempt.id))

    def _objection(self, attempt: Attempt) -> str:
        """A joined role's verdict against an attempt that the verifier accepts."""
        replies = self.table.ledger.find(Reply, round=attempt.round, task=attempt.task)
        against = [r for r in replies if r.turn == attempt.turn and r.verdict in ("revise", "reject")]
        if not against:
            return ""
        strictest = max(against, key=lambda reply: STRICTNESS.index(reply.verdict or "accept"))
        return f"{strictest.role} said {strictest.verdict}"

    def _refuse_repeats(self, candidates: list[Candidate], refusals: dict[str, str]) -> None:
        """Of one task, keep different texts only, the shortest or worthiest first, no more than the settings allow."""
        texts: dict[str, set[str]] = {}
        for candidate in sorted(candidates, key=lambda c: (-c.scores.get(WORTH, 0.0), c.scores["tokens"])):
            if refusals[candidate.attempt.id]:
                continue
            kept = texts.setdefault(candidate.task.id, set())
            text = " ".join(candidate.attempt.text.split())
            if text in kept:
                refusals[candidate.attempt.id] = "duplicate of another attempt"
            elif len(kept) >= self.settings.rows_per_task:
                refusals[candidate.attempt.id] = "enough rows of this task"
            else:
                kept.add(text)

    def _refuse_crowds(self, candidates: list[Candidate], refusals: dict[str, str]) -> None:
        """Hold answers to their share of a family's rows, and families to theirs of the budget, as the settings say."""
        settings = self.settings

        def kept() -> list[Candidate]:
            return self._ranked([one for one in candidates if not refusals[one.attempt.id]], settings.prefer)

        if settings.per_answer < 1:
            open_ = [one for one in kept() if one.task.choices is None or one.task.choices >= FEW_CHOICES]
            for family in sorted({one.task.family for one in open_}):
                ranked = [one for one in open_ if one.task.family == family]
                for one in over_share(ranked, lambda one: one.attempt.answer, settings.per_answer):
                    refusals[one.attempt.id] = "over its answer's share of the family's rows"
        if settings.per_family < 1:
            most = max(1, int(settings.per_family * settings.row_budget))
            for one in beyond(kept(), lambda one: one.task.family, most):
                refusals[one.attempt.id] = "over its family's share of the row budget"

    def _rows(self, candidate: Candidate, selection: Selection) -> list[Row]:
        """The training example: the first attempt's prompt, whatever turn the words were found in.

        A trajectory gives one for each of its actions.
        """
        attempt, task, solver = candidate.attempt, candidate.task, Solver().sit(self.table)
        if family := environment(self.table, task):
            played = trajectories.moves(self.table.ledger, attempt)
            return trajectories.rows(solver.opening(), solver.say, family, task, attempt, selection, played)
        row = Row(
            round=attempt.round,
            task=task.id,
            attempt=attempt.id,
            selection=selection.id,
            prompt=solver.prompt(task),
            completion=attempt.text,
            tokens=candidate.completion.tokens,
        )
        return [row]


def _praise(candidate: Candidate) -> str:
    rescued = "right after revision" if candidate.attempt.revises else "right"
    known = f"{rescued}; pass rate {candidate.scores['pass_rate']:.2f}, novelty {candidate.scores['novelty']:.2f}"
    known += ", truth by agreement" if candidate.task.grounding == "agreement" else ""
    return known + (f", worth {candidate.scores[WORTH]:.2f}" if WORTH in candidate.scores else "")
