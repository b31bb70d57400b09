"""What became of each arm's tasks, from the ledger: tokens taken, rows given, change on the steer suite."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from quintet.evaluation.bandits import RULE, Arm, Outcome, Pull
from quintet.memory.ledger import RunLedger
from quintet.records import BASE, GREEDY, Adapter, Decision, Evaluation, Proposal, Row, Selection, Task

DRAWN = "drawn"
"""The source that is a family's generator: it alone obeys a level exactly."""


Marks = dict[str, tuple[list[bool], list[bool]]]
"""By family, which of its steer items were right before and after."""


def outcomes(ledger: RunLedger, before: int, by_level: bool = False) -> list[Outcome]:
    """What became of the tasks of each source, family and level in the rounds before this one, from the ledger.

    Args:
        ledger: Of the run.
        before: A round; it and later ones are not looked at.
        by_level: Whether levels of drawn tasks are arms of their own.
    """
    rounds = [_Spent.of(ledger, number, by_level) for number in range(1, before)]
    arm_of = {(spent.number, task): arm for spent in rounds for task, arm in spent.arm_of.items()}
    measured = _measured(ledger, before)
    found: list[Outcome] = []
    for spent in rounds:
        rows, marks = measured.get(spent.number, ([], {}))
        found += spent.outcomes(Counter(arm_of.get((row.round, row.task), "") for row in rows), marks)
    return found


def rule_outcomes(ledger: RunLedger, before: int) -> list[Outcome]:
    """What became of the rows that each of the curator's ranking rules chose, from the ledger.

    What a rule spends is places among the row budget: a row counts as a thousand tokens.

    Args:
        ledger: Of the run.
        before: A round; it and later ones are not looked at.
    """
    rule_of = {s.id: str(Arm(RULE, s.rule)) for s in ledger.find(Selection) if s.rule and s.round < before}
    rows = [row for row in ledger.find(Row) if row.selection in rule_of]
    tasks = ledger.get_many({row.task for row in rows})
    family_of = {id: task.family for id, task in tasks.items() if isinstance(task, Task)}
    measured = _measured(ledger, before)
    found: list[Outcome] = []
    for number in range(1, before):
        new, marks = measured.get(number, ([], {}))
        chosen = Counter((family_of[row.task], rule_of[row.selection]) for row in rows if row.round == number)
        trained = Counter((family_of[row.task], rule_of[row.selection]) for row in new if row.selection in rule_of)
        pulls: dict[str, dict[str, Pull]] = defaultdict(dict)
        for family, arm in sorted({*chosen, *trained}):
            count = chosen[family, arm]
            pulls[family][arm] = Pull(tokens=1000 * count, rows=count, trained=trained[family, arm])
        for family, own in pulls.items():
            if family in marks:
                found.append(Outcome.measured(number, family, own, *marks[family]))
            else:
                found.append(Outcome(round=number, family=family, pulls=own))
    return found


def _measured(ledger: RunLedger, before: int) -> dict[int, tuple[list[Row], Marks]]:
    """By round that had a candidate, the rows that made the difference to what it is compared with, and the difference.

    A candidate is compared with what lacks only the newest of its rows: the candidate before it, where both were begun
    from the same adapter, else the adapter that it was begun from. Whether the gate promoted it does not matter.
    """
    adapters = {adapter.id: adapter for adapter in ledger.find(Adapter) if adapter.round < before and not adapter.role}
    rows = {row.id: row for row in ledger.find(Row) if row.round < before}
    steer = _steer(ledger)
    found: dict[int, tuple[list[Row], Marks]] = {}
    for decision in ledger.find(Decision):
        if candidate := adapters.get(decision.candidate or ""):
            reference = _reference(candidate, adapters)
            known = set(adapters[reference].rows) if reference in adapters else set()
            new = [rows[id] for id in candidate.rows if id in rows and id not in known]
            found[decision.round] = (new, _marks(ledger, steer.get(reference, []), steer.get(candidate.id, [])))
    return found


@dataclass
class _Spent:
    """What the arms of a round took, and the rows they gave."""

    number: int
    arm_of: dict[str, str] = field(default_factory=dict)
    """By task."""
    tokens: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    rows: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @classmethod
    def of(cls, ledger: RunLedger, number: int, by_level: bool) -> _Spent:
        """A round's, from the ledger: calls about an arm's tasks, and calls that proposed them."""
        spent, asked = cls(number), dict[str, str]()
        for proposal in ledger.find(Proposal, round=number):
            level = proposal.level if by_level and proposal.origin == DRAWN else None
            arm = str(Arm(proposal.origin, proposal.family, level))
            spent.tokens[arm] += 0
            for call in filter(None, (proposal.call, proposal.trial)):
                asked.setdefault(call, arm)
            if proposal.task and proposal.accepted:
                spent.arm_of.setdefault(proposal.task, arm)
        for call, task, tokens in ledger.call_tokens(number):
            if taker := spent.arm_of.get(task or "") or asked.get(call):
                spent.tokens[taker] += tokens
        for row in ledger.find(Row, round=number):
            if giver := spent.arm_of.get(row.task):
                spent.rows[giver] += 1
        return spent

    def outcomes(self, trained: Mapping[str, int], marks: Marks) -> list[Outcome]:
        """One for each family: its arms' pulls, and its change where its steer items were answered before and after.

        Arms of a family without such items may have taught any of the others.
        """
        arms = sorted({*self.tokens, *(arm for arm in trained if arm)})
        by_family: dict[str, dict[str, Pull]] = defaultdict(dict)
        for arm in arms:
            pull = Pull(tokens=self.tokens.get(arm, 0), rows=self.rows.get(arm, 0), trained=trained.get(arm, 0))
            by_family[Arm.parse(arm).family][arm] = pull
        if not marks:
            return [Outcome(round=self.number, family=family, pulls=pulls) for family, pulls in by_family.items()]
        others = {
            arm: pull for family, pulls in by_family.items() if family not in marks for arm, pull in pulls.items()
        }
        return [
            Outcome.measured(self.number, family, {**by_family.get(family, {}), **others}, *marks[family])
            for family in sorted(marks)
        ]


def _reference(candidate: Adapter, adapters: dict[str, Adapter]) -> str:
    """What a candidate differs from by the newest rows alone."""
    start, rows = candidate.start or BASE, set(candidate.rows)
    earlier = [one for one in adapters.values() if one.round < candidate.round]
    alike = [one for one in earlier if (one.start or BASE) == start and rows & set(one.rows)]
    return alike[-1].id if alike else start


def _steer(ledger: RunLedger) -> dict[str, list[Evaluation]]:
    """The run's own evaluations on the steer suite, by adapter."""
    found: dict[str, list[Evaluation]] = defaultdict(list)
    for evaluation in ledger.find(Evaluation):
        if (evaluation.suite, evaluation.strategy) == ("steer", GREEDY) and evaluation.round:
            found[evaluation.adapter or BASE].append(evaluation)
    return found


def _marks(ledger: RunLedger, before: Sequence[Evaluation], after: Sequence[Evaluation]) -> Marks:
    """Which items were right before and after, where the same items were answered."""
    pair = next(((old, new) for new in after for old in before if old.tasks == new.tasks), None)
    marks: Marks = {}
    if pair is None:
        return marks
    tasks = ledger.get_many(pair[0].tasks)
    for old, new in zip(pair[0].answers, pair[1].answers, strict=True):
        if isinstance(task := tasks.get(old.task), Task):
            olds, news = marks.setdefault(task.family, ([], []))
            olds.append(old.correct)
            news.append(new.correct)
    return marks
