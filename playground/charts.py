"""What a run measured round by round, as small charts: the numbers only, which static/charts.js draws."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, cycle
from typing import Literal, TypeVar

from quintet.evaluation.statistics import pass_at_k, wilson
from quintet.graph.report import Report, RoundReport, Score
from quintet.memory.reading.counting import RoundCounts, Tried
from quintet.playground.lifecycle import SPEAKER
from quintet.playground.rendering import HUES, PLAYERS, hue
from quintet.records import Adapter, Evaluation, Part

Unit = Literal["share", "points", "count", "tokens", "seconds", "level", "nats", "number"]

Value = float | None

T = TypeVar("T")


class Series(Part):
    """One line of points, or one layer of bars."""

    label: str
    colour: str
    """Name of a colour of quintet.css, such as `--solver`."""
    values: tuple[Value, ...]
    """One a round; `None` where there is none."""
    low: tuple[Value, ...] = ()
    """Lower ends of the intervals; empty where there are none."""
    high: tuple[Value, ...] = ()


class Chart(Part):
    """One chart: rounds from left to right."""

    title: str
    unit: Unit
    form: Literal["points", "bars"] = "points"
    """Bars are stacked."""
    rounds: tuple[int, ...]
    series: tuple[Series, ...]
    note: str = ""


class Group(Part):
    """Charts under one heading."""

    title: str
    charts: tuple[Chart, ...]


def charts_of(
    report: Report,
    counted: Mapping[int, RoundCounts],
    adapters: Sequence[Adapter],
    tokens: Mapping[int, Mapping[str, int]],
    evaluations: Mapping[int, tuple[Evaluation, Evaluation]],
) -> tuple[Group, ...]:
    """All charts that have something to show.

    Args:
        report: Of the run.
        counted: The counts of its rounds.
        adapters: All that were trained.
        tokens: By round and role.
        evaluations: Gate of incumbent and candidate, by round.
    """
    rounds = tuple(one.round for one in report.rounds)
    if not rounds:
        return ()
    groups = (
        ("Scores", _scores(report.rounds, counted, evaluations)),
        ("Training", _training(report.rounds, counted, adapters)),
        ("Selector", _shared(report.rounds)),
        ("Monitors", _watch(report.rounds)),
        ("Cost", _cost(report.rounds, tokens)),
    )
    found = []
    for title, charts in groups:
        shown = [chart.model_copy(update={"rounds": rounds, "series": _known(chart)}) for chart in charts]
        if any(chart.series for chart in shown):
            found.append(Group(title=title, charts=tuple(chart for chart in shown if chart.series)))
    return tuple(found)


def _scores(
    rounds: Sequence[RoundReport],
    counted: Mapping[int, RoundCounts],
    evaluations: Mapping[int, tuple[Evaluation, Evaluation]],
) -> list[Chart]:
    strict = [[evaluations[r.round][side] if r.round in evaluations else None for r in rounds] for side in (0, 1)]
    return [
        _chart(
            "Gate",
            "share",
            _scored("incumbent", "--muted", [r.gate.incumbent if r.gate else None for r in rounds]),
            _scored("candidate", "--accent", [r.gate.candidate if r.gate else None for r in rounds]),
        ),
        _chart(
            "Gate, strict",
            "share",
            *(
                _shares(name, colour, [(one.strict, one.n) if one else None for one in found])
                for name, colour, found in zip(("incumbent", "candidate"), ("--muted", "--accent"), strict, strict=True)
            ),
        ),
        _chart(
            "Steer and retention",
            "share",
            _scored("steer", "--proposer", [r.steer for r in rounds]),
            _scored("retention", "--critic", [r.retention for r in rounds]),
        ),
        _passes(rounds, counted),
    ]


def _passes(rounds: Sequence[RoundReport], counted: Mapping[int, RoundCounts]) -> Chart:
    """pass@1 and pass@k of first attempts, k being the least samples of any task: Chen et al. (2021), eq. 1."""
    tried = [counted[r.round].tried for r in rounds]
    k = min((one.samples for found in tried for one in found), default=1)
    series = [_series(f"pass@{n}", colour, [_pass(found, n) for found in tried]) for n, colour in _colours((1, k))]
    return _chart("First attempts that pass", "share", *(series if k > 1 else series[:1]))


def _pass(tried: Sequence[Tried], k: int) -> Value:
    tasks = sum(one.tasks for one in tried)
    return sum(one.tasks * pass_at_k(one.samples, one.right, k) for one in tried) / tasks if tasks else None


def _training(
    rounds: Sequence[RoundReport], counted: Mapping[int, RoundCounts], adapters: Sequence[Adapter]
) -> list[Chart]:
    families = list(dict.fromkeys(family for r in rounds for family in r.levels))
    trained = {adapter.round: adapter for adapter in adapters}
    metrics = [trained[r.round].metrics if r.round in trained else {} for r in rounds]
    gained = _named(rounds, "rows.")
    by_family = [
        _series(name, colour, found) for (name, found), colour in zip(gained.items(), _palette(), strict=False)
    ]
    return [
        _bars(
            "Attempts",
            "count",
            _series("right", "--good", [float(r.accepted) for r in rounds]),
            _series("wrong", "--muted", [float(r.attempts - r.accepted) for r in rounds]),
        ),
        _bars(
            "Training rows", "count", *(by_family or [_series("rows", "--curator", [float(r.rows) for r in rounds])])
        ),
        _chart(
            "Level trained on",
            "level",
            *(
                _series(family, colour, [_float(r.levels.get(family)) for r in rounds])
                for family, colour in zip(families, _palette(), strict=False)
            ),
        ),
        _chart(
            "Training loss",
            "nats",
            _series("first step", "--muted", [one.get("first_loss") for one in metrics]),
            _series("last step", "--trainer", [one.get("last_loss") for one in metrics]),
        ),
    ]


def _shared(rounds: Sequence[RoundReport]) -> list[Chart]:
    """What was shared out, by arm."""
    found = []
    for of in dict.fromkeys(of for r in rounds for of in r.shares):
        arms = sorted({arm for r in rounds for arm in r.shares.get(of, {})})
        named = zip(arms, _palette(), strict=False)
        series = [_series(arm, hue, [r.shares.get(of, {}).get(arm) for r in rounds]) for arm, hue in named]
        found.append(_bars(f"Shares of the {of}", "share", *series))
    return found


WATCHED: tuple[tuple[str, Unit, tuple[tuple[str, str], ...]], ...] = (
    ("Distinct answers", "share", (("distinct", "all tasks"), ("distinct_unsolved", "unsolved tasks"))),
    ("Length of a reply", "tokens", (("completion_tokens", "tokens"),)),
    (
        "Form of the answers",
        "share",
        (("strict", "first attempts right in the form"), ("strict_gap", "candidate right, but not in the form")),
    ),
    (
        "What the proposer proposes",
        "share",
        (("proposer.valid", "valid"), ("proposer.accepted", "accepted"), ("proposer.distinct", "distinct")),
    ),
    ("Length of a proposal", "tokens", (("proposer.tokens", "tokens"),)),
    ("What a proposal earns", "number", (("proposer.reward", "reward"),)),
    ("Rescued and selected", "share", (("rescued", "revisions that are right"), ("selected", "attempts selected"))),
    ("Critic agrees with the verifier", "share", (("critic_agreement", "agreement"),)),
    (
        "Lost",
        "share",
        (
            ("truncated", "cut off"),
            ("empty", "empty"),
            ("failed_calls", "failed calls"),
            ("verifier_errors", "not verified"),
        ),
    ),
    (
        "Candidate against the best so far",
        "points",
        (("decline.from_best", "steer"), ("forgetting.from_best", "retention")),
    ),
)
"""Monitors that are shown together: title, unit, and each name with its label."""

PREFIXED: tuple[tuple[str, str, Unit], ...] = (
    ("same_answer.", "Most frequent wrong answer", "share"),
    ("lost_replies.", "Lost replies of joined roles", "share"),
)
"""Monitors with one value a family or role."""

ELSEWHERE = ("pass@", "rows.", "steer", "retention")
"""Monitors that other charts show already."""


def _watch(rounds: Sequence[RoundReport]) -> list[Chart]:
    found = [
        _chart(
            title,
            unit,
            *(_series(label, colour, _values(rounds, name)) for (name, label), colour in _colours(names)),
        )
        for title, unit, names in WATCHED
    ]
    for prefix, title, unit in PREFIXED:
        named = _named(rounds, prefix)
        found.append(_chart(title, unit, *(_series(name, colour, named[name]) for name, colour in _colours(named))))
    joined = dict.fromkeys(role for r in rounds for role in r.counts.said)
    said = [_series(role, _of_role(role), [float(r.counts.said.get(role, 0)) for r in rounds]) for role in joined]
    found.append(_bars("Replies of joined roles", "count", *said))
    seen = {name for _, _, names in WATCHED for name, _ in names}
    others = dict.fromkeys(name for r in rounds for name in r.monitors)
    for name in others:
        known = name in seen or name.startswith((*ELSEWHERE, *(prefix for prefix, _, _ in PREFIXED)))
        values = _values(rounds, name)
        # What is counted and never happened is no news.
        if not known and any(values):
            found.append(_chart(name, "number", _series(name, "--accent", values)))
    return found


def _cost(rounds: Sequence[RoundReport], tokens: Mapping[int, Mapping[str, int]]) -> list[Chart]:
    stages = dict.fromkeys(name for r in rounds for name, seconds in r.stages.items() if seconds)
    roles = dict.fromkeys(role for r in rounds for role in tokens.get(r.round, {}))
    return [
        _bars(
            "Seconds by stage",
            "seconds",
            *(
                _series(name, _of_stage(name), [float(r.stages.get(name, 0.0)) for r in rounds])
                for name in sorted(stages, key=_place_of)
            ),
        ),
        _bars(
            "Tokens by role",
            "tokens",
            *(
                _series(role, _of_role(role), [float(tokens.get(r.round, {}).get(role, 0)) for r in rounds])
                for role in roles
            ),
        ),
    ]


def _place_of(stage: str) -> int:
    order = list(SPEAKER)
    return order.index(stage) if stage in order else len(order)


def _of_stage(name: str) -> str:
    # Two stages are evaluation's, and stand beside each other.
    return "--hue-2" if name == "finish" else _of_role(SPEAKER.get(name, name))


def _of_role(name: str) -> str:
    return f"--{hue(name).removeprefix('role-')}" if name in PLAYERS else f"--{hue(name)}"


def _palette() -> Iterator[str]:
    """Colours that stand for no player, over and over."""
    return cycle(f"--hue-{number}" for number in range(HUES))


def _colours(names: Iterable[T]) -> list[tuple[T, str]]:
    return list(zip(names, chain(("--accent", "--critic"), _palette()), strict=False))


def _values(rounds: Sequence[RoundReport], name: str) -> list[Value]:
    return [r.monitors.get(name) for r in rounds]


def _named(rounds: Sequence[RoundReport], prefix: str) -> dict[str, list[Value]]:
    """The monitors whose names begin so, by the rest of their names."""
    names = sorted({name for r in rounds for name in r.monitors if name.startswith(prefix)})
    return {name.removeprefix(prefix): _values(rounds, name) for name in names}


def _scored(label: str, colour: str, scores: Sequence[Score | None]) -> Series:
    return _series(
        label,
        colour,
        [one.correct / one.n if one and one.n else None for one in scores],
        [one.low if one and one.n else None for one in scores],
        [one.high if one and one.n else None for one in scores],
    )


def _shares(label: str, colour: str, counts: Sequence[tuple[int, int] | None]) -> Series:
    ranges = [wilson(*one) if one and one[1] else None for one in counts]
    return _series(
        label,
        colour,
        [one[0] / one[1] if one and one[1] else None for one in counts],
        [one.low if one else None for one in ranges],
        [one.high if one else None for one in ranges],
    )


def _series(
    label: str, colour: str, values: Iterable[Value], low: Iterable[Value] = (), high: Iterable[Value] = ()
) -> Series:
    return Series(label=label, colour=colour, values=tuple(values), low=tuple(low), high=tuple(high))


def _chart(title: str, unit: Unit, *series: Series) -> Chart:
    return Chart(title=title, unit=unit, rounds=(), series=series)


def _bars(title: str, unit: Unit, *series: Series) -> Chart:
    return Chart(title=title, unit=unit, form="bars", rounds=(), series=series)


def _known(chart: Chart) -> tuple[Series, ...]:
    """The series that have a value in some round; of bars none, where all would be empty."""
    if chart.form == "bars" and not any(value for one in chart.series for value in one.values):
        return ()
    return tuple(one for one in chart.series if any(value is not None for value in one.values))


def _float(value: int | None) -> Value:
    return None if value is None else float(value)
