"""A round's watch for the known failures: collapse, forgetting, format-only gain, contamination.

Monitors read records and write one; they warn, and only the gate decides.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Sequence
from statistics import fmean

from quintet.evaluation.gate import compare
from quintet.evaluation.proposals import Watched
from quintet.evaluation.settings import EvaluationSettings, MonitorSettings
from quintet.evaluation.statistics import correlation, pass_at_k
from quintet.records import (
    Attempt,
    Call,
    Completion,
    Critique,
    Decision,
    Evaluation,
    Monitors,
    Part,
    Reply,
    Row,
    Selection,
    Task,
)

FEW_ANSWERS = 10
"""Families with fewer possible answers are bound to repeat them."""

SURE = 4
"""The mark of the critic's rubric, of 5, from which on it holds an attempt to be right."""


class Judged(Part):
    """An attempt with what is known about it."""

    task: Task
    attempt: Attempt
    critique: Critique


def monitors(
    round: int,
    settings: EvaluationSettings,
    *,
    tasks: Sequence[Task] = (),
    attempts: Sequence[Attempt] = (),
    critiques: Sequence[Critique] = (),
    calls: Sequence[Call] = (),
    selections: Sequence[Selection] = (),
    rows: Sequence[Row] = (),
    replies: Sequence[Reply] = (),
    evaluations: Sequence[Evaluation] = (),
    decision: Decision | None = None,
    held_out: Container[str] = frozenset(),
    proposals: Watched = Watched(),  # noqa: B008 - frozen
) -> Monitors:
    """Measure a round, and raise an alarm where a measure is out of bounds.

    Args:
        round: The round.
        settings: Bounds stand under `monitors`.
        tasks: The round's training tasks.
        attempts: All attempts at them; those without a critique are left out.
        critiques: One for each attempt.
        calls: The calls the attempts came from, and any others whose failures should count.
        selections: The curator's choices.
        rows: The round's training rows.
        replies: What joined roles said, or why they said nothing.
        evaluations: All of the run's evaluations so far, in order.
        decision: The round's decision; it names the gate's two evaluations.
        held_out: Canonical questions of all suites.
        proposals: What was found about those of a proposer that learns.

    Returns:
        Shares and means by name; each alarm begins with the name of what went wrong.
    """
    bounds = settings.monitors
    judged = _join(tasks, attempts, critiques)
    first = [item for item in judged if item.attempt.turn == 0]
    values: dict[str, float] = {}
    alarms: list[str] = []

    def share(name: str, part: int, whole: int) -> float | None:
        """Enter a share, and return it if it rests on enough to raise an alarm."""
        if not whole:
            return None
        values[name] = part / whole
        return values[name] if whole >= bounds.least else None

    values |= _solved(first, bounds.pass_k)
    revised = [item for item in judged if item.attempt.turn > 0]
    share("rescued", sum(item.critique.correct for item in revised), len(revised))
    share("strict", sum(item.critique.strict for item in first), len(first))
    share("selected", sum(selection.chosen for selection in selections), len(selections))

    completions = _completions(attempts, calls)
    if completions:
        values["completion_tokens"] = sum(len(one.tokens) for one in completions) / len(completions)
    cut = share("truncated", sum(one.finish == "length" for one in completions), len(completions))
    if cut is not None and cut > bounds.truncated:
        alarms.append(f"truncated: {cut:.0%} of completions were cut off for length")
    empty = share("empty", sum(not attempt.text.strip() for attempt in attempts), len(attempts))
    if empty is not None and empty > bounds.empty:
        alarms.append(f"empty: {empty:.0%} of attempts say nothing")
    failed = share("failed_calls", sum(call.error is not None for call in calls), len(calls))
    if failed is not None and failed > bounds.errors:
        alarms.append(f"failed_calls: {failed:.0%} of model calls failed")
    unjudged = share("verifier_errors", sum(one.error is not None for one in critiques), len(critiques))
    if unjudged is not None and unjudged > bounds.errors:
        alarms.append(f"verifier_errors: {unjudged:.0%} of attempts could not be verified")
    _watch_critic(critiques, selections, bounds, values, alarms)

    _watch_replies(replies, bounds, values, alarms)
    _watch_diversity(first, bounds, values, alarms)
    _watch_rows(tasks, first, rows, bounds, values, alarms)
    agreed = {task.id for task in tasks if task.grounding == "agreement"}
    if agreed:
        # Pseudo-labels rot: how many there are is to be seen, and only where there are some.
        share("by_agreement", len(agreed), len(tasks))
        share("rows_by_agreement", sum(row.task in agreed for row in rows), len(rows))
    seen = sum(task.canonical in held_out for task in tasks)
    values["contaminated"] = float(seen)
    if seen:
        alarms.append(f"contaminated: {seen} training tasks are evaluation items")
    if decision is not None and decision.candidate is not None:
        by_id = {evaluation.id: evaluation for evaluation in evaluations}
        gate = [by_id[name] for name in decision.evaluations[:2] if name in by_id]
        if len(gate) == 2:
            _watch_format(gate[0], gate[1], settings, values, alarms)
    for name, suite in (("decline", "steer"), ("forgetting", "retention")):
        history = [evaluation for evaluation in evaluations if evaluation.suite == suite]
        if history and history[-1].round == round:
            _watch_fall(name, history, settings, values, alarms)
    return Monitors(round=round, values=values | proposals.values, alarms=(*alarms, *proposals.alarms))


