"""The examiner's worker process: draws, grounds, plays and judges, one request at a time, so that it can be killed.

Requests and replies are JSON lines on the pipes that it was started with. Whatever a family or library prints
goes nowhere.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pickle
import random
import sys
import time
from collections.abc import Mapping
from typing import Any, BinaryIO, cast

from pydantic import ValidationError

from quintet.records import Split
from quintet.tasks.environment import EnvironmentFamily, sayable
from quintet.tasks.errors import TaskError, Ungrounded
from quintet.tasks.family import Draft, TaskFamily
from quintet.tasks.splits import split_of

Reply = dict[str, Any]


def main() -> None:
    """Serve the parent until it closes the pipe; the first line holds the families."""
    requests = sys.stdin.buffer
    replies = _private_stdout()
    start = json.loads(requests.readline())
    _die_with(start["parent"])
    _limit(start["memory_mb"])
    try:
        families = _families(start)
    except TaskError as error:
        _send(replies, {"refused": str(error)})
        return
    except Exception as error:
        _send(replies, {"error": f"{type(error).__name__}: {error}"})
        return
    _send(replies, {"ready": True})
    for line in requests:
        _send(replies, answer(families, json.loads(line)))


def answer(families: Mapping[str, TaskFamily], request: Mapping[str, Any]) -> Reply:
    """The reply to a request: a failure of the family is part of it, never an exception."""
    # Some generators use the global random state: the same request must get the same reply.
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    family = families[request["family"]]
    match request["do"]:
        case "draw":
            return draw(family, request)
        case "ground":
            return ground(family, request["content"])
        case "read":
            return read(family, request["text"])
        case "step":
            return step(family, request)
        case "tell":
            return tell(family, request["what"], request["words"])
        case _:
            return judge(family, request["truth"], request["text"])


def draw(family: TaskFamily, request: Mapping[str, Any]) -> Reply:
    """The first `count` distinct questions of a split, and why there are no more of them.

    The reply's `end` is `count` (there may be more), `exhausted` (the level holds no more) or `time`.
    """
    split, count = cast(Split, request["split"]), request["count"]
    deadline = time.monotonic() + request["seconds"]
    seen: set[str] = set()
    drafts: list[Draft] = []
    stale = 0
    end = "exhausted"
    try:
        for draft in family.draw(request["level"], request["seed"]):
            if draft.canonical in seen:
                stale += 1
            else:
                stale = 0
                seen.add(draft.canonical)
                if split_of(draft.canonical, request["shares"], request["deal"]) == split:
                    drafts.append(draft)
            if len(drafts) >= count:
                end = "count"
                break
            if stale >= request["patience"]:
                break
            if time.monotonic() > deadline:
                end = "time"
                break
        return {"drafts": [draft.model_dump(mode="json") for draft in drafts], "end": end}
    except Exception as error:
        return {"error": _describe(error)}


def ground(family: TaskFamily, content: str) -> Reply:
    """The draft that a model's JSON stands for, or the reason why it stands for none."""
    if family.proposal is None:
        return {"reason": "cannot be proposed"}
    try:
        proposal = family.proposal.model_validate_json(content)
    except ValidationError as error:
        kinds = {found["type"] for found in error.errors()}
        bounds = {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "int_parsing_size"}
        detail = "; ".join(
            f"{'.'.join(map(str, found['loc'])) or 'content'}: {found['msg']}" for found in error.errors()
        )
        return {"reason": "out of range" if kinds <= bounds else "malformed", "detail": detail[:200]}
    try:
        return {"draft": family.ground(proposal).model_dump(mode="json")}
    except Ungrounded as refusal:
        return {"reason": refusal.reason, "detail": refusal.detail, "canonical": refusal.canonical}
    except Exception as error:
        return {"reason": "executor failed", "detail": _describe(error)}


