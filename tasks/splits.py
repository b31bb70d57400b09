"""Who may see a question: a fixed function of its meaning, so that no seed can leak a test into training."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import get_args

from quintet.records import Split

_ORDER: tuple[Split, ...] = get_args(Split)


def split_of(canonical: str, shares: Mapping[Split, float], deal: str = "") -> Split:
    """The split that owns a question, the same under every seed.

    Args:
        canonical: The question's meaning.
        shares: Share of all questions that each split owns, summing to 1.
        deal: Names the partition; another name deals all questions out anew.

    Returns:
        The split. Changing the shares or the deal moves questions between splits; nothing else does.
    """
    position = int.from_bytes(hashlib.sha256(f"{deal}{canonical}".encode()).digest()[:8], "big") / 2**64
    end = 0.0
    owner = _ORDER[0]
    for split in _ORDER:
        share = shares.get(split, 0.0)
        if share > 0:
            owner = split
        end += share
        if position < end:
            return split
    # Rounding may leave the shares' sum a hair below 1: the last split that has a share owns the rest.
    return owner
