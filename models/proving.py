"""Judges by log-probabilities which weights answer under an adapter's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from quintet.models.adapters import Probe
from quintet.models.requests import Proof


def proof(
    adapter: str, probe: Probe, served: Sequence[float], far: float, others: Mapping[str, Sequence[float]]
) -> Proof:
    """Whether what is served is nearer to the adapter than to what might be served in its place.

    That is, the weights that its training started from, and the other adapters.

    Args:
        adapter: Its id.
        probe: What PEFT computed with the one and with the other.
        served: Log-probabilities of the probe's last tokens, as served, in nats.
        far: Mean difference in nats above which two computations are not of the same weights.
        others: Log-probabilities of these tokens with other adapters, by id.
    """
    to_mine, to_start = _apart(served, probe.logprobs), _apart(served, probe.start_logprobs)
    nearest, gap = min(to_mine, to_start), _apart(probe.logprobs, probe.start_logprobs)
    neither = nearest > far
    decided = neither or gap >= 2 * nearest
    mistaken = _mistaken(probe, served, to_mine, others)
    ok = not mistaken and not neither and (to_mine < to_start or not decided)
    return Proof(adapter=adapter, served=to_mine, other=to_start, decided=decided, mistaken=mistaken, ok=ok)


def _mistaken(probe: Probe, served: Sequence[float], to_mine: float, others: Mapping[str, Sequence[float]]) -> str:
    """The nearest other adapter, where the probe tells that this one is served."""
    to_others = {other: _apart(served, logprobs) for other, logprobs in others.items()}
    nearest = min(to_others, key=lambda other: to_others[other], default="")
    if not nearest or to_others[nearest] >= to_mine:
        return ""
    return nearest if _apart(probe.logprobs, others[nearest]) >= 2 * to_others[nearest] else ""


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    return fmean(abs(mine - others) for mine, others in zip(one, other, strict=True))
