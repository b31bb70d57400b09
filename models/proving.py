"""Judges by log-probabilities which weights answer under an adapter's name."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from quintet.models.adapters import Probe
from quintet.models.requests import Proof


def proof(adapter: str, probe: Probe, served: Sequence[float], far: float) -> Proof:
    """Whether what is served is nearer to the adapter than to the weights that its training started from.

    Args:
        adapter: Its id.
        probe: What PEFT computed with the one and with the other.
        served: Log-probabilities of the probe's last tokens, as served, in nats.
        far: Mean difference in nats above which two computations are not of the same weights.
    """
    to_mine, to_start = _apart(served, probe.logprobs), _apart(served, probe.start_logprobs)
    nearest, gap = min(to_mine, to_start), _apart(probe.logprobs, probe.start_logprobs)
    neither = nearest > far
    decided = neither or gap >= 2 * nearest
    ok = not neither and (to_mine < to_start or not decided)
    return Proof(adapter=adapter, served=to_mine, other=to_start, decided=decided, ok=ok)


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    return fmean(abs(mine - others) for mine, others in zip(one, other, strict=True))
