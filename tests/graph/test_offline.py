"""The default run needs no network: it ends where nothing but Unix sockets can be opened, its children included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from short import SHORT

ROOT = Path(__file__).parents[2]

GUARD = '''
"""Imported by every Python process at its start: notes it, and refuses and notes whatever would leave the machine."""
import socket, sys

def note(what):
    with open(LOG, "a") as log:
        log.write(what + "\\n")

class Barred(OSError):
    pass

def barring(name):
    def barred(*given, **named):
        note(f"barred {name} {given[1:] if isinstance(given[0], socket.socket) else given}")
        raise Barred(f"no network: {name}")
    return barred

def unless_unix(name):
    call, barred = getattr(socket.socket, name), barring(name)
    return lambda self, *given: (call if self.family == socket.AF_UNIX else barred)(self, *given)

for name in ("connect", "connect_ex", "sendto", "sendmsg"):
    setattr(socket.socket, name, unless_unix(name))
for name in ("create_connection", "getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
    setattr(socket, name, barring(name))
note("guarded " + " ".join(" ".join(sys.orig_argv[1:]).split()))
'''

TRIES = """
import socket, subprocess, sys, urllib.request
def tried(call):
    try:
        call()
    except OSError as error:
        print("Barred" in repr(error) or "no network" in repr(error), end=" ")
    else:
        print("got through", end=" ")
tried(lambda: socket.create_connection(("127.0.0.1", 9)))
tried(lambda: socket.socket().connect(("127.0.0.1", 9)))
tried(lambda: socket.getaddrinfo("pypi.org", 443))
tried(lambda: urllib.request.urlopen("http://127.0.0.1:9"))
if sys.argv[1:]:
    sys.stdout.flush()
    subprocess.run([sys.executable, "-c", sys.argv[1]])
"""


def without_network() -> list[str]:
    """What to put before a command, so that the kernel gives it no network, not even to code that is not Python's."""
    prefix = ["unshare", "--map-root-user", "--net"]
    try:
        return prefix if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0 else []
    except OSError:
        return []


def guarded(folder: Path) -> dict[str, str]:
    """An environment with the guard, no word of being offline, and a home in which no earlier download lies."""
    # The path stands in the file: the training process is handed few variables of its parent's environment.
    (folder / "sitecustomize.py").write_text(GUARD.replace("LOG", repr(str(folder / "guard.log"))))
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    changes = {"PYTHONPATH": os.pathsep.join(paths), "HOME": str(folder)}
    hints = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
    caches = ("HF_HOME", "HF_HUB_CACHE", "QUINTET_CACHE", "XDG_CACHE_HOME")
    return {name: value for name, value in os.environ.items() if name not in hints + caches} | changes


def test_the_guard_bars_a_process_and_its_child(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRIES, TRIES],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=guarded(tmp_path),
    )
    assert done.stdout.split() == ["True"] * 8, done.stderr
    noted = (tmp_path / "guard.log").read_text().splitlines()
    assert sum(line.startswith("guarded -c") for line in noted) == 2
    assert sum(line.startswith("barred create_connection") for line in noted) == 4


def test_where_the_kernel_takes_the_network_away_loopback_goes_too(tmp_path: Path) -> None:
    if not (prefix := without_network()):
        # No skip, which would fail `make test-all` in a container that may not unshare: there the guard stands alone.
        return
    code = "import socket; print(socket.if_nameindex(), socket.socket().connect_ex(('127.0.0.1', 9)))"
    done = subprocess.run([*prefix, sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    # Unreachable, where a closed port of a live loopback would refuse.
    assert done.stdout.split("]")[0] == "[(1, 'lo')"
    assert os.strerror(int(done.stdout.split()[-1])) == "Network is unreachable"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_demo_runs_to_its_final_suite_without_network(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    done = subprocess.run(
        [*without_network(), sys.executable, "-m", "quintet.cli", "run", "examples/arithmetic.toml"],
        capture_output=True,
        text=True,
        timeout=360,
        check=False,
        cwd=tmp_path,
        env={**guarded(tmp_path), **SHORT},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "final suite" in done.stdout
    noted = (tmp_path / "guard.log").read_text().splitlines()
    # Not even tried: what a library attempts and forgives would still be a request on a machine with a network.
    assert [line for line in noted if line.startswith("barred")] == []
    for child in ("quintet.cli run", "quintet.tasks.worker", "quintet.training.worker"):
        assert any(line.startswith("guarded") and child in line for line in noted), (child, noted)