def _join(tasks: Sequence[Task], attempts: Sequence[Attempt], critiques: Sequence[Critique]) -> list[Judged]:
    by_id = {task.id: task for task in tasks}
    by_attempt = {critique.attempt: critique for critique in critiques}
    return [
        Judged(task=by_id[attempt.task], attempt=attempt, critique=by_attempt[attempt.id])
        for attempt in attempts
        if attempt.task in by_id and attempt.id in by_attempt
    ]


def _completions(attempts: Sequence[Attempt], calls: Sequence[Call]) -> list[Completion]:
    by_id = {call.id: call for call in calls}
    return [
        by_id[attempt.call].completions[attempt.sample]
        for attempt in attempts
        if attempt.call in by_id and attempt.sample < len(by_id[attempt.call].completions)
    ]


def _by_task(judged: Sequence[Judged]) -> list[list[Judged]]:
    groups: dict[str, list[Judged]] = defaultdict(list)
    for item in judged:
        groups[item.task.id].append(item)
    return list(groups.values())


def _solved(first: Sequence[Judged], k: int) -> dict[str, float]:
    """pass@1 and pass@k of first attempts, as means over tasks: exact ones, as trajectories end in any order."""
    groups = _by_task(first)
    if not groups:
        return {}
    counts = [(len(group), sum(item.critique.correct for item in group)) for group in groups]
    k = min(k, *(samples for samples, _ in counts))
    return {
        "pass@1": fmean(pass_at_k(samples, correct, 1) for samples, correct in counts),
        f"pass@{k}": fmean(pass_at_k(samples, correct, k) for samples, correct in counts),
    }


def _watch_critic(
    critiques: Sequence[Critique],
    selections: Sequence[Selection],
    bounds: MonitorSettings,
    values: dict[str, float],
    alarms: list[str],
) -> None:
    """How far the critic goes with the verifier: by its marks where it gave some (`rubric`), else by its verdicts."""
    marks = [
        (one.scores["rubric"], one.scores["correct"] > 0)
        for one in selections
        if one.scores.get("rubric") and "correct" in one.scores
    ]
    hang = correlation([mark for mark, _ in marks], [float(right) for _, right in marks])
    if hang is not None:
        values["critic_correlation"] = hang
    said = [(mark >= SURE, right) for mark, right in marks]
    said = said or [(one.verdict == "accept", one.correct) for one in critiques]
    agreed = sum(accepts == right for accepts, right in said)
    if not marks and agreed == len(said):
        # A critic that goes by the verifier always agrees: nothing to report.
        return
    values["critic_agreement"] = agreed / len(said)
    if len(said) >= bounds.least and values["critic_agreement"] < bounds.agreement:
        alarms.append(f"critic_agreement: the critic agrees with the verifier on {values['critic_agreement']:.0%} only")


def _watch_replies(
    replies: Sequence[Reply], bounds: MonitorSettings, values: dict[str, float], alarms: list[str]
) -> None:
    """Joined roles that raise, stall or answer nonsense: each costs its own replies only, so nobody else complains."""
    for role in sorted({reply.role for reply in replies}):
        errors = [reply.error for reply in replies if reply.role == role]
        lost = sum(error is not None for error in errors) / len(errors)
        values[f"lost_replies.{role}"] = lost
        # Once a round there is one reply, and it is enough of a sign.
        enough = len(errors) >= bounds.least or all(reply.task is None for reply in replies if reply.role == role)
        if enough and lost > bounds.errors:
            last = next(error for error in reversed(errors) if error is not None)
            alarms.append(f"lost_replies: {lost:.0%} of what {role} was to say was lost, last to: {last[:120]}")


