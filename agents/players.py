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


def beside(roles: Sequence[Role]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Joined round roles by the player that they speak ahead of, and by the one that they follow.

    Between two players both are there: the conversations about the tasks, say, lie between the two groups.
    """
    players = {role.name for role in round_players()}
    ahead: dict[str, list[str]] = {}
    following: dict[str, list[str]] = {}
    player = ""
    between: list[Role] = []
    for role in roles:
        if role.name not in players:
            between.append(role)
            continue
        first = next((place for place, one in enumerate(between) if _leads(one, between, role.name)), len(between))
        if not player:
            first = 0
        following.setdefault(player, []).extend(one.name for one in between[:first])
        ahead[role.name] = [one.name for one in between[first:]]
        player, between = role.name, []
    following.setdefault(player, []).extend(one.name for one in between)
    return ahead, following


def _leads(role: Role, others: Sequence[Role], player: str) -> bool:
    """Whether a role sits before a player, or before one that does."""
    if role.before == player:
        return True
    return any(_leads(other, others, player) for other in others if other.name == role.before)


class Seat(BaseModel):
    """A chair at the table, for a list."""

    role: str
    rhythm: str
    """`episode` or `round`."""
    beside: str
    """Whom it speaks before or after."""
    source: str
    """`built in`, or the module that brought it."""
    purpose: str


def at_the_table(joined: Sequence[Role] = ()) -> list[Seat]:
    """Who sits at the table, in speaking order; those who joined by entry point included."""
    joined = [*joined, *plugged_in()]
    of_round = seating(round_players(), [role for role in joined if isinstance(role, RoundRole)])
    of_episode = seating(episode_players(), [role for role in joined if isinstance(role, EpisodeRole)])
    # The conversation about tasks takes place once the proposer, and who follows it, are done.
    done = sum(len(group) for group in (beside(of_round)[0]["proposer"], beside(of_round)[1]["proposer"])) + 1
    order = [*of_round[:done], *of_episode, *of_round[done:]]
    return [
        Seat(
            role=role.name,
            rhythm="episode" if isinstance(role, EpisodeRole) else "round",
            beside=f"before {role.before}" if role.before else f"after {role.after}" if role.after else "",
            source=type(role).__module__ if role in joined else "built in",
            purpose=(type(role).__doc__ or "").strip().splitlines()[0] if type(role).__doc__ else "",
        )
        for role in order
    ]
