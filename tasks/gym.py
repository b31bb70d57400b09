"""reasoning-gym's families as task families: levels, canonical questions, and truths that survive JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from quintet.tasks import guard
from quintet.tasks.errors import LevelError
from quintet.tasks.family import Draft, TaskFamily
from quintet.tasks.gym_table import CHOICES, FORMS, LIBRARY_LEVELS, MISJUDGED
from quintet.tasks.levels import ladder
from quintet.tasks.truths import decode, encode

MAX_FAILURES = 20
"""Items in a row that a generator may fail at before its level counts as refused."""

_DROPPED = ("source_dataset", "source_index", "difficulty")
_DATED = {"time_intervals": ("start_time", "end_time")}
"""Metadata that no verifier reads and that changes with the day of the draw."""

_KEPT_DATASETS = 16


class GymFamily(TaskFamily):
    """A reasoning-gym family. The library is imported only where it draws or scores.

    Args:
        name: The library's name for it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.form = FORMS.get(name, "line")
        self._ladder = ladder(name)
        own, first = len(self._ladder.narrow), self._ladder.library
        self.levels = own + (LIBRARY_LEVELS[name] - first if first is not None else 0)
        self._datasets: dict[int, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_datasets": {}}

    def prepare(self) -> None:
        """Import the library (about a second), so that no time limit has to allow for it."""
        import reasoning_gym  # noqa: F401

    def draw(self, level: int, seed: int) -> Iterator[Draft]:
        """The library's items for a seed that only this family, level and seed have."""
        try:
            dataset = self._dataset(level, stream_seed(self.name, level, seed))
        except Exception as error:
            raise LevelError(f"{self.name} level {level} is refused by reasoning-gym: {_said(error)}") from error
        index = failures = 0
        while failures < MAX_FAILURES:
            try:
                item = dataset[index]
            except Exception as error:
                failures += 1
                if failures == MAX_FAILURES:
                    said = f"reasoning-gym failed {failures} times in a row: {_said(error)}"
                    raise LevelError(f"{self.name} level {level}: {said}") from error
            else:
                failures = 0
                # An empty answer cannot be told from none.
                if item["answer"] != "":
                    yield self.draft(item, level)
            index += 1

    def draft(self, item: dict[str, Any], level: int) -> Draft:
        """A library item as a draft."""
        metadata = item["metadata"]
        choices = CHOICES.get(self.name)
        return Draft(
            question=item["question"],
            canonical=self.canonical(item),
            truth={"answer": item["answer"], "level": level, "metadata": self.kept(metadata)},
            choices=choices(metadata) if callable(choices) else choices,
            level=level,
        )

    def kept(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """The metadata that scoring may need, as JSON."""
        dropped = _DROPPED + _DATED.get(self.name, ())
        return {key: encode(value) for key, value in metadata.items() if key not in dropped}

    def canonical(self, item: dict[str, Any]) -> str:
        """The question in lower case; runs of spaces are one, except where it has lines (grids need them)."""
        lines = [line.rstrip() for line in item["question"].strip().lower().split("\n")]
        return " ".join(lines[0].split()) if len(lines) == 1 else "\n".join(lines)

    def score(self, truth: dict[str, Any], answer: str) -> float:
        """The library's own score of an answer, except where that is known to be wrong."""
        if self.name in MISJUDGED:
            return float(answer.strip().lower() == truth["answer"].lower())
        entry = {"question": "", "answer": truth["answer"], "metadata": decode(truth["metadata"])}
        dataset = self._scorer(truth.get("level", 0))
        with guard.watching():
            return float(dataset.score_answer(answer, entry))

    def _scorer(self, level: int) -> Any:
        """A data set of the level: some verifiers need word lists or limits of its configuration."""
        if level not in self._datasets:
            if len(self._datasets) >= _KEPT_DATASETS:
                self._datasets.pop(next(iter(self._datasets)))
            self._datasets[level] = self._dataset(level, seed=0)
        return self._datasets[level]

    def _dataset(self, level: int, seed: int) -> Any:
        from reasoning_gym.factory import DATASETS, create_curriculum

        guard.disarm_evaluation()
        dataset, configuration = DATASETS[self.name]
        narrow = self._ladder.narrow
        if level < len(narrow):
            return dataset(config=configuration(seed=seed, **narrow[level].parameters))
        curriculum = create_curriculum(self.name)
        curriculum.set_global_level(level - len(narrow) + (self._ladder.library or 0))
        return dataset(config=curriculum.generate_configuration({"seed": seed}))


def stream_seed(name: str, level: int, seed: int) -> int:
    """A seed of its own for each stream: the library adds the item's index, so neighbours would overlap."""
    return int.from_bytes(hashlib.sha256(f"{name}/{level}/{seed}".encode()).digest()[:4], "big") >> 1


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
