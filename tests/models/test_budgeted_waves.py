"""A wave asks what is left: before it begins, and at each step."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from quintet.models.engine import Engine
from quintet.models.errors import SpentError
from quintet.models.requests import Request, Sampling
from quintet.models.waves import Wave, Waves
from quintet.records import Message


class Purse:
    """So many tokens a wave."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    def meter(self) -> Callable[[int], str]:
        return lambda spent: "nothing is left" if spent >= self.tokens else ""


def ask(n: int = 1) -> Request:
    message = Message(role="user", content="Count.")
    return Request(messages=(message,), n=n, sampling=Sampling(temperature=1.0, max_tokens=200), seed="s")


async def test_a_wave_stops_in_the_middle_and_another_does_not_begin(llama: Engine) -> None:
    seen: list[Wave] = []
    purse = Purse(60)
    waves = Waves(llama, on_wave=seen.append, budget=purse)
    with pytest.raises(SpentError, match="nothing is left"):
        await waves.submit(ask(4))
    assert 0 < seen[-1].progress.tokens < 4 * 200
    purse.tokens = 0
    before = len(seen)
    with pytest.raises(SpentError):
        await waves.submit(ask())
    assert len(seen) == before
    purse.tokens = 10_000
    _, reply, _ = await waves.submit(ask())
    assert reply.completions[0].tokens
    waves.close()
