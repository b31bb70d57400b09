"""Lets a role speak within its time, and puts what it said on record and on the table."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from pydantic import BaseModel

from quintet.agents.errors import AgentError
from quintet.agents.roles import EpisodeRole, Role, RoundRole, Said, Words, verdict_of
from quintet.agents.table import Episode, Round
from quintet.models.clock import limited
from quintet.models.errors import StoppingError
from quintet.records import Call, Record, Reply


async def hear(role: Role, scene: Episode | Round) -> list[Record]:
    """Let a role act; a joined role that raises, stalls or answers nonsense costs its reply, not the round.

    Args:
        role: Seated at a table.
        scene: The episode or round; what is said is put on it.

    Returns:
        The records said, which are in the ledger by then.
    """
    from quintet.memory.errors import LedgerError

    if not role.speaks(_number(scene)):
        return []
    try:
        async with limited(role.settings.seconds) as limit:
            records = _records(role, scene, await _act(role, scene))
    except (LedgerError, StoppingError, asyncio.CancelledError):
        raise
    except Exception as error:
        if isinstance(error, BaseExceptionGroup) and error.subgroup((LedgerError, StoppingError)):
            raise
        stalled = isinstance(error, TimeoutError) and limit.expired()
        reason = f"stalled for more than {role.settings.seconds:g} s" if stalled else _first_line(error)
        if isinstance(role, RoundRole) and role.builtin:
            if stalled:
                raise AgentError(f"{role.name} {reason}: raise {role.name}.seconds", fault=True) from error
            raise
        records = [_reply(role, scene, None, reason)]
    role.table.ledger.add(*records)
    return records


async def _act(role: Role, scene: Episode | Round) -> Said:
    if isinstance(role, EpisodeRole) and isinstance(scene, Episode):
        return await role.act(scene)
    if isinstance(role, RoundRole) and isinstance(scene, Round):
        return await role.act(scene)
    raise TypeError(f"{role.name} is a {type(role).__mro__[1].__name__}, which has no part in a {type(scene).__name__}")


def _records(role: Role, scene: Episode | Round, said: Said) -> list[Record]:
    """What was said as records; a reply model becomes a `Reply`, kept under the role's name."""
    if said is None:
        return []
    if isinstance(said, str):
        said = Words(text=said)
    if isinstance(said, BaseModel) and not isinstance(said, Record):
        reply = _reply(role, scene, said, None)
        scene.replies[role.name], said = said, reply
    records = [said] if isinstance(said, Record) else list(said) if isinstance(said, Iterable) else [said]
    for record in records:
        if not isinstance(record, Record):
            raise AgentError(f"{role.name} said {type(record).__name__}, which is neither a reply nor a record")
    if isinstance(scene, Episode):
        for record in records:
            scene.take(record)
    return records


def _number(scene: Episode | Round) -> int:
    return scene.round if isinstance(scene, Episode) else scene.number


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _reply(role: Role, scene: Episode | Round, said: BaseModel | None, error: str | None) -> Reply:
    ledger = role.table.ledger
    number = _number(scene)
    task = scene.task.id if isinstance(scene, Episode) else None
    turn = scene.turn if isinstance(scene, Episode) else 0
    calls = [c for c in ledger.find(Call, round=number, role=role.name, task=task) if c.turn == turn]
    return Reply(
        round=number,
        role=role.name,
        task=task,
        turn=turn,
        call=calls[-1].id if calls else None,
        content=said.model_dump(mode="json") if said is not None else {},
        verdict=verdict_of(said) if said is not None else None,
        error=error,
    )