def read(family: TaskFamily, text: str) -> Reply:
    """Both answers in a text; none where the family cannot read it."""
    try:
        return family.extract(text).model_dump()
    except Exception as error:
        return {"lenient": None, "strict": None, "error": _describe(error)}


def step(family: TaskFamily, request: Mapping[str, Any]) -> Reply:
    """What an environment answers to the last of the actions, all of which are done from its beginning."""
    actions, known = request["actions"], request["known"]
    try:
        if not isinstance(family, EnvironmentFamily):
            raise TaskError(f"{family.name} is no environment")
        outcomes = family.play(request["truth"], actions)
        for number, (found, before) in enumerate(zip(outcomes, known, strict=False), 1):
            if found.model_dump() != before:
                raise TaskError(f"the environment answers differently when action {number} is done again")
        if len(outcomes) < len(actions):
            raise TaskError(f"the environment ended with action {len(outcomes)}, which did not end it before")
        return {"outcome": outcomes[-1].model_dump(mode="json")}
    except Exception as error:
        return {"error": _describe(error)}


def tell(family: TaskFamily, what: str, words: str) -> Reply:
    """What an environment family makes of words, `action` or `invite`, or why it makes nothing of them."""
    try:
        if not isinstance(family, EnvironmentFamily):
            raise TaskError(f"{family.name} is no environment")
        found: object = family.action(words) if what == "action" else family.invite(words)
        if not isinstance(found, str):
            raise TaskError(f"{what} gave a {type(found).__name__}, not text")
        if not sayable(found):
            raise TaskError(f"{what} gave no Unicode text: {found!r:.40}")
        return {"text": found}
    except Exception as error:
        return {"error": _describe(error)}


def judge(family: TaskFamily, truth: dict[str, Any], text: str) -> Reply:
    """Both answers in a text and their scores."""
    reply: Reply = {"answer": None, "strict_answer": None, "score": 0.0, "strict_score": 0.0, "error": None}
    try:
        found = family.extract(text)
        reply["answer"], reply["strict_answer"] = found.lenient, found.strict
        if found.lenient is not None:
            reply["score"] = _score(family, truth, found.lenient)
        if found.strict is not None:
            same = found.strict == found.lenient
            reply["strict_score"] = reply["score"] if same else _score(family, truth, found.strict)
    except Exception as error:
        reply["error"] = _describe(error)
    return reply


def _score(family: TaskFamily, truth: dict[str, Any], given: str) -> float:
    score = float(family.score(truth, given))
    if not 0.0 <= score <= 1.0:
        raise TaskError(f"{family.name} scored {score}: a score is 0 to 1")
    return score


def _describe(error: Exception) -> str:
    if isinstance(error, TaskError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory; raise memory_mb under [tasks]"
    return f"{type(error).__name__}: {error}"[:300]


def _families(start: Mapping[str, Any]) -> dict[str, TaskFamily]:
    if start["main"]:
        # Families defined in the script itself: run it as multiprocessing would, under another name.
        from multiprocessing import spawn

        spawn.prepare(start["main"])
    families: tuple[TaskFamily, ...] = pickle.loads(base64.b64decode(start["families"]))  # noqa: S301
    for family in families:
        family.prepare()
    return {family.name: family for family in families}


def _private_stdout() -> BinaryIO:
    """The pipe to the parent, out of reach of anything that prints."""
    replies = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    return replies


def _send(replies: BinaryIO, reply: Reply) -> None:
    replies.write(json.dumps(reply).encode() + b"\n")
    replies.flush()


def _limit(memory_mb: int) -> None:
    """Bound what a runaway verifier can take; import caches are not written while one is watched."""
    sys.dont_write_bytecode = True
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _die_with(parent: int) -> None:
    """Have Linux kill this process when the thread that started it ends; the closed pipe does elsewhere."""
    if sys.platform != "linux":
        return
    import ctypes
    import signal

    pr_set_pdeathsig = 1
    with contextlib.suppress(OSError):
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent ended before its worker began")


if __name__ == "__main__":
    main()
