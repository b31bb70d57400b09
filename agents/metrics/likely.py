"""Metrics of how likely the model finds an attempt: perplexity, and how much the question helps (IFD)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from quintet.agents.metrics.port import Candidate, Metric
from quintet.agents.scoring import Text, scored_texts
from quintet.agents.table import Table
from quintet.records import Call, Completion

ROLE = "curator"
"""Who asks for the likelihood of texts, in the calls on record."""

UNKNOWN = 0.0
"""The score of what could not be scored: no perplexity, and no ratio of two, is 0."""


class Perplexity(Metric):
    """Perplexity of the completion given its prompt, under the present incumbent: exp of the mean loss; 1 is certain.

    As a filter of data it was tested by Marion et al. 2023 (arXiv 2309.04564). What the incumbent itself wrote to this
    very prompt is not asked again: its log-probabilities are on record. 0 where it could not be scored.
    """

    name = "perplexity"
    paper: ClassVar[str] = "Marion et al. 2023, arXiv 2309.04564"
    rescores = True

    async def score(self, candidates: Sequence[Candidate], table: Table) -> list[float]:
        """From the model, where the ledger does not know."""
        return [math.exp(min(loss, 100.0)) if loss >= 0 else UNKNOWN for loss in await _losses(candidates, table)]


class InstructionFollowingDifficulty(Metric):
    """IFD: the completion's mean loss given its prompt, over its mean loss alone (Li et al. 2023, arXiv 2308.12032).

    Near 1 the question hardly helps the model to say this: hard, and worth learning; above 1 the two do not belong
    together. A ratio of mean losses, as in the authors' program (`data_by_IFD.py`), which also puts before the lone
    completion what opens a reply, as here. 0 where it could not be scored.
    """

    name = "ifd"
    paper: ClassVar[str] = "Li et al. 2023, arXiv 2308.12032"
    rescores = True

    async def score(self, candidates: Sequence[Candidate], table: Table) -> list[float]:
        """From the model: each completion alone, and with its prompt where the ledger does not know."""
        given = await _losses(candidates, table)
        alone = [_loss(one) for one in await _ask(candidates, table, alone=True)]
        return [a / b if a >= 0 and b > 0 else UNKNOWN for a, b in zip(given, alone, strict=True)]


async def _losses(candidates: Sequence[Candidate], table: Table) -> list[float]:
    """Mean loss of each completion given its prompt, in nats a token; −1 where there is none."""
    known = [_recorded(one, table) for one in candidates]
    asked = iter(
        await _ask([one for one, found in zip(candidates, known, strict=True) if found is None], table, alone=False)
    )
    return [_loss(next(asked) if found is None else found) for found in known]


def _recorded(candidate: Candidate, table: Table) -> Completion | None:
    """The completion as it was generated, if that was to this prompt and under this adapter; a trajectory always."""
    if not candidate.prompt:
        return candidate.completion
    if not candidate.completion.logprobs or candidate.attempt.adapter != candidate.adapter:
        return None
    call = table.ledger.get(candidate.attempt.call)
    return candidate.completion if isinstance(call, Call) and call.messages == candidate.prompt else None


async def _ask(candidates: Sequence[Candidate], table: Table, alone: bool) -> list[Completion]:
    texts = [
        Text(one.completion.tokens or one.completion.text, () if alone else one.prompt, one.task.id)
        for one in candidates
    ]
    if not texts:
        return []
    return await scored_texts(table, texts, candidates[0].adapter, ROLE, candidates[0].round)


def _loss(completion: Completion) -> float:
    return -sum(completion.logprobs) / len(completion.logprobs) if completion.logprobs else -1.0
