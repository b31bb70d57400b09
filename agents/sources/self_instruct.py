"""Word problems that the model writes after a few that it remembers."""

from __future__ import annotations

from typing import ClassVar

from quintet.agents.sources.bench import Bench, Seed, Trial
from quintet.agents.sources.port import Draft, Source, checked, wholes
from quintet.agents.table import Round
from quintet.records import Proposal, Record
from quintet.tasks import expressions
from quintet.tasks.errors import Ungrounded
from quintet.tasks.transforming import is_pair
from quintet.tasks.written import NAME, Planned, WordProblem, readings, tells_no_answer, word_problem

LONGEST = 96
"""Tokens of a reply: an expression and two sentences."""

STORIES = {
    "+": "Ann has {} pens and gets {} more. How many pens does Ann have now?",
    "-": "Ann has {} pens and gives {} of them away. How many pens does Ann have left?",
    "*": "Ann has {} boxes with {} pens in each. How many pens does Ann have?",
}
"""A story for an expression of two numbers; told of a task for practice, it cannot give an evaluation item away."""


class SelfInstruct(Source):
    """Has the model write word problems after remembered ones (Self-Instruct, Wang et al. 2022, arXiv 2212.10560).

    The expression that answers the question comes first, as a plan of it, which follows the reasoning before writing of
    CoT-Self-Instruct (Yu et al. 2025, arXiv 2507.23751). Where the question names exactly the expression's numbers, the
    truth is computed, and accepted only if the solver's own answers agree on it: the expression is the proposer's word.
    Where there is nothing to compute, the answers that enough of them agree on are taken for the truth, which is on
    record as `Task.grounding = "agreement"`.

    Args:
        samples: The solver's attempts at a question before it is accepted.
        agreement: Share of them that must agree, above 0 to 1.
        seeds: Exercises shown to the model.
        temperature: Of its words; 1, at which typed tasks are invented, is too much for them.
    """

    name: ClassVar[str] = "self_instruct"
    method: ClassVar[str] = "synthetic, prompt-based"
    paper: ClassVar[str] = "Wang et al. 2022, arXiv 2212.10560; CoT-Self-Instruct, Yu et al. 2025, arXiv 2507.23751"
    template: ClassVar[str] = "self_instruct.jinja"
    needs: ClassVar[tuple[str, ...]] = (NAME,)

    def __init__(self, samples: int = 8, agreement: float = 0.6, seeds: int = 3, temperature: float = 0.8) -> None:
        checked("samples", samples, wholes(samples), "a whole number above 0")
        checked("agreement", agreement, 0 < agreement <= 1, "above 0 and at most 1")
        checked("seeds", seeds, wholes(seeds), "a whole number above 0")
        checked("temperature", temperature, temperature >= 0, "0 or more")
        self.samples, self.agreement, self.seeds, self.temperature = samples, agreement, seeds, temperature

    def families(self, bench: Bench) -> list[str]:
        """That of written questions."""
        return [NAME]

    async def propose(self, round: Round, family: str, level: int, wanted: int, bench: Bench) -> list[Record | Draft]:
        """One call for all of them."""
        found: list[Record | Draft] = []
        remembered: set[str] = set()
        for kind in (*round.levels, NAME) if bench.tasks else ():
            tasks, recall = await bench.recalled(bench.tasks[0].question, kind, 2 * self.seeds)
            remembered |= {task.id for task in tasks}
            found += [recall] if recall else []
        seeds = bench.fresh(self, "", bench.seeds(*round.levels, NAME))
        # What was remembered first; then whatever was set in the last rounds, or in this one.
        seeds.sort(key=lambda seed: seed.task.id not in remembered)
        shown = [(seed, text) for seed in seeds if (text := self._shown(seed, bench))][: self.seeds]
        if not shown:
            return [*found, bench.proposal(self, 0, family, level, reason="no seeds")]
        exercises = [text for _, text in shown]
        said = await bench.ask(self, wanted, family, Planned, LONGEST, self.temperature, exercises=exercises)
        made = tuple(seed.task.id for seed, _ in shown)
        for number, completion in enumerate(said.completions):
            proposal = bench.proposal(self, number, family, level, call=said.call, content=completion.text, seeds=made)
            try:
                found.append(self._draft(proposal, completion.text, level, exercises, bench))
            except Ungrounded as refused:
                found.append(proposal.with_(reason=refused.reason))
        return found

    def _draft(self, proposal: Proposal, content: str, level: int, shown: list[str], bench: Bench) -> Draft:
        problem = word_problem(content)
        if any(problem.question in exercise for exercise in shown):
            raise Ungrounded("duplicate", "copied from the prompt")
        if problem.answer is None:
            task = bench.task(proposal.family, problem.draft(), "agreement")
            return Draft(proposal, task, level, free=True, samples=self.samples)
        task = bench.task(proposal.family, problem.draft())
        return Draft(proposal, task, level, meanings=(problem.meaning,), free=True, samples=self.samples)

    def tried(self, draft: Draft, trial: Trial) -> Draft:
        """Take the majority's answer for the truth, or hold a computed truth against it, if enough agree on it."""
        answer, votes = trial.majority()
        said = f"{votes} of {len(trial.answers)}"
        if answer is None or votes < self.agreement * len(trial.answers):
            raise Ungrounded("no agreement", f"{said} said {answer}")
        if draft.task.truth:
            if not trial.right[trial.answers.index(answer)]:
                raise Ungrounded("contradicted", f"{said} said {answer}")
            return draft.because(f"new; computed, and {said} answers agree")
        task = draft.task.with_(truth={"answer": tells_no_answer(draft.task.question, answer)})
        meanings = tuple(sorted(readings(task.question, answer)))
        reason = f"new; truth by agreement of {said}"
        return Draft(draft.proposal, task, draft.level, meanings, free=True).because(reason)

    def _shown(self, seed: Seed, bench: Bench) -> str:
        """A seed as the JSON that is wanted; empty where it is no arithmetic that could be told as a story."""
        if seed.task.family == NAME:
            proposal = bench.table.ledger.get(seed.proposal)
            if not isinstance(proposal, Proposal) or proposal.origin != self.name:
                return ""
            return proposal.content if seed.task.grounding == "executor" else ""
        if not is_pair(seed.task.canonical):
            return ""
        tree = expressions.parse(seed.task.canonical)
        operands, operator = expressions.operands(tree), expressions.operators(tree)[0]
        if expressions.trivial(tree) or expressions.value(tree) < 0 or "-" in seed.task.canonical[:1]:
            return ""
        story = STORIES[operator].format(*operands)
        told = WordProblem(expression=f"{operands[0]} {operator} {operands[1]}", question=story)
        return told.model_dump_json()
