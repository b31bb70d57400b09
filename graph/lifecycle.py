"""The lifecycle graph: propose, episodes, curate, train, evaluate, decide, and the next round or the end."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, interrupt

# Not `typing`'s: before Python 3.12 pydantic refuses it, and LangGraph's server could show no form for the state.
from typing_extensions import TypedDict

from quintet.agents.hearing import hear
from quintet.agents.players import beside
from quintet.agents.playing import environment
from quintet.agents.proposer import Proposer
from quintet.agents.roles import EpisodeRole, Role, RoundRole
from quintet.agents.self_play import adapters, experiences
from quintet.agents.table import Episode, Round, Table
from quintet.agents.trainer import Trainer
from quintet.graph.budget import Budget
from quintet.graph.episode import episode_graph
from quintet.graph.errors import LoopError
from quintet.graph.judging import Judging
from quintet.graph.settings import Settings
from quintet.records import (
    BASE,
    Adapter,
    Lesson,
    Proposal,
    Reply,
    Row,
    Stage,
    Task,
)

if TYPE_CHECKING:
    from quintet.graph.opening import Emitter


class State(TypedDict):
    """Ids, counters and the curriculum; the records themselves stand in the ledger."""

    round: int
    """The round at work, from 1."""
    incumbent: str
    levels: dict[str, int]
    """Training level by family."""
    tasks: list[str]
    rows: list[str]
    candidate: str | None
    evaluations: dict[str, str]
    """Evaluation ids of the round by name: steer, gate_incumbent, gate_candidate and so on."""
    note: str
    """Why there is no candidate, where there is none."""


@dataclass(frozen=True)
class Context:
    """What the nodes work with and checkpoints do not hold."""

    settings: Settings
    table: Table
    judging: Judging
    round_roles: Sequence[RoundRole]
    """Seated, in speaking order."""
    episode_roles: Sequence[EpisodeRole]
    """Seated, in speaking order."""
    rounds: int
    """Rounds wanted in all."""
    emit: Emitter
    """Takes live progress events from anywhere."""
    budget: Budget | None = None
    """What the run may take, if that is limited."""

    def role(self, name: str) -> RoundRole:
        """A round role by name."""
        return next(role for role in self.round_roles if role.name == name)


Node = Any
"""`async (State, Runtime[Context]) -> update`; LangGraph's own type for it is a union of eleven protocols."""

NODE_OF = {"proposer": "propose", "curator": "curate", "trainer": "train"}
"""The lifecycle's node in which a player acts."""


def lifecycle(roles: Sequence[Role] = ()) -> StateGraph[State, Context, State, State]:
    """The uncompiled graph.

    Args:
        roles: All round roles in speaking order; those that joined get a node each, after the role they follow.
    """
    graph = StateGraph(State, context_schema=Context)
    nodes: dict[str, Node] = {
        "propose": propose,
        "episodes": episodes,
        "curate": curate,
        "approve": approve,
        "train": train,
        "evaluate": evaluate,
    }
    ahead, following = beside(roles)
    order: list[str] = []
    for name in nodes:
        player = next((player for player, node in NODE_OF.items() if node == name), "")
        order += [*ahead.get(player, []), name, *following.get(player, [])]
    for name in order:
        node = nodes.get(name) or joined(name)
        # Waiting for an answer takes nobody's time but the user's.
        graph.add_node(name, node if node is approve else timed(name, node))
    graph.add_node("decide", deciding(order[0]))
    graph.add_node("finish", timed("finish", finish))
    for earlier, later in zip([START, *order], [*order, "decide"], strict=True):
        graph.add_edge(earlier, later)
    graph.add_edge("finish", END)
    return graph


def timed(name: str, node: Node) -> Node:
    """The node, with its end and its seconds on record and told to whoever watches."""

    async def run(state: State, runtime: Runtime[Context]) -> Any:
        if runtime.context is None:
            raise LoopError(
                "the graph has no context: ainvoke(state, context=context), from `async with loop.context()`"
            )
        write = runtime.context.emit.listen(get_stream_writer())
        if runtime.context.budget:
            runtime.context.budget.check()
        write({"stage": name, "round": state["round"], "of": runtime.context.rounds, "event": "begin"})
        begun = time.monotonic()
        update = await node(state, runtime)
        seconds = time.monotonic() - begun
        runtime.context.table.ledger.add(Stage(round=state["round"], name=name), seconds=seconds)
        write({"stage": name, "round": state["round"], "event": "end", "seconds": round(seconds, 2)})
        return update

    return run


