"""The episode graph: the conversation about one task, until it is accepted or out of turns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import Command

from quintet.agents.hearing import hear
from quintet.agents.roles import Role
from quintet.agents.table import Episode


class EpisodeState(TypedDict):
    """The conversation. It is not checkpointed: a resumed round is answered from the call log."""

    episode: Episode


def episode_graph(roles: Sequence[Role]) -> StateGraph[EpisodeState, None, EpisodeState, EpisodeState]:
    """The uncompiled graph: the roles speak in turn, then the router asks for a revision or ends.

    Args:
        roles: Seated, in speaking order; the first is asked again when something is to be revised.
    """
    graph = StateGraph(EpisodeState)
    for role in roles:
        graph.add_node(role.name, speak(role))
    graph.add_node("route", router(roles[0].name))
    names = [START, *(role.name for role in roles), "route"]
    for earlier, later in pairwise(names):
        graph.add_edge(earlier, later)
    return graph


def speak(role: Role) -> Any:
    """The node in which a role speaks."""

    async def node(state: EpisodeState) -> dict[str, Any]:
        await hear(role, state["episode"])
        return {"episode": state["episode"]}

    return node


def router(first: str) -> Any:
    """The node that opens another turn while the table wants an attempt revised and turns are left."""

    def route(state: EpisodeState) -> Command[Any]:
        episode = state["episode"]
        revisable = episode.revisable()
        if not revisable or episode.turn + 1 >= episode.turns:
            return Command(goto="__end__")
        episode.open_turn(revisable)
        return Command(goto=first)

    # LangGraph reads the destinations from the annotation, which cannot name a variable.
    route.__annotations__["return"] = Command[Literal[first, "__end__"]]  # type: ignore[valid-type]
    return route
