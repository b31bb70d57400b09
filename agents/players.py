"""The five players, in the order in which the lifecycle calls them."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from quintet.agents.critic import Critic
from quintet.agents.curator import Curator
from quintet.agents.proposer import Proposer
from quintet.agents.roles import EpisodeRole, Role, RoundRole, plugged_in, seating
from quintet.agents.solver import Solver
from quintet.agents.trainer import Trainer


def round_players() -> list[RoundRole]:
    """Those who act once a round."""
    return [Proposer(), Curator(), Trainer()]


def episode_players() -> list[EpisodeRole]:
    """Those who speak about each task."""
    return [Solver(), Critic()]


class Seat(BaseModel):
    """A chair at the table, for a list."""

    role: str
    rhythm: str
    """`episode` or `round`."""
    after: str
    source: str
    """`built in`, or the module that brought it."""
    purpose: str


def at_the_table(joined: Sequence[Role] = ()) -> list[Seat]:
    """Who sits at the table, in speaking order; those who joined by entry point included."""
    joined = [*joined, *plugged_in()]
    order: list[Role] = []
    for builtin, kind in ((round_players(), RoundRole), (episode_players(), EpisodeRole)):
        order += seating(builtin, [role for role in joined if isinstance(role, kind)])
    # The conversation about tasks takes place after the proposer has set them.
    order.sort(key=lambda role: 0 if role.name == "proposer" else 1 if isinstance(role, EpisodeRole) else 2)
    return [
        Seat(
            role=role.name,
            rhythm="episode" if isinstance(role, EpisodeRole) else "round",
            after=role.after,
            source=type(role).__module__ if role in joined else "built in",
            purpose=(type(role).__doc__ or "").strip().splitlines()[0] if type(role).__doc__ else "",
        )
        for role in order
    ]
