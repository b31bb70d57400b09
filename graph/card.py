"""The card of an exported adapter: what it is made of, what it gained, and where it is known to fail."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping

from quintet.graph.adapters import standing
from quintet.graph.report import RoundReport, report
from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.models.catalogue import ModelFiles
from quintet.records import BASE, Adapter, Evaluation, Row, Task


def card(ledger: RunLedger, workspace: Workspace, adapter: Adapter, base: ModelFiles, merged: bool) -> str:
    """Markdown with the header that model hubs read.

    Args:
        ledger: The run that made it.
        workspace: Where the run lies.
        adapter: Which.
        base: The model it belongs to.
        merged: Whether it is exported within the model's weights.
    """
    found = report(ledger, workspace)
    mine = next((one for one in found.rounds if one.adapter == adapter.id), None)
    now = standing(ledger)
    lines = [
        "---",
        f"base_model: {base.name}",
        f"library_name: {'transformers' if merged else 'peft'}",
        "tags: [quintet, lora, self-improvement]",
        "---",
        "",
        f"# {adapter.id}",
        "",
        f"{'A model with' if merged else 'A LoRA adapter for'} `{base.name}`"
        f"{' and a LoRA adapter folded into it' if merged else ''}, made by round {adapter.round} of the run "
        f"`{ledger.run}` (seed {found.seed}), {_became(adapter, now.status)}. The model wrote its training rows "
        "itself; a verifier accepted each.",
        "",
        "## Lineage",
        "",
        "| adapter | round | began from | rows | became | SHA-256 of the weights |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| {one.id} | {one.round} | {one.start or BASE} | {len(one.rows)} | {now.status[one.id]} | {one.weights} |"
            for one in _line(ledger, adapter)
        ),
        "",
        "## Rows",
        "",
        *_rows(ledger, adapter),
        "",
        "## What it gained",
        "",
        *_gained(ledger, adapter, mine),
    ]
    final = found.final
    if final and final.promoted and adapter.id == now.incumbent:
        lines.append(
            f"- Final suite, {final.n} items that steered nothing: {final.base.correct} → {final.promoted.correct} "
            f"right, {_points(final.effect, final.effect_low, final.effect_high)}, p = {final.p_value:.2g}."
        )
    lines += [
        "",
        "## Known failures",
        "",
        *_failures(ledger, adapter, mine),
        "",
        "## Recipe",
        "",
        "```json",
        json.dumps(adapter.recipe, indent=2, sort_keys=True),
        "```",
        "",
    ]
    return "\n".join(lines)


def _became(adapter: Adapter, status: Mapping[str, str]) -> str:
    if adapter.merged:
        return f"by merging {', '.join(adapter.merged)} ({adapter.recipe['merge']})"
    return f"and {status[adapter.id]}" + (f" for the {adapter.role}" if adapter.role else "")


def _line(ledger: RunLedger, adapter: Adapter) -> list[Adapter]:
    """The adapter and those that it was trained on from, newest first."""
    found = [adapter]
    while (before := ledger.get(found[-1].start or BASE)) is not None and isinstance(before, Adapter):
        found.append(before)
    return found


def _rows(ledger: RunLedger, adapter: Adapter) -> Iterator[str]:
    rows = [one for one in ledger.get_many(adapter.rows).values() if isinstance(one, Row)]
    tasks = ledger.get_many({row.task for row in rows})
    cells = Counter((t.family, t.level) for row in rows if isinstance(t := tasks.get(row.task), Task))
    held = f", held against {len(adapter.contrasts)} attempts" if adapter.contrasts else ""
    said = f"{len(adapter.experiences)} replies of the {adapter.role or 'proposer'} with what they earned"
    yield ", and ".join([f"{len(adapter.rows)} rows{held}"] + [said] * bool(adapter.experiences))
    for (family, level), number in sorted(cells.items()):
        yield f"- {family}, level {level}: {number}"


def _gained(ledger: RunLedger, adapter: Adapter, mine: RoundReport | None) -> Iterator[str]:
    if mine is None or mine.gate is None:
        yield "- It was not evaluated by a gate."
        return
    gate = mine.gate
    yield (
        f"- Gate of round {mine.round}, {gate.n} items that nobody had seen: {gate.incumbent.correct} → "
        f"{gate.candidate.correct} right against {adapter.start or BASE}, "
        f"{_points(mine.effect, mine.effect_low, mine.effect_high)}, p = {mine.p_value:.2g} against "
        f"α = {mine.alpha:.2g}: {mine.decision}. In the very form asked for: {gate.incumbent.strict} → "
        f"{gate.candidate.strict}."
    )
    if mine.retention:
        yield f"- Retention: {mine.retention.correct} of {mine.retention.n} right of what was not practised."


def _failures(ledger: RunLedger, adapter: Adapter, mine: RoundReport | None) -> Iterator[str]:
    found = [f"- {alarm}" for alarm in (mine.alarms if mine else ())]
    for suite in ("gate", "retention"):
        for one in ledger.find(Evaluation, adapter=adapter.id):
            if one.suite != suite or one.round != adapter.round:
                continue
            tasks = ledger.get_many(one.tasks)
            right, asked = Counter[tuple[str, int]](), Counter[tuple[str, int]]()
            for answer in one.answers:
                if isinstance(task := tasks.get(answer.task), Task):
                    asked[task.family, task.level] += 1
                    right[task.family, task.level] += answer.correct
            found += [
                f"- {family}, level {level} ({suite}): {of - right[family, level]} of {of} wrong"
                for (family, level), of in sorted(asked.items())
            ]
            break
    yield from found or ["- None is on record, since it was not evaluated."]


def _points(effect: float, low: float, high: float) -> str:
    return f"{100 * effect:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
