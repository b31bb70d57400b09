"""Tasks from a family's generator, or from its data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from quintet.agents.sources.bench import Bench
from quintet.agents.sources.port import Draft, Source
from quintet.agents.table import Round
from quintet.records import Record, Task, digest
from quintet.tasks.errors import LevelTooNarrow

if TYPE_CHECKING:
    from quintet.agents.settings import ProposerSettings


class Drawn(Source):
    """Draws tasks from a family's generator or data set, at its training level."""

    name: ClassVar[str] = "drawn"
    method: ClassVar[str] = "generators and data sets"
    together: ClassVar[bool] = False
    vital: ClassVar[bool] = True

    def number(self, settings: ProposerSettings) -> int:
        """As `proposer.tasks` says."""
        return settings.tasks

    def families(self, bench: Bench) -> list[str]:
        """All that are practised."""
        return list(bench.round.levels)

    async def propose(self, round: Round, family: str, level: int, wanted: int, bench: Bench) -> list[Record | Draft]:
        """All that is new first; then questions asked before, for a narrow level may be asked twice."""
        drafts: list[Record | Draft] = []
        for number, task in enumerate(await self._draw(round, family, level, wanted, bench)):
            proposal = bench.proposal(self, number, family, level)
            drafts.append(Draft(proposal, task, level, again=True))
        return drafts

    async def _draw(self, round: Round, family: str, level: int, wanted: int, bench: Bench) -> list[Task]:
        seed = int(digest((bench.table.seed, "draw", round.number, family))[:8], 16)
        draw, asked = bench.table.examiner.draw, bench.asked
        try:
            return await draw(family, level, seed, wanted, "train", asked)
        except LevelTooNarrow as narrow:
            tasks = await draw(family, level, seed, narrow.found, "train", asked) if narrow.found else []
        new = {task.canonical for task in tasks}
        try:
            tasks += await draw(family, level, seed + 1, wanted - len(tasks), "train", new)
        except LevelTooNarrow as narrower:
            if narrower.found:
                tasks += await draw(family, level, seed + 1, narrower.found, "train", new)
        return tasks
