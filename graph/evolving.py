"""Evolves a role's persona: proposals are scored on the steer suite, and the best is tested on fresh questions."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel

from quintet.agents.evolver import MOST_CHARACTERS, Evolver, Rated
from quintet.agents.solver import Solver
from quintet.agents.strategies.personas import WithPersona, newest
from quintet.evaluation.gate import Comparison, compare, gate_objections
from quintet.evaluation.statistics import alpha_at
from quintet.graph.adapters import standing
from quintet.graph.comparing import BESIDE
from quintet.graph.errors import LoopError
from quintet.graph.lifecycle import Context
from quintet.graph.opening import opened
from quintet.graph.settings import Settings
from quintet.memory.ledger import RunLedger
from quintet.memory.workspace import Workspace
from quintet.records import Adapter, Evaluation, Opening, Persona, Proposal, Task, digest
from quintet.tasks.environment import EnvironmentFamily
from quintet.tasks.errors import LevelTooNarrow

ROLES = ("solver",)
"""Roles whose persona can be evolved: what the solver says is what a verifier can judge."""

SHOWN = 3
"""Questions that a proposal is shown."""

SHORT = 4
"""Ground truth of fewer characters than this that is no number, such as `yes`, says nothing by standing in a text."""

Say = Callable[[str], None]


class Tried(BaseModel):
    """A persona that was proposed, and what became of it."""

    text: str
    reason: str
    correct: int | None = None
    """Steer items right; `None` where it was refused."""
    n: int | None = None


class Evolved(BaseModel):
    """What a call of `quintet evolve` came to."""

    run: str
    role: str
    present: str
    """The persona that the role had."""
    present_correct: int
    """Steer items right under it."""
    present_n: int
    tried: list[Tried]
    kept: str | None = None
    """The new persona, if one was kept."""
    persona: str | None = None
    """Id of the record of the one that was tested."""
    comparison: Comparison | None = None
    """The new against the present persona, on questions that nobody had been asked."""
    alpha: float | None = None
    """What the p-value had to be below."""

    def text(self) -> str:
        """The same for people."""
        lines = [
            f"{self.role} of {self.run}; its persona has {self.present_correct} of {self.present_n} steer items right"
        ]
        for one in self.tried:
            score = "–" if one.correct is None else f"{one.correct}/{one.n}"
            lines.append(f"  {score}  {one.text or '(nothing)'}  [{one.reason}]")
        lines.append(f"kept: {self.kept}" if self.kept else "kept: none, the present persona stays")
        return "\n".join(lines)


def evolve(workspace: Path, run: str | None, role: str, candidates: int, rounds: int, say: Say = print) -> Evolved:
    """Propose personas, score them on the steer suite, and test the best one on fresh questions of the train split.

    The test is the gate's, and its error budget (`evaluation.alpha`) is spent over the tests of the run. No prompt of
    the run changes: what is kept is answered under by the strategy `persona`.

    Args:
        workspace: Where the run lies.
        run: Its name; the newest if `None`.
        role: Whose persona.
        candidates: Personas proposed in each round.
        rounds: Rounds of proposals; each is shown the scores of those before it.
        say: Told what happens.

    Raises:
        LoopError: The run is not finished, has no steer suite, or has too few questions left; the role has no measure.
    """
    if role not in ROLES:
        raise LoopError(f"role {role!r} cannot be evolved: a verifier judges the {' and the '.join(ROLES)} alone")
    return asyncio.run(_evolve(workspace, run, role, candidates, rounds, say))


async def _evolve(workspace: Path, run: str | None, role: str, candidates: int, rounds: int, say: Say) -> Evolved:
    place = Workspace.existing(workspace)
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(place.ledger()).run(run)
        settings = Settings.of_run(ledger.info.settings)
        if ledger.info.status != "finished":
            raise LoopError(f"run {ledger.run} is not finished: let it end first, with quintet resume {ledger.run}")
        if not settings.evaluation.steer_items:
            raise LoopError(f"run {ledger.run} has no steer suite: evaluation.steer_items is 0")
        stack.enter_context(place.claim(ledger.run))
        openings = max(1, len(ledger.find(Opening)))
        async with opened(settings, ledger, place, (), rounds=settings.rounds, openings=openings) as context:
            trial = Trials(context, role, say)
            # First, since a lack of questions is better said before anything is asked.
            await trial.draw()
            await trial.begin()
            for number in range(1, rounds + 1):
                await trial.propose(candidates, number)
            return await trial.settle()


class Trials:
    """The personas of one call: proposed, refused or scored, and the best tested.

    Args:
        context: Of the run, opened.
        role: Whose persona.
        say: Told what happens.
    """

    def __init__(self, context: Context, role: str, say: Say) -> None:
        self.context, self.role, self.say = context, role, say
        self.table, self.judging, self.settings = context.table, context.judging, context.settings.evaluation
        self.ledger: RunLedger = context.table.ledger
        self.adapter = standing(self.ledger).incumbent
        self.parent = newest(self.ledger, role)
        own = Solver().sit(self.table).opening()
        self.present = self.parent.text if self.parent else own[0].content if own else ""
        self.before = self.ledger.find(Persona, role=role)
        self.scored: dict[str, tuple[Evaluation, str]] = {}
        """By text: its evaluation on the steer suite, and the call that proposed it."""
        self.refused: list[Persona] = []

    @property
    def tests(self) -> int:
        """How many personas of this run were tested before."""
        ids = {persona.evaluations[-1] for persona in self.before if persona.evaluations}
        found = self.ledger.get_many(ids).values()
        return sum(isinstance(one, Evaluation) and one.suite == "train" for one in found)

    async def draw(self) -> None:
        """Questions for the test that nobody was ever asked, as many of each level as a gate has.

        Raises:
            LoopError: There are too few, or a family is acted out.
        """
        asked = {task.canonical for task in self.ledger.find(Task)}
        self.fresh: list[Task] = []
        for (family, level), items in self.settings.cells("gate").items():
            if isinstance(self.table.examiner.families[family], EnvironmentFamily):
                raise LoopError(
                    f"{family} is an environment: personas are tried on questions that are answered at once"
                )
            seed = int(digest([self.table.seed, "persona", self.tests, family, level])[:8], 16)
            try:
                found = await self.table.examiner.draw(family, level, seed, items, "train", exclude=asked)
            except LevelTooNarrow as error:
                raise LoopError(
                    f"{family} at level {level} has {error.found} practice questions left that nobody was asked, and a "
                    f"test needs {items}: a run with a wider level or fewer evaluation.gate_items has more"
                ) from error
            asked |= {task.canonical for task in found}
            self.fresh += found

    async def begin(self) -> None:
        """Score the present persona."""
        for registered in self.ledger.find(Adapter):
            if registered.id == self.adapter:
                await self.table.serve(registered)
        self.baseline = await self._on_steer(self.present)
        self.say(f"present persona: {self.baseline.correct} of {self.baseline.n} steer items right")

    async def propose(self, n: int, number: int) -> None:
        """Have personas proposed, and score those that are not refused."""
        about = f"{len(self.before)} {number}"
        rated = [self._rated(self.present, self.baseline), *(self._rated(*one) for one in self._history().items())]
        for text, call in await Evolver().sit(self.table).propose(n, rated, self._examples(), about):
            if why := refusal(text, [self.present, *self._known()], self._items()):
                self.say(f"refused, {why}: {text[:80]}")
                refused = Persona(round=BESIDE, role=self.role, text=text, call=call, reason=f"refused: {why}")
                self.ledger.add(refused)
                self.refused.append(refused)
                continue
            evaluation = await self._on_steer(text)
            self.scored[text] = (evaluation, call)
            self.say(f"{evaluation.correct} of {evaluation.n}: {text}")

    async def settle(self) -> Evolved:
        """Test the best persona, if it is better on the steer suite, and put all on record."""
        order = sorted(self.scored, key=lambda text: (-self.scored[text][0].correct, len(text), text))
        best = order[0] if order and self.scored[order[0]][0].correct > self.baseline.correct else None
        tested, comparison, alpha = None, None, None
        if best is not None:
            tested, comparison, alpha = await self._test(best)
        tried = [Tried(text=one.text, reason=one.reason) for one in self.refused]
        for text in order:
            evaluation, call = self.scored[text]
            if tested is not None and text == best:
                reason = tested.reason
            else:
                reason = "not the best of its steer scores" if best else "no better on the steer suite: not tested"
                self._record(text, call, reason, (self.baseline, evaluation))
            tried.append(Tried(text=text, reason=reason, correct=evaluation.correct, n=evaluation.n))
        return Evolved(
            run=self.ledger.run,
            role=self.role,
            present=self.present,
            present_correct=self.baseline.correct,
            present_n=self.baseline.n,
            tried=tried,
            kept=best if tested is not None and tested.kept else None,
            persona=tested.id if tested else None,
            comparison=comparison,
            alpha=alpha,
        )

    async def _test(self, text: str) -> tuple[Persona, Comparison, float]:
        """Old and new persona on the fresh questions, by the gate's test."""
        alpha = alpha_at(self.tests + 1, self.settings.alpha)
        self.say(f"testing the best on {len(self.fresh)} questions that nobody was asked (α = {alpha:.2g})")
        old = await self.judging.on("train", self.adapter, self.fresh, BESIDE, WithPersona(text=self.present))
        new = await self.judging.on("train", self.adapter, self.fresh, BESIDE, WithPersona(text=text))
        found = compare(old, new, self.settings)
        against = gate_objections(found, alpha, self.settings)
        points = f"{found.won} items won, {found.lost} lost, p = {found.p_value:.2g}, α = {alpha:.2g}"
        reason = f"dropped: {'; '.join(against)}" if against else f"kept: {points}"
        self.say(reason)
        persona = self._record(text, self.scored[text][1], reason, (old, new), found, kept=not against)
        return persona, found, alpha

    def _record(
        self,
        text: str,
        call: str,
        reason: str,
        pair: tuple[Evaluation, Evaluation],
        found: Comparison | None = None,
        *,
        kept: bool = False,
    ) -> Persona:
        persona = Persona(
            round=BESIDE,
            role=self.role,
            text=text,
            parent=self.parent.id if self.parent else None,
            call=call,
            kept=kept,
            reason=reason,
            evaluations=tuple(one.id for one in pair),
            effect=found.effect if found else 0.0,
            effect_low=found.low if found else 0.0,
            effect_high=found.high if found else 0.0,
            p_value=found.p_value if found else 1.0,
        )
        self.ledger.add(persona)
        return persona

    async def _on_steer(self, text: str) -> Evaluation:
        steer = self.judging.suites.steer
        return await self.judging.on("steer", self.adapter, steer, BESIDE, WithPersona(text=text))

    def _history(self) -> dict[str, Evaluation]:
        """Personas with their steer evaluations, of this call and of earlier ones under the same adapter."""
        found: dict[str, Evaluation] = {}
        for persona in self.before:
            for one in self.ledger.get_many(persona.evaluations[1:]).values():
                if isinstance(one, Evaluation) and one.suite == "steer" and one.adapter == self.adapter:
                    found[persona.text] = one
        return found | {text: evaluation for text, (evaluation, _) in self.scored.items()}

    def _rated(self, text: str, evaluation: Evaluation) -> Rated:
        return Rated(text=text, correct=evaluation.correct, n=evaluation.n)

    def _known(self) -> list[str]:
        return [*self.scored, *(one.text for one in self.before if not one.reason.startswith("refused"))]

    def _examples(self) -> list[str]:
        """Questions that the run has practised; never an evaluation item."""
        asked = [one.task for one in self.ledger.find(Proposal) if one.accepted and one.task]
        step = max(len(asked) // SHOWN, 1)
        found = (self.ledger.get(id) for id in asked[::step][:SHOWN])
        return [task.question for task in found if isinstance(task, Task)]

    def _items(self) -> list[Task]:
        return [*self.judging.suites.tasks, *self.fresh]


def refusal(text: str, earlier: Iterable[str], items: Sequence[Task]) -> str:
    """Why a persona may not be tried; empty if it may.

    Args:
        text: The persona.
        earlier: Those that were tried already.
        items: Evaluation items, with their truths: what looks at them here shows them to nobody.
    """
    if not text.strip():
        return "empty or cut off"
    if len(text) > MOST_CHARACTERS:
        return f"longer than {MOST_CHARACTERS} characters"
    if _plain(text) in {_plain(one) for one in earlier}:
        return "the same as before"
    within = _plain(text)
    tight = within.replace(" ", "")
    for task in items:
        meant = _plain(task.canonical).replace(" ", "")
        if _plain(task.question) in within or (len(meant) >= SHORT and meant in tight):
            return "holds an evaluation item"
    words = set(re.findall(r"-?\d+(?:\.\d+)?", within))
    for task in items:
        for truth in map(str, task.truth.values()):
            if truth in words or (len(truth) >= SHORT and not truth.isdigit() and _plain(truth) in within):
                return "holds the answer of an evaluation item"
    return ""


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