def _watch_diversity(
    first: Sequence[Judged], bounds: MonitorSettings, values: dict[str, float], alarms: list[str]
) -> None:
    """Different answers where none was right, and one answer to everything.

    Only among wrong attempts: a model that gets better repeats right answers, and should.
    """
    groups = [group for group in _by_task(first) if len(group) > 1]
    if groups:
        distinct = [len({item.attempt.answer for item in group}) / len(group) for group in groups]
        values["distinct"] = fmean(distinct)
    open_tasks = [
        group
        for group in groups
        if not any(item.critique.correct for item in group)
        and (group[0].task.choices is None or group[0].task.choices >= FEW_ANSWERS)
    ]
    if open_tasks:
        distinct = [len({item.attempt.answer for item in group}) / len(group) for group in open_tasks]
        values["distinct_unsolved"] = fmean(distinct)
        if len(open_tasks) >= bounds.least and values["distinct_unsolved"] < bounds.distinct:
            alarms.append(f"distinct: {values['distinct_unsolved']:.0%} distinct answers on unsolved tasks")
    wrong: dict[str, list[str]] = defaultdict(list)
    for item in first:
        many = item.task.choices is None or item.task.choices >= FEW_ANSWERS
        if many and not item.critique.correct and item.attempt.answer is not None:
            wrong[item.task.family].append(item.attempt.answer)
    for family, answers in sorted(wrong.items()):
        answer, times = Counter(answers).most_common(1)[0]
        values[f"same_answer.{family}"] = times / len(answers)
        if len(answers) >= bounds.least and times / len(answers) > bounds.same_answer:
            alarms.append(f"same_answer: {times / len(answers):.0%} of wrong answers in {family} are {answer[:40]!r}")


def _watch_rows(
    tasks: Sequence[Task],
    first: Sequence[Judged],
    rows: Sequence[Row],
    bounds: MonitorSettings,
    values: dict[str, float],
    alarms: list[str],
) -> None:
    """Rows by family; a family that was practised and gives none teaches nothing."""
    family_of = {task.id: task.family for task in tasks}
    gained = Counter(family_of[row.task] for row in rows if row.task in family_of)
    tried = Counter(item.task.family for item in first)
    for family in sorted(tried):
        values[f"rows.{family}"] = float(gained[family])
        if not gained[family] and tried[family] >= bounds.least:
            alarms.append(f"rows: {tried[family]} attempts in {family} gave no training row")


def _watch_format(
    incumbent: Evaluation,
    candidate: Evaluation,
    settings: EvaluationSettings,
    values: dict[str, float],
    alarms: list[str],
) -> None:
    """The gap between the two readings, and a gain that only the strict one sees."""
    if not candidate.n:
        return
    values["strict_gap"] = (candidate.correct - candidate.strict) / candidate.n
    lenient = compare(incumbent, candidate, settings)
    strict = compare(incumbent, candidate, settings, "strict")
    if strict.p_value < settings.alpha <= lenient.p_value and strict.effect > 0:
        alarms.append(
            f"format_only: {100 * strict.effect:+.1f} points strictly read, {100 * lenient.effect:+.1f} "
            "leniently: the format was learnt, not the task"
        )


def _watch_fall(
    name: str,
    history: Sequence[Evaluation],
    settings: EvaluationSettings,
    values: dict[str, float],
    alarms: list[str],
) -> None:
    """The latest evaluation against the best before it: losses too small for one gate add up over rounds."""
    if not history[-1].n:
        return
    values[history[-1].suite] = history[-1].correct / history[-1].n
    if len(history) < 2:
        return
    best = max(history[:-1], key=lambda evaluation: evaluation.correct)
    found = compare(best, history[-1], settings, confidence=1 - 2 * settings.monitors.alpha)
    values[f"{name}.from_best"] = found.effect
    if found.high < 0:
        alarms.append(f"{name}: {100 * found.effect:+.1f} points on {best.suite} since its best, in round {best.round}")
