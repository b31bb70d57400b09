"""What a run remembers, as its ledger tells it: its memories as the index keeps them, and which of them are retired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from quintet.memory.errors import LedgerError
from quintet.records import Critique, Lesson, Part, Proposal, Record, Retirement, Row, Skill, Task

if TYPE_CHECKING:
    from quintet.memory.ledger import RunLedger

BEFORE_ALL, AFTER_ALL = -1, 2**31 - 1
"""The round of what was there before the first (evaluation items), and one that no run reaches."""

HELD = "held"
"""The pool of evaluation items."""

RECALLED = (Task, Lesson, Row, Skill)
"""What is recalled; each kind is a pool of its own."""

POOLS = (*(kind.kind for kind in RECALLED), HELD)

CROWD = 32
"""Equal texts in a pool from which on it is crowded. Chroma's graph gives an entry 64 neighbours: where as many have
the same vector, each is a neighbour of its like only, and no search gets from them to the rest (seen from 65 on)."""

_TOLD = (Task, Proposal, Lesson, Row, Skill, Retirement)
"""The records that memory follows from."""

_PAGE = 5000
"""Events read at once."""


class Entry(Part):
    """A memory as the index keeps it."""

    id: str
    """The record's id."""
    text: str
    kind: str
    family: str
    level: int
    round: int
    """The round it was made in; -1 for what was there before the first, such as evaluation items."""
    task: str
    split: str
    adapter: str = ""
    """The adapter whose attempt it was made from, or `base`; empty for a task, for a model without adapters, and
    where the ledger lacks the attempt."""

    @property
    def pool(self) -> str:
        """Which memories it is looked for among: those of its kind, or the evaluation items."""
        return self.kind if self.split == "train" else HELD


