"""One run at a time lives in a workspace, and who it is can be seen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from quintet.memory.errors import LedgerError
from quintet.memory.workspace import Holder, Workspace

CLAIMER = """
import sys, time
from quintet.memory.workspace import Workspace
with Workspace(sys.argv[1]).claim("elsewhere"):
    print("held", flush=True)
    time.sleep(60)
"""


def claimer(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", CLAIMER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_by_name_and_pid(workspace: Workspace):
    other = claimer(workspace.path)
    try:
        with (
            pytest.raises(LedgerError, match=rf"in use by run 'elsewhere', pid {other.pid}\b"),
            workspace.claim("mine"),
        ):
            pass
        assert workspace.holder() == Holder(run="elsewhere", pid=other.pid)
    finally:
        other.kill()
        other.wait()


def test_a_killed_run_lets_go(workspace: Workspace):
    other = claimer(workspace.path)
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert workspace.holder() is None
    with workspace.claim("mine"):
        assert workspace.holder() == Holder(run="mine", pid=os.getpid())
    assert workspace.holder() is None


def test_a_claim_in_the_same_process_counts_too(workspace: Workspace):
    with workspace.claim("one"):
        with pytest.raises(LedgerError, match="run 'one'"), workspace.claim("two"):
            pass
        assert workspace.holder() == Holder(run="one", pid=os.getpid())
    with workspace.claim("a much longer name than the one before"):
        pass
    with workspace.claim("short"):
        assert workspace.holder() == Holder(run="short", pid=os.getpid())


def test_a_child_does_not_keep_the_claim(workspace: Workspace):
    with workspace.claim("one"):
        child = subprocess.Popen(["sleep", "60"])
    try:
        with workspace.claim("two"):
            pass
    finally:
        child.kill()
        child.wait()


def test_a_file_in_its_place_is_one_line(tmp_path: Path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(LedgerError, match="is a file: a folder is needed"):
        Workspace(tmp_path / "runs")
    with pytest.raises(LedgerError, match="ENOTDIR"):
        Workspace(tmp_path / "runs" / "deeper")


def test_rubbish_in_the_lock_file_does_not_stop_anyone(workspace: Workspace):
    workspace.lock.write_bytes(b"\xff rubbish")
    assert workspace.holder() is None
    with workspace.claim("mine"):
        assert workspace.holder() == Holder(run="mine", pid=os.getpid())
