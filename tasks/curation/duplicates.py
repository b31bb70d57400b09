"""Finds near-duplicates among more questions than memory holds: MinHash signatures on disk, sorted a band at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

PERMUTATIONS = 128
"""Hash functions of a signature; likeness is estimated to sqrt(J(1 - J) / this): 0.035 at 0.8."""

CAUGHT = 0.9
"""Least chance that two questions just as like as the threshold meet in some band."""

BLOCK = 1 << 18
"""Pairs compared at once."""

Array = np.ndarray[Any, np.dtype[Any]]

_NUMBER = re.compile(r"\d+")
_TOKEN = np.random.default_rng(0)
_FACTORS = (_TOKEN.integers(0, 2**32, PERMUTATIONS, dtype=np.uint32) | np.uint32(1)).astype(np.uint32)
_SHIFTS = _TOKEN.integers(0, 2**32, PERMUTATIONS, dtype=np.uint32)


class NearDuplicates:
    """Finds questions that say nearly the same as an earlier one, by MinHash (Lee et al. 2021, arXiv 2107.06499).

    Signatures of 128 hash functions, a byte of each (Li & König 2010, arXiv 0910.3349), are written to
    disk a band at a time. Questions that agree in a whole band are compared by all bands. Memory holds one band
    (at 0.8, eight bytes a question) and its order.

    Args:
        folder: Where the bands are written.
        threshold: Jaccard likeness from which the later one is a duplicate.
        shingle: Bytes of the runs that likeness is counted in.
        same_numbers: Whether only questions with the same numbers can be duplicates.
    """

    name: ClassVar[str] = "near_duplicates"
    paper: ClassVar[str] = "Lee et al. 2021, arXiv 2107.06499; b-bit signatures: Li & König 2010, arXiv 0910.3349"

    def __init__(self, folder: Path, threshold: float, shingle: int, same_numbers: bool) -> None:
        self.threshold, self.shingle, self.same_numbers = threshold, shingle, same_numbers
        self.rows = rows_of(threshold)
        self._files = [folder / f"band-{number}" for number in range(PERMUTATIONS // self.rows)]
        self._numbers = folder / "numbers"

    def add(self, texts: Sequence[str]) -> None:
        """Take more questions, in order."""
        if not texts:
            return
        found = signatures(texts, self.shingle)
        for number, path in enumerate(self._files):
            _append(path, np.ascontiguousarray(found[:, number * self.rows : (number + 1) * self.rows]))
        if self.same_numbers:
            _append(self._numbers, np.array([hash(tuple(map(int, _digits(text)))) for text in texts], dtype=np.int64))

    def of(self, alive: Array, stop: Callable[[], None] = lambda: None) -> Array:
        """For each question an earlier one that it nearly repeats, or -1.

        Args:
            alive: Whether a question is still there, `(questions,)`; others are not compared.
            stop: Called now and then; raises to end it.

        Returns:
            Indices, `(questions,)`.
        """
        first = np.full(len(alive), -1, dtype=np.int64)
        for path in self._files:
            stop()
            left = np.flatnonzero(alive & (first < 0))
            later, earlier = self._meeting(path, left)
            for start in range(0, len(later), BLOCK):
                stop()
                one, other = later[start : start + BLOCK], earlier[start : start + BLOCK]
                like = self.likeness(one, other) >= self.threshold
                first[one[like]] = other[like]
        return first

    def likeness(self, one: Array, other: Array) -> Array:
        """Estimated Jaccard likeness of pairs of questions, by index, `(pairs,)`."""
        same = np.zeros(len(one), dtype=np.int64)
        for path in self._files:
            band = np.memmap(path, dtype=np.uint8, mode="r").reshape(-1, self.rows)
            same += (band[one] == band[other]).sum(axis=1)
        # Two different minima have the same byte once in 256 times.
        return (same / PERMUTATIONS - 1 / 256) / (1 - 1 / 256)

    def _meeting(self, path: Path, left: Array) -> tuple[Array, Array]:
        """Pairs that agree in a band: each question with the first of those that agree, and with the one before it."""
        keys = self._keys(path)[left]
        order = np.argsort(keys, kind="stable")
        same = np.zeros(len(order), dtype=bool)
        same[1:] = keys[order][1:] == keys[order][:-1]
        starts = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))
        members = np.flatnonzero(same)
        nearest = members[starts[members] != members - 1]
        later = np.concatenate([members, nearest])
        earlier = np.concatenate([starts[members], nearest - 1])
        return left[order[later]], left[order[earlier]]

    def _keys(self, path: Path) -> Array:
        band = np.memmap(path, dtype=np.uint8, mode="r").reshape(-1, self.rows)
        keys = np.zeros(len(band), dtype=np.uint64)
        if self.same_numbers:
            keys ^= np.fromfile(self._numbers, dtype=np.uint64)
        for column in range(self.rows):
            keys *= np.uint64(0x100000001B3)
            keys ^= band[:, column]
        return mixed(keys)


def rows_of(threshold: float) -> int:
    """Hash functions of a band: as many as still let questions that are just as like as the threshold meet."""
    for rows in (16, 8, 4, 2):
        if 1 - (1 - threshold**rows) ** (PERMUTATIONS // rows) >= CAUGHT:
            return rows
    return 1


def signatures(texts: Sequence[str], shingle: int) -> Array:
    """A byte of each of the smallest hashes of a text's runs.

    Args:
        texts: Not none.
        shingle: Bytes of a run, at most 8.

    Returns:
        Bytes, `(texts, PERMUTATIONS)`.
    """
    encoded = [text.encode().ljust(shingle) for text in texts]
    lengths = np.array([len(text) for text in encoded])
    data = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    runs = np.zeros(len(data) - shingle + 1, dtype=np.uint64)
    for place in range(shingle):
        runs |= data[place : len(runs) + place].astype(np.uint64) << np.uint64(8 * place)
    ends = np.repeat(np.cumsum(lengths), lengths)[: len(runs)]
    inside = ends - np.arange(len(runs)) >= shingle
    hashed = (mixed(runs[inside]) >> np.uint64(32)).astype(np.uint32)
    counts = lengths - shingle + 1
    starts = np.cumsum(counts) - counts
    found = np.empty((len(texts), PERMUTATIONS), dtype=np.uint8)
    buffer = np.empty_like(hashed)
    for number in range(PERMUTATIONS):
        np.multiply(hashed, _FACTORS[number], out=buffer)
        np.bitwise_xor(buffer, _SHIFTS[number], out=buffer)
        found[:, number] = np.minimum.reduceat(buffer, starts) & np.uint32(0xFF)
    return found


def mixed(values: Array) -> Array:
    """Well-spread 64-bit numbers for 64-bit numbers (SplitMix64)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = values ^ (values >> np.uint64(31))
    return mixed


def _digits(text: str) -> list[str]:
    # Longer ones are no numbers that anybody compares, and take long to read.
    return [number[:300] for number in _NUMBER.findall(text)]


def _append(path: Path, values: Array) -> None:
    with path.open("ab") as file:
        values.tofile(file)