class Remembered:
    """A run's memories and their retirements. Not for concurrent use."""

    def __init__(self, ledger: RunLedger) -> None:
        self.ledger = ledger
        self.forget()

    def forget(self) -> None:
        """Begin again, as if nothing had been read."""
        self.pools: dict[str, set[str]] = {pool: set() for pool in POOLS}
        """Ids by pool."""
        self.crowded: set[str] = set()
        """Pools that hold one text very often, such as a lesson that a small model repeats."""
        self._copies = {pool: Counter[int]() for pool in POOLS}
        self._families: dict[str, set[str]] = {pool: set() for pool in POOLS}
        self._newest = dict.fromkeys(POOLS, BEFORE_ALL)
        self._retirements: dict[str, list[Retirement]] = {}
        self._fresh: list[Entry] = []
        self._seq = 0

    def take(self) -> list[Entry]:
        """Memories that the ledger has gained since they were last taken."""
        self.read()
        fresh, self._fresh = self._fresh, []
        return fresh

    def read(self) -> None:
        """Read what the ledger holds beyond the last event seen."""
        newest = self.ledger.newest()
        while events := self.ledger.events(self._seq, _PAGE, _TOLD):
            self._learn([(event.id, event.record) for event in events])
            self._seq = events[-1].seq
        # Most events are no memories; without this, each recall would read past all of them again.
        self._seq = max(self._seq, newest)

    def _learn(self, told: Sequence[tuple[str, Record]]) -> None:
        made = [record for _, record in told if isinstance(record, Lesson | Row | Skill)]
        accepted = [record for _, record in told if isinstance(record, Proposal) and record.accepted]
        tasks = {id: record for id, record in told if isinstance(record, Task)}
        elsewhere = {record.task for record in (*made, *accepted) if record.task} - tasks.keys()
        tasks |= {id: task for id, task in self.ledger.get_many(elsewhere).items() if isinstance(task, Task)}
        adapters = self.ledger.attempt_adapters({record.attempt for record in made})
        for id, record in told:
            match record:
                case Retirement():
                    self._retirements.setdefault(record.memory, []).append(record)
                case Task() if record.split != "train":
                    self._enter(_entry(id, record, record, record.question, BEFORE_ALL))
                case Proposal(task=str() as asked) if record.accepted:
                    task = self._task(record, tasks)
                    self._enter(_entry(asked, task, task, task.question, record.round))
                case Lesson():
                    adapter, task = adapters.get(record.attempt, ""), self._task(record, tasks)
                    self._enter(_entry(id, record, task, record.text, record.round, adapter))
                case Row():
                    adapter, task = adapters.get(record.attempt, ""), self._task(record, tasks)
                    self._enter(_entry(id, record, task, task.question, record.round, adapter))
                case Skill():
                    adapter, task = adapters.get(record.attempt, ""), self._task(record, tasks)
                    self._enter(_entry(id, record, task, record.about, record.round, adapter))

    def _enter(self, entry: Entry) -> None:
        pool = entry.pool
        if entry.id not in self.pools[pool]:
            self.pools[pool].add(entry.id)
            self._families[pool].add(entry.family)
            alike = hash(entry.text)
            self._copies[pool][alike] += 1
            if self._copies[pool][alike] > CROWD:
                self.crowded.add(pool)
            self._newest[pool] = max(self._newest[pool], entry.round)
            self._fresh.append(entry)

    def _task(self, record: Proposal | Lesson | Row | Skill, tasks: dict[str, Task]) -> Task:
        task = tasks.get(record.task or "")
        if task is None:
            line = f"{record.id} is about {record.task}, which is not in the ledger of {self.ledger.run!r}"
            raise LedgerError(line, fault=True)
        return task

    def of_one_family(self, pools: Collection[str], family: str) -> bool:
        """Whether all memories of these pools are of this family."""
        return all(self._families[pool] <= {family} for pool in pools)

    def newest(self, pools: Collection[str]) -> int:
        """The latest round that a memory of these pools was made in."""
        return max((self._newest[pool] for pool in pools), default=BEFORE_ALL)

    def retired(self, before: int = AFTER_ALL) -> frozenset[str]:
        """Ids of the memories that are retired, as rounds before this one left them."""
        known = {id: [one for one in told if one.round < before] for id, told in self._retirements.items()}
        return frozenset(id for id, told in known.items() if told and told[-1].retired)

    def retire(self, ids: Collection[str], reason: str, round: int = 0) -> list[str]:
        """Take memories out of recall. They stay in the ledger, and count for novelty: what was asked, was asked.

        Args:
            ids: Full ids. One that is retired already stays as it is, so that doing it twice changes nothing.
            reason: Why.
            round: The round that it happens in, which earlier recalls know nothing of; 0, the default, is for a user
                beside a run, and takes effect with the next recall.

        Returns:
            Those that were not retired before.

        Raises:
            LedgerError: One of them is no memory, or is an evaluation item; nothing was changed.
        """
        return self._turn(ids, reason, round, retired=True)

    def restore(self, ids: Collection[str], reason: str, round: int = 0) -> list[str]:
        """Put memories back; the rest as for `retire`."""
        return self._turn(ids, reason, round, retired=False)

    def _turn(self, ids: Collection[str], reason: str, round: int, *, retired: bool) -> list[str]:
        self.check(ids)
        now = self.retired()
        turned = [id for id in dict.fromkeys(ids) if (id in now) != retired]
        self.ledger.add(
            *(
                Retirement(
                    round=round,
                    memory=id,
                    retired=retired,
                    reason=reason,
                    number=len(self._retirements.get(id, ())) + 1,
                )
                for id in turned
            )
        )
        self.read()
        return turned

    def check(self, ids: Collection[str]) -> None:
        """See that these are ids of memories, which could be retired.

        Raises:
            LedgerError: One of them is no memory, or is an evaluation item.
        """
        self.read()
        for id in ids:
            self._must_be_a_memory(id)

    def _must_be_a_memory(self, id: str) -> None:
        if any(id in self.pools[kind.kind] for kind in RECALLED):
            return
        record = self.ledger.get(id)
        if record is None:
            raise LedgerError(f"run {self.ledger.run!r} holds no record with the id {id!r}")
        if id in self.pools[HELD]:
            raise LedgerError(f"{id} is an evaluation item, which nobody recalls: there is nothing to retire")
        raise LedgerError(f"{id} is no memory: only lessons, rows, skills and tasks that a round accepted are")

    def made_under(self, adapters: Collection[str]) -> list[str]:
        """Memories that rest on the word of these adapters: what a rollback of them retires.

        Lessons are; rows and skills that an executor has verified are not, since a fact stays one whoever found it.
        Rows of tasks whose truth is the model's agreement with itself are, too.

        Args:
            adapters: Ids of adapters, or `base`. Their descendants are the caller's to name.
        """
        lessons = self.ledger.find(Lesson)
        facts: list[Row | Skill] = [*self.ledger.find(Row), *self.ledger.find(Skill)]
        by = self.ledger.attempt_adapters({one.attempt for one in (*lessons, *facts)})
        taught = [lesson.id for lesson in lessons if by.get(lesson.attempt) in adapters]
        return taught + [one.id for one in facts if by.get(one.attempt) in adapters and not self._verified(one)]

    def _verified(self, fact: Row | Skill) -> bool:
        task = self.ledger.get(fact.task)
        if isinstance(task, Task) and task.grounding == "agreement":
            # What its answers agreed on under such an adapter is that adapter's word, whatever a verifier compares.
            return False
        judged = self.ledger.find(Critique, task=fact.task)
        return any(one.attempt == fact.attempt and one.correct and one.error is None for one in judged)


def _entry(id: str, record: Record, task: Task, text: str, round: int, adapter: str = "") -> Entry:
    return Entry(
        id=id,
        text=text,
        kind=record.kind,
        family=task.family,
        level=task.level,
        round=round,
        task=record.task if isinstance(record, Lesson | Row | Skill) else id,
        split=task.split,
        adapter=adapter,
    )
