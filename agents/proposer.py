"""The proposer sets the round's tasks: it asks its sources, and accepts what is grounded, new and within reach."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, NamedTuple

from quintet.agents.allocating import Arm, allotted
from quintet.agents.roles import RoundRole
from quintet.agents.settings import ProposerSettings
from quintet.agents.sources import Bench, Draft, Source, Trial, load_sources
from quintet.agents.sources.refusing import Refusing
from quintet.agents.table import Round
from quintet.models.errors import StoppingError
from quintet.records import Evaluation, Proposal, Record, Reply, Task
from quintet.tasks.errors import Ungrounded


class Wanted(NamedTuple):
    """What a source is asked for."""

    family: str
    level: int
    number: int


class Proposer(RoundRole):
    """Draws tasks from each family's generator, and asks the model to invent some of its own."""

    builtin: ClassVar[bool] = True
    after: ClassVar[str] = ""
    persona: ClassVar[str] = "You write short exercises."

    @property
    def settings(self) -> ProposerSettings:
        """The proposer's settings."""
        return self.table.settings.proposer

    async def act(self, round: Round) -> list[Record]:
        """All proposals of the round with the tasks that were accepted, each with its reason."""
        apart = self._this_round(round) | self._beside()
        asked = {t.canonical for t in self.table.ledger.find(Task) if t.split == "train" and t.id not in apart}
        bench = Bench(self, round, asked)
        sources = load_sources(self.settings)
        said, wanted = await self._shares(round, bench, sources)
        for source in sources:
            shares = wanted.get(source.name, [])
            for some in [shares] if source.together else [[share] for share in shares]:
                said += await self._from(source, round, some, bench)
        return said

    def rewards(self, round: Round) -> list[Record]:
        """What the round's proposals earned, once its attempts are judged; or why a source could not say."""
        bench, said = Bench(self, round, set()), list[Record]()
        for source in load_sources(self.settings):
            try:
                said += source.rewards(round, bench)
            except Exception as error:
                # A source is anybody's code.
                said.append(Reply(round=round.number, role=source.name, error=_first_line(error)))
        return said

    def _this_round(self, round: Round) -> set[str]:
        """Tasks that an interrupted run of this act has recorded already; they are not the past."""
        proposals = [proposal for proposal in self.table.ledger.find(Proposal) if proposal.task]
        now = {proposal.task for proposal in proposals if proposal.round == round.number}
        return {id for id in now if id} - {proposal.task for proposal in proposals if proposal.round < round.number}

    def _beside(self) -> set[str]:
        """Practice questions that a user had answered beside the run, as a test of personas does, and no round set."""
        ledger = self.table.ledger
        tried = {id for one in ledger.find(Evaluation) if one.suite == "train" and not one.round for id in one.tasks}
        return tried and tried - {proposal.task for proposal in ledger.find(Proposal)}

    async def _shares(
        self, round: Round, bench: Bench, sources: Sequence[Source]
    ) -> tuple[list[Record], dict[str, list[Wanted]]]:
        """What each source is asked for, and the record of it where the shares are learnt."""
        arms = {
            f"{source.name}/{family}": number
            for source in sources
            if (number := source.number(self.settings))
            for family in source.families(bench)
        }
        allocation, counts = await allotted(self.table, round, list(arms), sum(arms.values()))
        wanted: dict[str, list[Wanted]] = {}
        for name, number in (arms if allocation is None else counts).items():
            arm = Arm.parse(name)
            level = round.levels.get(arm.family, 0) if arm.level is None else arm.level
            if number:
                wanted.setdefault(arm.source, []).append(Wanted(arm.family, level, number))
        return ([] if allocation is None else [allocation]), wanted

    async def _from(self, source: Source, round: Round, shares: Sequence[Wanted], bench: Bench) -> list[Record]:
        """What a source proposes, with what becomes of it."""

        async def seated(share: Wanted) -> list[Record | Draft]:
            async with self.table.seated():
                return await self._proposed(source, round, share, bench)

        proposed = await asyncio.gather(*(seated(share) for share in shares))
        found = [one for calls in proposed for one in calls]
        refusing = await Refusing.of([one for one in found if isinstance(one, Draft)], bench)
        trials = await self._tried(refusing.worth_trying(), bench)
        said: list[Record] = []
        for one in found:
            said += self._accept(source, one, refusing, trials, bench) if isinstance(one, Draft) else [one]
        return said

    async def _proposed(self, source: Source, round: Round, share: Wanted, bench: Bench) -> list[Record | Draft]:
        """What a source proposes of one family; its failure costs no more than that."""
        from quintet.memory.errors import LedgerError

        family, level, number = share
        try:
            found = await source.propose(round, family, level, number, bench)
            for one in found:
                if not isinstance(one, Record | Draft) or isinstance(one, Task) or _accepted(one):
                    raise TypeError(f"{source.name} gave a {type(one).__name__} where drafts bring tasks")
            return found
        except (LedgerError, StoppingError):
            raise
        except Exception as error:
            # A source is anybody's code.
            if source.vital:
                raise
            return [bench.proposal(source, 0, family, level, reason="source failed", content=_first_line(error))]

    async def _tried(self, drafts: Sequence[Draft], bench: Bench) -> dict[str, Trial | str]:
        """The solver's attempts at each draft, by task; or why there are none."""

        async def seated(draft: Draft) -> Trial | str:
            # A seat for each: they ask together.
            async with self.table.seated():
                try:
                    return await bench.trial(draft)
                except Ungrounded as refused:
                    return refused.reason

        found = await asyncio.gather(*(seated(draft) for draft in drafts))
        return {draft.task.id: trial for draft, trial in zip(drafts, found, strict=True)}

    def _accept(
        self, source: Source, draft: Draft, refusing: Refusing, trials: dict[str, Trial | str], bench: Bench
    ) -> list[Record]:
        """Accept a grounded proposal unless it is held out, known, trivial or too hard as yet."""
        reason, trial = refusing.reason(draft), trials.get(draft.task.id)
        if not reason and isinstance(trial, str):
            reason = trial
        if isinstance(trial, Trial):
            draft = replace(draft, proposal=draft.proposal.with_(trial=trial.call))
            if not reason:
                try:
                    draft = source.tried(draft, trial)
                    reason = refusing.reason(draft)
                except Ungrounded as refused:
                    reason = refused.reason
                except Exception as error:
                    # A source is anybody's code.
                    reason = f"source failed: {_first_line(error)}"
        task = draft.task
        if reason:
            # The task itself stays unrecorded: a held-out question must not look like a training task.
            return [draft.proposal.with_(reason=reason, level=task.level)]
        known = "asked again" if task.canonical in bench.asked else "new"
        reason = draft.proposal.reason or known
        accepted = draft.proposal.with_(accepted=True, reason=reason, level=task.level, task=task.id)
        bench.took(draft, accepted)
        return [task, accepted]


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:400]


def _accepted(one: Record | Draft) -> bool:
    return isinstance(one, Proposal) and one.accepted
