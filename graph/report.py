"""What a run came to, read from the ledger: the rounds, the decisions, the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from quintet.evaluation.bandits import RULE, Arm
from quintet.evaluation.statistics import wilson
from quintet.memory.errors import LedgerError
from quintet.memory.ledger import RunInfo, RunLedger
from quintet.memory.reading.counting import RoundCounts, count_rounds
from quintet.memory.reading.sourcing import SourceCounts
from quintet.memory.workspace import Workspace
from quintet.records import Allocation, Curriculum, Decision, Evaluation, Monitors, Verification


class View(BaseModel):
    """Base of the report's parts: a docstring under each field documents it."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Score(View):
    """One adapter on one suite."""

    n: int
    """Items."""
    correct: int
    """Right by the lenient extractor."""
    strict: int
    """Right by the strict extractor."""
    low: float
    """Lower end of the 95 % Wilson interval of the share right (lenient)."""
    high: float


class Gate(Score):
    """The candidate on the gate suite, with both sides."""

    incumbent: Score
    candidate: Score


class Counts(View):
    """What the roles did in a round."""

    proposals_drawn: int
    proposals_invented: int
    """Invented by the model and accepted."""
    proposals_refused: dict[str, int]
    """Refused inventions by reason."""
    sources: dict[str, SourceCounts]
    """What became of the proposals of each source."""
    attempts_refused: dict[str, int]
    """Attempts not learnt from, by reason."""
    revised: int
    """Attempts that revise a failed one."""
    rescued: int
    """Of these, right ones."""
    recalls: int
    """Times a role recalled from memory."""
    memories: int
    """Memories recalled in all."""
    said: dict[str, int]
    """Replies of joined roles, by role."""
    lost: dict[str, int]
    """Replies that were lost, by role."""


class RoundReport(View):
    """One round."""

    round: int
    tasks: int
    attempts: int
    accepted: int
    """Attempts that the verifier accepts."""
    rows: int
    adapter: str | None
    decision: str
    """`promoted`, `rejected` or `none`."""
    reason: str
    levels: dict[str, int]
    """Training level by family."""
    shares: dict[str, dict[str, float]]
    """Share of the round by arm, of each thing that was shared out: `tasks`, `rows`; empty where nothing was."""
    steer: Score | None
    gate: Gate | None
    retention: Score | None
    effect: float
    effect_low: float
    effect_high: float
    p_value: float
    alpha: float
    counts: Counts
    monitors: dict[str, float]
    alarms: tuple[str, ...]
    seconds: float
    """Wall time, in seconds."""
    stages: dict[str, float]
    """Wall time by stage, in seconds."""
    tokens: int
    """Prompt and completion tokens of all model calls."""


class Side(View):
    """Base or promoted on the final suite."""

    correct: int
    strict: int


class Final(View):
    """The verdict on the final suite."""

    n: int
    base: Side
    promoted: Side | None
    effect: float
    effect_low: float
    effect_high: float
    p_value: float
    confidence: float
    """Level of the effect's interval."""
    opening: int
    """How often the run has opened a final suite."""


class Budget(View):
    """What the run took."""

    seconds: float
    """Wall time after set-up, over all sittings."""
    tokens: int
    peak_rss_mb: float
    """Peak resident memory, summed over the run's processes."""


class Report(View):
    """A run."""

    run: str
    status: str
    seed: int
    settings: dict[str, Any]
    rounds: tuple[RoundReport, ...]
    final: Final | None
    budget: Budget

    def table(self, width: int = 118) -> str:
        """The table of rounds and the verdict, as text of so many columns."""
        from quintet.graph.rendering import plain

        return plain(self, width)


def report(ledger: RunLedger, workspace: Workspace, counted: Mapping[int, RoundCounts] | None = None) -> Report:
    """The report of a run, finished or not.

    Args:
        ledger: The run.
        workspace: Where it lies.
        counted: What `count_rounds` found, where that is known already.
    """
    info = ledger.info
    verdicts = ledger.find(Verification)
    rounds = count_rounds(ledger) if counted is None else counted
    stages, tokens = ledger.stage_seconds(), ledger.role_tokens()
    return Report(
        run=info.run,
        status=state(info, workspace),
        seed=info.seed,
        settings=info.settings,
        rounds=tuple(
            _round(ledger, number, counts, stages.get(number, {}), sum(tokens.get(number, {}).values()))
            for number, counts in rounds.items()
        ),
        final=_final(ledger, verdicts[-1]) if verdicts else None,
        budget=Budget(seconds=info.seconds, tokens=info.tokens, peak_rss_mb=info.peak_rss_mb),
    )


