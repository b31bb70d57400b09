"""Why a grounded proposal is refused: held out, asked before, too hard as yet, or close in meaning to what is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from quintet.agents.playing import environment
from quintet.agents.sources.bench import Bench
from quintet.agents.sources.port import Draft
from quintet.memory.queries import cosine
from quintet.records import Task

NEAR = 0.05
"""Cosine distance to an evaluation item from which on a free-text question may ask something else. One item in two
wordings of the same template lies at 0.02; two items of one template, other numbers in them, at 0.04 to 0.1."""


@dataclass
class Refusing:
    """Reasons against the drafts of one source; what is accepted meanwhile stands on the bench."""

    bench: Bench
    drafts: Sequence[Draft]
    held_out: dict[str, float] = field(default_factory=dict)
    """By question in the model's own words, its distance to the nearest evaluation item."""
    earlier: dict[str, float] = field(default_factory=dict)
    """The same, to the nearest question of earlier rounds."""
    among: dict[str, dict[str, float]] = field(default_factory=dict)
    """The same, to each free-text question of this round."""

    @classmethod
    async def of(cls, drafts: Sequence[Draft], bench: Bench) -> Refusing:
        """Look up all distances at once; none for typed drafts, whose canonical questions tell them apart."""
        texts = list(dict.fromkeys(draft.task.question for draft in drafts if draft.free))
        found = cls(bench, drafts)
        if texts:
            novelty, round = bench.table.memory.novelty, bench.round.number
            found.held_out = dict(zip(texts, await novelty(texts, Task, before=0), strict=True))
            found.earlier = dict(zip(texts, await novelty(texts, Task, before=round), strict=True))
            others = list(dict.fromkeys([*bench.free, *texts]))
            vectors = await bench.table.memory.vectors(others)
            for text in texts:
                distances = cosine(vectors[others.index(text)], vectors).tolist()
                found.among[text] = dict(zip(others, distances, strict=True))
        return found

    def worth_trying(self) -> list[Draft]:
        """The drafts to be tried that nothing speaks against so far, each task once."""
        first: dict[str, Draft] = {}
        for draft in self.drafts:
            # What takes several turns is not tried: one reply says nothing about it.
            if draft.samples and not self.reason(draft) and environment(self.bench.table, draft.task) is None:
                first.setdefault(draft.task.id, draft)
        return list(first.values())

    def reason(self, draft: Draft) -> str:
        """Why a draft is not accepted; empty if it is."""
        task, examiner = draft.task, self.bench.table.examiner
        if task.family not in examiner.families:
            return "unknown family"
        if task.split != "train":
            return "held out for evaluation"
        if any(examiner.split(meaning) != "train" for meaning in draft.meanings):
            return "evaluation item in disguise"
        if task.canonical in self.bench.asked and not draft.again:
            return "duplicate"
        if task.level > draft.level + 1:
            return "too hard as yet"
        if draft.free:
            if self.held_out.get(task.question, 1.0) <= NEAR:
                return "too close to an evaluation item"
            here = self.among.get(task.question, {})
            near = [self.earlier.get(task.question, 1.0), *(here.get(other, 1.0) for other in self.bench.free)]
            if min(near) <= self.bench.table.settings.curator.duplicate_distance:
                return "near-duplicate"
        return ""
