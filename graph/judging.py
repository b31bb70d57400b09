"""Asks the model the suites' questions and hands the answers to the evaluation room."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from quintet.agents.errors import NoAnswerError
from quintet.agents.playing import Player, Trajectory, environment
from quintet.agents.roles import Answered, answered, is_served, to_langchain
from quintet.agents.self_play import watched
from quintet.agents.solver import Solver
from quintet.agents.strategies import Desk, Strategy
from quintet.agents.table import Table
from quintet.evaluation.curriculum import advance, pass_rates, stalled
from quintet.evaluation.evaluate import evaluate, family_shares
from quintet.evaluation.gate import abstain, decide, verify_final
from quintet.evaluation.monitors import monitors
from quintet.evaluation.settings import EvaluationSettings
from quintet.evaluation.suites import Suites
from quintet.graph.answering import by_strategy, desk
from quintet.memory.reading.evaluated import Used, used
from quintet.records import (
    BASE,
    EVALUATION,
    GREEDY,
    Attempt,
    Call,
    Critique,
    Curriculum,
    Decision,
    Evaluation,
    Message,
    Monitors,
    Opening,
    Reply,
    Row,
    Selection,
    Split,
    Suite,
    Task,
)
from quintet.tasks.environment import EnvironmentFamily

FOUR = ("gate_incumbent", "gate_candidate", "retention_incumbent", "retention_candidate")
"""The evaluations that a decision rests on."""

Asking = Callable[[Task, Sequence[Message]], Awaitable[Answered]]
"""Puts messages about a task to the model, greedily, in a call that is recorded."""


class Judging:
    """One run's evaluations: same prompt for every adapter, greedy, no exemplars."""

    def __init__(self, table: Table, suites: Suites, settings: EvaluationSettings) -> None:
        self.table, self.suites, self.settings = table, suites, settings
        self._solver = Solver().sit(table)
        self._used: dict[str, Used] = {}

    async def answer(self, tasks: Sequence[Task], adapter: str, round: int) -> list[str]:
        """The model's greedy answers, one a task."""
        model, settings = self.table.model("solver"), self.table.settings.solver
        served = is_served(model)
        options: dict[str, Any] = {
            "temperature": 0.0,
            "max_tokens": settings.max_tokens,
            "n": 1,
            "seed": "",
            "adapter": adapter,
        }

        async def ask(task: Task, prompt: Sequence[Message]) -> Answered:
            metadata = {"role": EVALUATION, "round": round, "task": task.id, "turn": 0}
            messages = [to_langchain(message) for message in prompt]
            put = options if served else {}
            result = await model.agenerate([messages], callbacks=[self.table.recorder], metadata=metadata, **put)
            return answered(result, "")

        async def one(task: Task) -> str:
            if (family := environment(self.table, task)) is not None:
                return await self._play(task, family, round, ask)
            return (await ask(task, self._solver.prompt(task))).completions[0].text

        async def seated(task: Task) -> str:
            async with self.table.seated():
                return await one(task)

        return list(await asyncio.gather(*(seated(task) for task in tasks)))

    async def _play(self, task: Task, family: EnvironmentFamily, round: int, ask: Asking) -> str:
        """The actions of a greedy episode in a task's environment; none where the model gave no answer."""
        opening = self._solver.opening()
        player = Player(self.table, family, task, round, EVALUATION, self._solver.say)

        async def act(one: Trajectory) -> Answered:
            words = Message(role="user", content=self._solver.say(one.words))
            return await ask(task, [*opening, *one.history, words])

        try:
            played = await player.play(1, act)
        except NoAnswerError:
            return ""
        self.table.ledger.add(*(recall for one in played for recall in one.recalls))
        return played[0].text

    async def on(
        self,
        suite: Split,
        adapter: str,
        tasks: Sequence[Task],
        round: int,
        strategy: Strategy | None = None,
        budget: int | None = None,
    ) -> Evaluation:
        """Evaluate an adapter on items, greedily or by a strategy, unless the ledger holds that evaluation already.

        Args:
            suite: The suite's name.
            adapter: An adapter's id, or `BASE`.
            tasks: The items, in order.
            round: The round it belongs to; 0 beside the run.
            strategy: How the answers are got; the run's own greedy way if `None`.
            budget: Tokens that a strategy may generate for each item.

        Raises:
            AgentError: A strategy is put to an environment.
        """
        ledger, name = self.table.ledger, strategy.recorded if strategy else GREEDY
        ids = tuple(task.id for task in tasks)
        families = [environment(self.table, task) for task in tasks]
        # A search finds other memories in another round: what was answered then does not compare with what is now.
        lasting = not any(family and family.searches for family in families)
        for known in ledger.find(Evaluation, adapter=adapter):
            # One that a user asked for beside the run (round 0) is no part of the run.
            same = (known.suite, known.tasks, known.strategy, known.tokens) == (suite, ids, name, None)
            same = same and (lasting or known.round == round)
            # How many samples a strategy took is not on record; its calls are, and answer it again.
            if same and strategy is None and (known.round > 0 or round == 0):
                return known
        ledger.add(*tasks)
        desks: list[Desk] = []

        async def answer(tasks: Sequence[Task], adapter: str) -> list[str]:
            if strategy is None:
                return await self.answer(tasks, adapter, round)
            desks.extend(desk(self.table, strategy, task, adapter, round, budget) for task in tasks)
            return await by_strategy(self.table, strategy, desks)

        evaluation = await evaluate(suite, adapter, tasks, round, answer, self.table.examiner.judge, name)
        if strategy is not None:
            took = Used(generated=sum(desk.spent for desk in desks), prompted=sum(desk.prompted for desk in desks))
            evaluation = evaluation.with_(tokens=took.generated)
            self._used[evaluation.id] = took
        ledger.add(evaluation)
        return evaluation

    def used(self, evaluation: Evaluation) -> Used:
        """What an evaluation took; of one that was not made by a strategy, as its calls say."""
        if evaluation.id in self._used:
            return self._used[evaluation.id]
        return used(self.table.ledger, evaluation) or Used(generated=0, prompted=0)

    async def compare(self, round: int, incumbent: str, candidate: str) -> dict[str, str]:
        """Candidate and incumbent on gate and retention, the candidate on the steer suite too.

        Returns:
            Evaluation ids by name.
        """
        suites = self.suites
        wanted: list[tuple[str, Suite, str, Sequence[Task]]] = [
            ("gate_incumbent", "gate", incumbent, suites.gate(round)),
            ("retention_incumbent", "retention", incumbent, suites.retention),
            ("gate_candidate", "gate", candidate, suites.gate(round)),
            ("retention_candidate", "retention", candidate, suites.retention),
            ("steer", "steer", candidate, suites.steer),
        ]
        if self.table.settings.proposer.allocate or self.table.settings.curator.allocate:
            # What the candidate's change is measured from; on record already wherever that was a candidate once.
            wanted.insert(-1, ("steer_incumbent", "steer", incumbent, suites.steer))
        return {
            name: (await self.on(suite, adapter, tasks, round)).id for name, suite, adapter, tasks in wanted if tasks
        }

    def decide(
        self, round: int, incumbent: str, candidate: str | None, evaluations: dict[str, str], note: str
    ) -> Decision:
        """The gate's decision; without a candidate there is nothing to promote."""
        if candidate is None:
            return abstain(round, incumbent, f"no candidate: {note}")
        four = [self._evaluation(evaluations.get(name)) for name in FOUR]
        if four[0] is None or four[1] is None:
            raise LookupError(f"round {round} has a candidate that was not evaluated")
        tested = [d for d in self.table.ledger.find(Decision) if d.candidate is not None and d.round < round]
        return decide(round, candidate, incumbent, four[0], four[1], four[2], four[3], self.settings, tested)

    def curriculum(self, round: int, levels: dict[str, int], tasks: Sequence[str]) -> Curriculum:
        """The levels that the next round trains on, from the pass rates of this round's first attempts."""
        ledger = self.table.ledger
        attempts, critiques = ledger.find(Attempt, round=round), ledger.find(Critique, round=round)
        rates = pass_rates(self._tasks(tasks), attempts, critiques, levels)
        highest = {family: self.table.examiner.families[family].levels for family in levels}
        return advance(round, levels, rates, self.settings, highest, self._steer_change(round))

    def _steer_change(self, round: int) -> dict[str, float] | None:
        """By how much each family's share on the steer suite changed with the round's candidate, if there was one."""
        steer = [e for e in self._so_far() if e.suite == "steer"]
        if len(steer) < 2 or steer[-1].round != round:
            return None
        earlier, later = (family_shares(evaluation, self.suites.steer) for evaluation in steer[-2:])
        return {family: later[family] - earlier[family] for family in later}

    def monitors(self, round: int, tasks: Sequence[str], decision: Decision) -> Monitors:
        """The round's watch for the known failures."""
        ledger = self.table.ledger
        return monitors(
            round,
            self.settings,
            tasks=self._tasks(tasks),
            attempts=ledger.find(Attempt, round=round),
            critiques=ledger.find(Critique, round=round),
            calls=ledger.find(Call, round=round),
            selections=ledger.find(Selection, round=round),
            rows=ledger.find(Row, round=round),
            replies=ledger.find(Reply, round=round),
            evaluations=[e for e in self._so_far() if e.round <= round],
            decision=decision,
            held_out=self.suites.canonicals,
            proposals=watched(self.table, round),
        )

    def _tasks(self, ids: Sequence[str]) -> list[Task]:
        found = (self.table.ledger.get(id) for id in ids)
        return [task for task in found if isinstance(task, Task)]

    def stalled(self) -> bool:
        """Whether the steer suite says that nothing is gained any more."""
        return stalled(self._so_far(), self.settings)

    async def finish(self, round: int, promoted: str) -> None:
        """Open the final suite, on record, and compare base and promoted on it."""
        ledger = self.table.ledger
        openings = ledger.find(Opening)
        number = next((o.number for o in openings if o.round == round), len(openings) + 1)
        tasks = await self.suites.final(number)
        opening = Opening(round=round, number=number, tasks=tuple(task.id for task in tasks))
        ledger.add(*tasks, opening)
        base = await self.on("final", BASE, tasks, round)
        best = await self.on("final", promoted, tasks, round) if promoted != BASE else None
        ledger.add(verify_final(opening, base, best, self.settings))

    def _so_far(self) -> list[Evaluation]:
        """The evaluations of the run's own rounds; those that a user asked for beside it steer nothing."""
        return [evaluation for evaluation in self.table.ledger.find(Evaluation) if evaluation.round > 0]

    def _evaluation(self, id: str | None) -> Evaluation | None:
        found = self.table.ledger.get(id) if id else None
        return found if isinstance(found, Evaluation) else None
