"""Tasks made from earlier ones: harder, easier, backwards, in other words, or two in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, get_args

from quintet.agents.sources.bench import Bench, Seed, Trial
from quintet.agents.sources.port import Draft, Source, checked, wholes
from quintet.agents.table import Round
from quintet.records import Record, digest
from quintet.tasks.errors import Ungrounded
from quintet.tasks.family import Draft as Question
from quintet.tasks.transforming import Made, backwards, is_expression, is_pair, joined
from quintet.tasks.written import NAME, Rewording, in_words, reworded, tells_no_answer

from typing import Literal  # isort: skip

How = Literal["harder", "easier", "reversed", "rephrased", "composed"]

TYPED: tuple[How, ...] = ("harder", "easier")
"""Ways that keep the family."""

LONGEST = 80
"""Tokens of a rewording."""


class Transformed(Source):
    """Makes tasks from earlier ones: harder, easier, reversed, rephrased, composed (Evol-Instruct, arXiv 2304.12244).

    Harder and easier are typed tasks that the model writes with an old one before it, its schema narrowed to another
    level (Evol-Instruct of WizardLM, Xu et al. 2023). Reversed (the backward questions of MetaMath, Yu et al. 2023,
    arXiv 2309.12284) and composed ones are made by an exact program. Rephrased ones (WRAP, Maini et al. 2024,
    arXiv 2401.16380; MetaMath) are the model's words: the numbers must be the same, the old task's truth carries over,
    and the solver's answers must not agree on another. Seeds are tasks of middling pass rate, each used once if there
    are enough.

    Args:
        kinds: Which of the five.
        samples: The solver's attempts at a rephrased or easier task before it is accepted.
        agreement: Share of them that contradicts a truth if they agree on another answer, above 0 to 1.
        temperature: Of a rewording.
    """

    name: ClassVar[str] = "transformed"
    method: ClassVar[str] = "synthetic, transformation-based"
    paper: ClassVar[str] = (
        "WizardLM, Xu et al. 2023, arXiv 2304.12244; WRAP, Maini et al. 2024, arXiv 2401.16380; MetaMath, Yu et al. "
        "2023, arXiv 2309.12284"
    )
    template: ClassVar[str] = "transformed.jinja"
    needs: ClassVar[tuple[str, ...]] = (NAME,)

    def __init__(
        self, kinds: Sequence[How] = get_args(How), samples: int = 4, agreement: float = 0.6, temperature: float = 0.8
    ) -> None:
        for kind in kinds:
            checked("kinds", kind, kind in get_args(How), f"one of {', '.join(get_args(How))}")
        checked("kinds", list(kinds), bool(kinds), "at least one")
        checked("samples", samples, wholes(samples), "a whole number above 0")
        checked("agreement", agreement, 0 < agreement <= 1, "above 0 and at most 1")
        checked("temperature", temperature, temperature >= 0, "0 or more")
        self.kinds, self.samples = tuple(dict.fromkeys(kinds)), samples
        self.agreement, self.temperature = agreement, temperature

    def families(self, bench: Bench) -> list[str]:
        """Those practised that the model can propose for, and that of written questions."""
        typed = super().families(bench) if set(self.kinds) & set(TYPED) else []
        return [*typed, *([NAME] if set(self.kinds) - set(TYPED) else [])]

    async def propose(self, round: Round, family: str, level: int, wanted: int, bench: Bench) -> list[Record | Draft]:
        """As many of each kind as of the others, those named first before."""
        kinds = [kind for kind in self.kinds if (kind in TYPED) == (family != NAME)]
        numbers = {kind: len(range(place, wanted, len(kinds))) for place, kind in enumerate(kinds)}
        found: list[Record | Draft] = []
        for kind, number in numbers.items():
            if number:
                make = {"harder": self._typed, "easier": self._typed, "rephrased": self._rephrased}.get(
                    kind, self._computed
                )
                found += await make(kind, family, level, number, bench)
        return _numbered(found)

    async def _typed(self, kind: How, family: str, level: int, wanted: int, bench: Bench) -> list[Record | Draft]:
        """The model's, one seed for all: what it writes must be at another level than the seed."""
        own = bench.fresh(self, kind, bench.seeds(family))
        seeds = [seed for seed in own if (seed.task.level <= level if kind == "harder" else seed.task.level > 0)]
        if not seeds:
            return [bench.proposal(self, 0, family, level, how=kind, reason="no seeds")]
        seed = seeds[0].task
        step = 1 if kind == "harder" else -1
        schema = bench.table.examiner.families[family].proposal_at(seed.level + step)
        said = await bench.ask(self, wanted, f"{kind} {family}", schema, how=kind, question=seed.question)
        found: list[Record | Draft] = []
        for completion in said.completions:
            about = {"call": said.call, "content": completion.text, "seeds": (seed.id,), "how": kind}
            proposal = bench.proposal(self, 0, family, level, **about)
            try:
                task = await bench.ground(family, completion.text)
                if step * (task.level - seed.level) <= 0:
                    raise Ungrounded(f"not {kind}", f"level {task.level} after {seed.level}")
            except Ungrounded as refused:
                found.append(proposal.with_(reason=refused.reason))
            else:
                # What is below the present level may be solved at once, and then teaches nothing.
                samples = self.samples if task.level < level else 0
                found.append(Draft(proposal, task, level, samples=samples))
        return found

    async def _rephrased(self, kind: How, family: str, level: int, wanted: int, bench: Bench) -> list[Record | Draft]:
        """The model's words, one seed for all."""
        seeds = [seed for seed in self._seeds(kind, bench) if _numeric(seed)]
        if not seeds:
            return [bench.proposal(self, 0, family, level, how=kind, reason="no seeds")]
        seed = seeds[0].task
        about = f"{kind} {seed.family}"
        said = await bench.ask(
            self, wanted, about, Rewording, LONGEST, self.temperature, how=kind, question=seed.question
        )
        found: list[Record | Draft] = []
        for completion in said.completions:
            given = {"call": said.call, "content": completion.text, "seeds": (seed.id,), "how": kind}
            proposal = bench.proposal(self, 0, family, level, **given)
            try:
                words = reworded(completion.text, seed.question)
                truth = {"answer": tells_no_answer(words, seed.truth["answer"])}
            except Ungrounded as refused:
                found.append(proposal.with_(reason=refused.reason))
            else:
                task = bench.task(family, Question(question=words, canonical=in_words(words), truth=truth))
                found.append(Draft(proposal, task, level, free=True, samples=self.samples))
        return found

    async def _computed(self, kind: How, family: str, level: int, wanted: int, bench: Bench) -> list[Record | Draft]:
        """An exact program's: each from a seed of its own, or from two."""
        found: list[Record | Draft] = []
        fits = is_pair if kind == "reversed" else is_expression
        seeds = [seed for seed in self._seeds(kind, bench) if fits(seed.task.canonical)]
        size = 1 if kind == "reversed" else 2
        for group in list(zip(*[iter(seeds)] * size, strict=False))[:wanted]:
            tasks = [seed.task for seed in group]
            proposal = bench.proposal(self, 0, family, level, seeds=tuple(task.id for task in tasks), how=kind)
            try:
                made = self._made(kind, [task.canonical for task in tasks])
            except Ungrounded as refused:
                found.append(proposal.with_(reason=refused.reason))
            else:
                found.append(Draft(proposal, bench.task(family, made.draft), level, meanings=made.meanings))
        return found or [bench.proposal(self, 0, family, level, how=kind, reason="no seeds")]

    def _made(self, kind: How, canonicals: Sequence[str]) -> Made:
        if kind == "composed":
            return joined(*canonicals)
        return backwards(canonicals[0], hide_first=int(digest(canonicals[0])[:2], 16) % 2 == 0)

    def _seeds(self, kind: How, bench: Bench) -> list[Seed]:
        """Typed tasks that are practised; what was written already is not turned again."""
        return bench.fresh(self, kind, bench.seeds(*bench.round.levels))

    def tried(self, draft: Draft, trial: Trial) -> Draft:
        """Refuse a rewording that the solver's answers contradict, and what is below the level and solved at once."""
        if draft.proposal.how != "rephrased":
            if all(trial.right):
                raise Ungrounded("trivial", "solved at once")
            return draft.because(f"new; {sum(trial.right)} of {len(trial.right)} trial attempts right")
        answer, votes = trial.majority()
        agreed = answer is not None and votes >= self.agreement * len(trial.answers)
        if agreed and not trial.right[trial.answers.index(answer)]:
            raise Ungrounded("contradicted", f"{votes} of {len(trial.answers)} said {answer}")
        return draft.because(f"new; {sum(trial.right)} of {len(trial.right)} trial attempts right")


def _numeric(seed: Seed) -> bool:
    """Whether a task's truth is one whole number."""
    answer = seed.task.truth.get("answer")
    return isinstance(answer, str) and answer.removeprefix("-").isdecimal()


def _numbered(found: Sequence[Record | Draft]) -> list[Record | Draft]:
    """The same, each proposal with its place."""
    numbered: list[Record | Draft] = []
    for number, one in enumerate(found):
        if isinstance(one, Draft):
            numbered.append(replace(one, proposal=one.proposal.with_(number=number)))
        else:
            numbered.append(one.with_(number=number))
    return numbered
