"""What the base model makes of a data set's answers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from quintet.models.threads import THREADS
from quintet.records import Message
from quintet.tasks.family import AnyQuestion

if TYPE_CHECKING:
    from quintet.models.catalogue import ModelFiles
    from quintet.models.engine import Engine
    from quintet.models.settings import ModelSettings

LEAD = "Answer:"
"""What the answer to score follows, in the form that questions ask for; its own tokens are not counted."""


class AnswerQuality:
    """Scores answers by the base model's mean log-probability a token (Wenzek et al. 2019, arXiv 1911.00359).

    Loaded at the first question, since what was scored before is not scored again.
    """

    paper: ClassVar[str] = "Wenzek et al. 2019 (CCNet), arXiv 1911.00359"

    def __init__(self, settings: ModelSettings) -> None:
        self._settings = settings
        self._engine: Engine | None = None

    @property
    def revision(self) -> str:
        """Which model it is, and in what precision."""
        files = self._located()
        return f"{files.revision} {files.chat_template} {self._settings.dtype}"

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Mean log-probability of each answer after its question, in nats a token; lowest where there is none."""
        from quintet.models.requests import Request

        if self._engine is None:
            from quintet.models.engine import Engine

            self._engine = Engine(self._located(), self._settings)
        lead = len(self._engine.tokenizer(LEAD, add_special_tokens=False)["input_ids"])
        requests = [
            Request(
                messages=(Message(role="user", content=AnyQuestion(question).ask(question)),),
                given=f"{LEAD} {answer}",
            )
            for question, answer in pairs
        ]
        found = []
        for reply in self._engine.generate(requests):
            own = reply.completions[0].logprobs[lead:]
            found.append(round(sum(own) / len(own), 4) if own else float("-inf"))
        return found

    def _located(self) -> ModelFiles:
        # Before the imports below load torch, which reads some of these once.
        for name, value in THREADS.items():
            os.environ.setdefault(name, value)

        from quintet.models.catalogue import locate

        return locate(self._settings.name, self._settings.network, self._settings.chat_template)