def joined(name: str) -> Node:
    """The node of a round role that joined."""

    async def node(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        said = await hear(runtime.context.role(name), scene(state, runtime.context, name))
        verdicts = [reply.verdict for reply in said if isinstance(reply, Reply)]
        against = [verdict for verdict in verdicts if verdict in ("revise", "reject")]
        # Its objection stands for the round: nothing is trained, or what was trained is no candidate.
        return {"candidate": None, "note": f"{name} said {against[-1]}"} if against else {}

    return node


def scene(state: State, context: Context, role: str) -> Round:
    """The round as a role sees it, from the ids in the state: with what those before it have said."""
    found = (context.table.ledger.get(id) for id in state["tasks"])
    tasks = [task for task in found if isinstance(task, Task)]
    names = [one.name for one in context.round_roles]
    # Not its own reply either, which is on record already if this node runs again.
    earlier = set(names[: names.index(role)])
    replies = {
        reply.role: context.role(reply.role).heard(reply)
        for reply in context.table.ledger.find(Reply, round=state["round"])
        if reply.role in earlier and not reply.error
    }
    own = adapters(context.table.ledger, context.settings.self_play, state["round"])
    return Round(state["round"], state["incumbent"], state["levels"], tasks, list(state["rows"]), replies, own)


async def propose(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """The proposer sets the round's tasks."""
    context = runtime.context
    said = await hear(context.role("proposer"), scene(state, context, "proposer"))
    accepted = [record.task for record in said if isinstance(record, Proposal) and record.accepted and record.task]
    return {"tasks": list(dict.fromkeys(accepted))}


async def episodes(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """The conversations about all tasks of the round, at once, in waves."""
    context = runtime.context
    solver = context.settings.solver
    graph = episode_graph(context.episode_roles).compile()
    done = 0
    tasks = scene(state, context, "proposer").tasks

    async def converse(task: Task) -> None:
        nonlocal done
        chosen = int(task.id[-4:], 16) < 0x10000 * solver.revise_share
        # A trajectory is mended while it is played: what a role wants revised later gives no row, and no other turn.
        revise = solver.revise if chosen and environment(context.table, task) is None else 0
        episode = Episode(state["round"], task, state["incumbent"], turns=solver.turns, revise=revise)
        async with context.table.seated():
            await graph.ainvoke({"episode": episode}, {"recursion_limit": 1000})
        done += 1
        right = sum(critique.correct for critique in episode.critiques.values())
        counts = {"attempts": len(episode.attempts), "right": right}
        context.emit({"stage": "episodes", "event": "progress", "done": done, "of": len(tasks), **counts})

    async with asyncio.TaskGroup() as group:
        for task in tasks:
            # A context of its own: in this node's, the episode graph would take over the lifecycle's checkpointer,
            # write at each of its steps, and be taken up in the middle when the node runs again.
            group.create_task(converse(task), context=contextvars.Context())
    return {}


async def curate(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """The curator selects rows; tasks, lessons and rows enter the shared memory."""
    context = runtime.context
    ledger, number = context.table.ledger, state["round"]
    here = scene(state, context, "curator")
    proposer = context.role("proposer")
    if isinstance(proposer, Proposer):
        # Known now that the attempts are judged, and a last round has no next one to write them.
        ledger.add(*proposer.rewards(here))
        ledger.add(*await experiences(context.table, here))
    said = await hear(context.role("curator"), here)
    rows = [record for record in said if isinstance(record, Row)]
    lessons = ledger.find(Lesson, round=number)
    await context.table.memory.remember(*here.tasks, *lessons, *rows)
    return {"rows": [row.id for row in rows]}


async def approve(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Ask before training, if wanted; a node of its own, since an interrupted node runs again from its top."""
    context = runtime.context
    if not context.settings.approve or state["note"]:
        return {}
    enough = [rows for rows in materials(state, context) if rows >= context.settings.trainer.least_rows]
    if not enough:
        return {}
    answer = interrupt({"ask": "train", "round": state["round"], "rows": sum(enough)})
    return {} if answer else {"note": "training was not approved"}


def materials(state: State, context: Context) -> list[int]:
    """How many rows the trainer would learn from now, those of rejected rounds too; then for each role of its own."""
    trainer = context.role("trainer")
    if not isinstance(trainer, Trainer):
        return [len(state["rows"])]
    here = scene(state, context, trainer.name)
    return [trainer.materials(here, role).size for role in (None, *here.adapters)]


async def train(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """The trainer turns rows into a candidate; where that fails the incumbent stays."""
    from quintet.training.errors import TrainError

    context = runtime.context
    if state["note"]:
        return {"candidate": None}
    await train_roles(state, context)
    try:
        said = await hear(context.role("trainer"), scene(state, context, "trainer"))
    except TrainError as error:
        if context.budget:
            # Cut short by the budget, a training is done again on resume; it did not fail.
            context.budget.check()
        return {"candidate": None, "note": str(error)}
    trained = [record for record in said if isinstance(record, Adapter)]
    if not trained:
        return {"candidate": None, "note": why_not(state, context)}
    return {"candidate": trained[-1].id}


async def train_roles(state: State, context: Context) -> None:
    """The adapters of roles that have one of their own; first, so that nothing of the candidate's stands in its way."""
    trainer, ledger = context.role("trainer"), context.table.ledger
    if not isinstance(trainer, Trainer):
        return
    for said in [one async for one in trainer.train_roles(scene(state, context, trainer.name))]:
        ledger.add(said)
        if isinstance(said, Adapter):
            await context.table.serve(said)


def why_not(state: State, context: Context) -> str:
    """Why the trainer had nothing to train a candidate on."""
    turn = context.settings.self_play.learning(state["round"])
    if context.settings.self_play.adapters == "each" and "solver" not in turn:
        return f"the {', '.join(turn)} learns in this round, not the solver"
    least = f"trainer.least_rows is {context.settings.trainer.least_rows}"
    return f"too few rows to learn from: {materials(state, context)[0]} ({least})"


async def evaluate(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Candidate and incumbent answer the suites of the round."""
    context = runtime.context
    candidate = context.table.ledger.get(state["candidate"] or "")
    if not isinstance(candidate, Adapter):
        return {"evaluations": {}}
    await context.table.serve(candidate)
    return {"evaluations": await context.judging.compare(state["round"], state["incumbent"], candidate.id)}


def deciding(first: str) -> Node:
    """The node in which the gate decides; the next round begins with the node `first`, or the run ends."""

    async def node(state: State, runtime: Runtime[Context]) -> Command[Any]:
        update, context = decide(state, runtime.context), runtime.context
        if why := ending(state["round"], context):
            context.emit.listen(get_stream_writer())({"event": "said", "text": why})
            return Command(goto="finish", update=update)
        return Command(goto=first, update={**update, **blank(), "round": state["round"] + 1})

    # LangGraph reads the destinations from the annotation, which cannot name a variable.
    node.__annotations__["return"] = Command[Literal[first, "finish"]]  # type: ignore[valid-type]
    return node


def decide(state: State, context: Context) -> dict[str, Any]:
    """The gate promotes or rejects, and the curriculum moves."""
    number, ledger = state["round"], context.table.ledger
    decision = context.judging.decide(
        number, state["incumbent"], state["candidate"], state["evaluations"], state["note"]
    )
    curriculum = context.judging.curriculum(number, state["levels"], state["tasks"])
    monitors = context.judging.monitors(number, state["tasks"], decision)
    ledger.add(decision, curriculum, monitors, Stage(round=number, name="decide"))
    get_stream_writer()({"stage": "decide", "round": number, "event": "decision", "reason": decision.reason})
    incumbent = state["candidate"] if decision.promoted and state["candidate"] else state["incumbent"]
    return {"incumbent": incumbent, "levels": curriculum.levels}


def ending(number: int, context: Context) -> str:
    """Why the run ends with this round; empty if it does not."""
    if number >= context.rounds:
        return f"round {number} of {context.rounds} is done: the run ends"
    if context.judging.stalled():
        patience = context.settings.evaluation.curriculum.patience
        return f"no new best on the steer suite (patience {patience}): the run ends with round {number}"
    if context.budget and (why := context.budget.too_little_for(number + 1, context.settings.evaluation)):
        return f"{why}: the run ends with round {number}"
    return ""


async def finish(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Open the final suite, once, and compare the promoted adapter with the base."""
    await runtime.context.judging.finish(state["round"], state["incumbent"])
    return {}


def opening(settings: Settings) -> State:
    """The state in which a run begins."""
    return {"round": 1, "incumbent": BASE, "levels": settings.proposer.levels(), **blank()}


class Blank(TypedDict):
    """What each round begins without."""

    tasks: list[str]
    rows: list[str]
    candidate: str | None
    evaluations: dict[str, str]
    note: str


def blank() -> Blank:
    """The state's part that each round begins without."""
    return Blank(tasks=[], rows=[], candidate=None, evaluations={}, note="")