def _round(ledger: RunLedger, number: int, counts: RoundCounts, stages: dict[str, float], tokens: int) -> RoundReport:
    decision = next(iter(ledger.find(Decision, round=number)), None)
    monitors = next(iter(ledger.find(Monitors, round=number)), None)
    before = next((c.levels for c in ledger.find(Curriculum, round=number - 1)), None)
    gates = _evaluations(ledger, decision)
    steer = [e for e in ledger.find(Evaluation, round=number) if e.suite == "steer"]
    return RoundReport(
        round=number,
        tasks=counts.tasks,
        attempts=counts.attempts,
        accepted=counts.right,
        rows=counts.rows,
        adapter=counts.adapter,
        decision="none" if decision is None or decision.candidate is None else _word(decision),
        reason=decision.reason if decision else "",
        levels=before or counts.levels,
        shares={_shared(one): one.shares for one in ledger.find(Allocation, round=number)},
        steer=_score(steer[-1]) if steer else None,
        gate=Gate(**_score(gates[1]).model_dump(), incumbent=_score(gates[0]), candidate=_score(gates[1]))
        if gates
        else None,
        retention=_score(gates[3]) if len(gates) > 3 else None,
        effect=decision.effect if decision else 0.0,
        effect_low=decision.effect_low if decision else 0.0,
        effect_high=decision.effect_high if decision else 0.0,
        p_value=decision.p_value if decision else 1.0,
        alpha=decision.alpha if decision else 0.0,
        counts=Counts(
            proposals_drawn=counts.drawn,
            proposals_invented=counts.invented,
            proposals_refused=counts.refused,
            sources=counts.sources,
            attempts_refused=counts.left_out,
            revised=counts.revised,
            rescued=counts.rescued,
            recalls=counts.recalls,
            memories=counts.memories,
            said=counts.said,
            lost=counts.lost,
        ),
        monitors=monitors.values if monitors else {},
        alarms=monitors.alarms if monitors else (),
        seconds=sum(stages.values()),
        stages=stages,
        tokens=tokens,
    )


def _shared(allocation: Allocation) -> str:
    """What an allocation shares out."""
    return "rows" if all(Arm.parse(arm).source == RULE for arm in allocation.shares) else "tasks"


def _word(decision: Decision) -> str:
    return "promoted" if decision.promoted else "rejected"


def _evaluations(ledger: RunLedger, decision: Decision | None) -> list[Evaluation]:
    """Gate of incumbent and candidate, retention of incumbent and candidate; empty without a candidate."""
    found = [ledger.get(id) for id in decision.evaluations] if decision else []
    return [evaluation for evaluation in found if isinstance(evaluation, Evaluation)]


def _score(evaluation: Evaluation) -> Score:
    low, high = wilson(evaluation.correct, evaluation.n)
    return Score(n=evaluation.n, correct=evaluation.correct, strict=evaluation.strict, low=low, high=high)


def _final(ledger: RunLedger, verdict: Verification) -> Final:
    from quintet.records import Opening

    base, opening = ledger.get(verdict.base), ledger.get(verdict.opening)
    promoted = ledger.get(verdict.promoted) if verdict.promoted else None
    if not isinstance(base, Evaluation) or not isinstance(opening, Opening):
        raise LookupError(f"the ledger lacks the evaluations of {verdict.id}")
    return Final(
        n=base.n,
        base=Side(correct=base.correct, strict=base.strict),
        promoted=Side(correct=promoted.correct, strict=promoted.strict) if isinstance(promoted, Evaluation) else None,
        effect=verdict.effect,
        effect_low=verdict.effect_low,
        effect_high=verdict.effect_high,
        p_value=verdict.p_value,
        confidence=ledger.info.settings.get("evaluation", {}).get("confidence", 0.95),
        opening=opening.number,
    )


class Overview(View):
    """A run in a list."""

    run: str
    status: str
    started: str
    """ISO 8601, UTC."""
    rounds: int
    """Rounds decided so far."""
    effect: float | None
    """Promoted minus base on the final suite; `None` before that is known."""


def overview(workspace: Path) -> list[Overview]:
    """The runs of a workspace, newest first."""
    try:
        place = Workspace.existing(workspace)
    except LedgerError:
        return []
    with place.ledger() as ledger:
        return [_overview(ledger.run(info.run), place) for info in ledger.runs()]


def state(info: RunInfo, workspace: Workspace) -> str:
    """A run's status; one that is said to run, but lives no more, was interrupted."""
    holder = workspace.holder()
    alive = holder is not None and holder.pid == info.pid
    return "interrupted" if info.status == "running" and not alive else info.status


def _overview(ledger: RunLedger, workspace: Workspace) -> Overview:
    verdicts, info = ledger.find(Verification), ledger.info
    return Overview(
        run=info.run,
        status=state(info, workspace),
        started=datetime.fromtimestamp(info.started, UTC).isoformat(timespec="seconds"),
        rounds=len(ledger.find(Decision)),
        effect=verdicts[-1].effect if verdicts else None,
    )
