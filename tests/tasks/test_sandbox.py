"""The sandbox against hostile programs, with the targets they aim at really there."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quintet.tasks.errors import SandboxError, TaskError
from quintet.tasks.sandbox import Ran, SandboxSettings, confine, run, running, scratch, syscalls, unavailable
from quintet.tasks.settings import TaskSettings

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=unavailable())

LIMITS = SandboxSettings()
QUICK = SandboxSettings(seconds=1.0, cpu_seconds=1)
CALLS = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "mount": (165, 40),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "userfaultfd": (323, 282),
    "shmget": (29, 194),
    "inotify_init1": (294, 26),
    "pidfd_open": (434, 434),
    "clone": (56, 220),
    "clone3": (435, 435),
    "execve": (59, 221),
    "execveat": (322, 281),
    "chroot": (161, 51),
    "socket": (41, 198),
    "kill": (62, 129),
    "tgkill": (234, 131),
    "openat2": (437, 437),
    "prctl": (157, 167),
    "seccomp": (317, 277),
    "setuid": (105, 146),
    "landlock_create_ruleset": (444, 444),
    "mknodat": (259, 33),
    "truncate": (76, 45),
    "setxattr": (188, 5),
    "name_to_handle_at": (303, 264),
}
"""Calls that no program may make, with their numbers on x86-64 and 64-bit ARM."""

_TRY = """
import ctypes, fcntl, json, os, resource, signal, socket, subprocess, sys, termios, threading, urllib.request
found = {{}}
for name, attempt in {attempts!r}.items():
    try:
        exec(attempt)
    except Exception as error:
        found[name] = type(error).__name__
    else:
        found[name] = "it could"
print(json.dumps(found))
"""


def attempted(
    attempts: dict[str, str], within: Callable[[str], Ran] = lambda code: run(code, LIMITS)
) -> dict[str, str]:
    """What becomes of each attempt: the exception it raises, or `it could`."""
    ran = within(_TRY.format(attempts=attempts))
    assert ran.ended == "done", ran
    assert ran.code == 0, ran
    found: dict[str, str] = json.loads(ran.output)
    assert list(found) == list(attempts)
    return found


def all_refused(attempts: dict[str, str], **special: str) -> None:
    assert attempted(attempts) == {name: special.get(name, "PermissionError") for name in attempts}


# --- ordinary programs -------------------------------------------------------------------------------------

values = st.recursive(
    st.integers() | st.text(st.characters(exclude_categories=["Cs"])) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=25, deadline=None)
@given(st.lists(values, max_size=4), st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 255))
def test_ordinary_programs_give_exactly_their_output(printed: list[Any], given: str, code: int) -> None:
    lines = "".join(f"print(repr({value!r}))\n" for value in printed)
    program = f"import sys\n{lines}sys.stderr.buffer.write(sys.stdin.buffer.read())\nsys.exit({code})"
    ran = run(program, LIMITS, given)
    assert ran == Ran(output="".join(f"{value!r}\n" for value in printed), errors=given, code=code, ended="done")


@pytest.mark.parametrize(
    ("program", "ran"),
    [
        ("raise SystemExit", Ran(output="", errors="", code=0, ended="done")),
        ("raise SystemExit('so long')", Ran(output="", errors="so long\n", code=1, ended="done")),
        ("import os; os._exit(9)", Ran(output="", errors="", code=9, ended="done")),
        (
            "import os; os.write(1, bytes([65, 255, 0, 10]))",
            Ran(output="A\ufffd\x00\n", errors="", code=0, ended="done"),
        ),
        (
            "def f():\n    return 1 // 0\nf()",
            Ran(
                output="",
                errors='Traceback (most recent call last):\n  File "program.py", line 3, in <module>\n    f()\n'
                '  File "program.py", line 2, in f\n    return 1 // 0\n           ~~^^~~\n'
                "ZeroDivisionError: integer division or modulo by zero\n",
                code=1,
                ended="done",
            ),
        ),
        (
            "print(__name__, __import__('sys').argv)",
            Ran(output="__main__ ['program.py']\n", errors="", code=0, ended="done"),
        ),
        (
            "if __name__ == '__main__':\n    import __main__; print(__main__.__file__)",
            Ran(output="program.py\n", errors="", code=0, ended="done"),
        ),
    ],
    ids=["exit", "message", "hard exit", "nonsense", "traceback", "name", "main"],
)
def test_ends_are_told(program: str, ran: Ran) -> None:
    if sys.version_info >= (3, 13):
        ran = ran.model_copy(update={"errors": ran.errors.replace("    f()\n", "    f()\n    ~^^\n")})
    assert run(program, LIMITS) == ran


def test_code_that_is_none_is_told_and_not_raised() -> None:
    for nonsense, error in (
        ("def f(:", "SyntaxError"),
        ("\0", "SyntaxError|ValueError"),
        ("x = '\ud800'", "SyntaxError"),
    ):
        ran = run(nonsense, LIMITS)
        assert (ran.code, ran.ended) == (1, "done")
        assert any(each in ran.errors for each in error.split("|")), ran
        assert "confine.py" not in ran.errors


def test_the_standard_library_and_the_scratch_folder_are_there() -> None:
    program = """
        import asyncio, ctypes, dataclasses, decimal, functools, hashlib, itertools, json, math, random, re, statistics
        import tempfile, zoneinfo
        async def answer():
            await asyncio.sleep(0)
            return 42
        with open("kept.txt", "w") as file:
            file.write("kept")
        with tempfile.TemporaryFile() as file:
            file.write(b"not kept")
        print(asyncio.run(answer()), open("kept.txt").read(), hashlib.sha256(b"").hexdigest()[:4])
    """
    assert run(textwrap.dedent(program), LIMITS).output == "42 kept e3b0\n"


def test_the_same_program_gives_the_same_sets_and_equal_runs_differ_in_seconds_only() -> None:
    program = "print({str(number) for number in range(50)})"
    first, second = run(program, LIMITS), run(program, LIMITS)
    assert first == second
    assert hash(first) == hash(second)
    assert first.seconds > 0
    assert "seconds" not in first.model_dump()


# --- what they may not touch -------------------------------------------------------------------------------


@contextmanager
def listening(kind: int, family: int, address: Any) -> Iterator[Any]:
    with socket.socket(family, kind) as listener:
        listener.bind(address)
        if kind == socket.SOCK_STREAM:
            listener.listen()
        yield listener.getsockname()


def test_the_network_is_out_of_reach(tmp_path: Path) -> None:
    path, abstract = str(tmp_path / "s"), f"\0quintet-{os.getpid()}"
    with (
        listening(socket.SOCK_STREAM, socket.AF_INET, ("127.0.0.1", 0)) as (_, tcp),
        listening(socket.SOCK_DGRAM, socket.AF_INET, ("127.0.0.1", 0)) as (_, udp),
        listening(socket.SOCK_STREAM, socket.AF_UNIX, path),
        listening(socket.SOCK_STREAM, socket.AF_UNIX, abstract),
    ):
        all_refused(
            {
                "tcp": f"socket.create_connection(('127.0.0.1', {tcp}))",
                "udp": f"socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {udp}))",
                "unix": f"socket.socket(socket.AF_UNIX).connect({path!r})",
                "abstract": f"socket.socket(socket.AF_UNIX).connect({abstract!r})",
                "server": "socket.create_server(('127.0.0.1', 0))",
                "raw": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
                "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
                "names": "socket.getaddrinfo('localhost', 80)",
                "http": f"urllib.request.urlopen('http://127.0.0.1:{tcp}', timeout=1)",
                "pair of another kind": "socket.socketpair(socket.AF_INET)",
                "pair that sends": f"socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b'x', {path!r})",
            },
            names="gaierror",
            http="URLError",
        )


def test_files_of_others_are_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    secret = tmp_path / "ledger.sqlite"
    secret.write_text("the truth")
    link = tmp_path / "link"
    link.symlink_to(secret)
    me = os.getpid()
    reads = [secret, link, "/etc/passwd", "/etc/hostname", confine.__file__, __file__, Path(sys.prefix, "pyvenv.cfg")]
    reads += [f"/proc/{me}/{name}" for name in ("environ", "cmdline", "mem", "maps", "status")]
    reads += [
        "/proc/self/environ",
        "/proc/self/status",
        "/proc/version",
        "/sys/kernel/mm",
        Path("/dev", "shm"),
        "/proc/self/fd/0",
    ]
    pydantic = sys.modules["pydantic"].__file__
    all_refused(
        {
            **{f"read {path}": f"open({str(path)!r})" for path in [*reads, pydantic] if os.path.exists(path)},
            **{
                f"list {path}": f"os.listdir({str(path)!r})"
                for path in ("/", tmp_path, "/proc", tempfile.gettempdir(), "..", Path.home())
            },
            "go elsewhere": "os.chdir('/')",
            "read beneath": "os.open('etc/passwd', os.O_RDONLY, dir_fd=os.open('/', os.O_PATH))",
        }
    )


def test_nothing_is_written_outside_the_scratch_folder(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("as it was")
    mine.chmod(0o666)
    tmp_path.chmod(0o777)
    library = textwrap.__file__
    before = (Path(library).read_bytes(), os.stat(library))
    attempts = {
        "new": f"open({str(tmp_path / 'new')!r}, 'w')",
        "old": f"open({str(mine)!r}, 'a')",
        "temporary": "open('/tmp/quintet-was-here', 'w')",
        "beside": "open('../quintet-was-here', 'w')",
        "library": f"open({library!r}, 'a')",
        "emptied": f"os.open({library!r}, os.O_RDONLY | os.O_TRUNC)",
        "truncated": f"os.truncate({library!r}, 0)",
        "mode": f"os.chmod({library!r}, 0)",
        "mode of what is open": f"os.fchmod(os.open({library!r}, os.O_RDONLY), 0)",
        "owner": f"os.chown({str(mine)!r}, 1, 1)",
        "times": f"os.utime({str(mine)!r}, (0, 0))",
        "attribute": f"os.setxattr({str(mine)!r}, 'user.x', b'x')",
        "removed": f"os.unlink({str(mine)!r})",
        "renamed": f"os.rename('program.py', {str(tmp_path / 'new')!r})",
        "taken": f"os.rename({str(mine)!r}, 'mine')",
        "link": f"os.link({str(mine)!r}, 'mine')",
        "symbolic link": f"os.symlink({str(mine)!r}, 'mine')",
        "folder": "os.mkdir('folder')",
        "pipe": "os.mkfifo('pipe')",
        "device": "os.mknod('device', 0o20666, os.makedev(1, 1))",
        "lock": f"fcntl.flock(os.open({library!r}, os.O_RDONLY), fcntl.LOCK_EX)",
        "lease": f"fcntl.fcntl(os.open({library!r}, os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_RDLCK)",
    }
    all_refused(attempts)
    assert mine.read_text() == "as it was"
    assert sorted(tmp_path.iterdir()) == [mine]
    assert (Path(library).read_bytes(), os.stat(library)[:7]) == (before[0], before[1][:7])
    assert not Path(tempfile.gettempdir(), "quintet-was-here").exists()


def test_no_process_or_thread_is_started() -> None:
    all_refused(
        {
            "fork": "os.fork()",
            "fork bomb": "while True: os.fork()",
            "daemon": "os.fork() or os.setsid() or os.fork()",
            "command": "subprocess.run(['/bin/true'])",
            "interpreter": "subprocess.run([sys.executable, '-c', ''])",
            "spawn": "os.posix_spawn('/bin/true', ['true'], {})",
            "exec": "os.execv('/bin/true', ['true'])",
            "thread": "threading.Thread(target=print).start()",
            "session": "os.setsid()",
        },
        thread="RuntimeError",
    )


def test_other_processes_are_out_of_reach() -> None:
    me = os.getpid()
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        all_refused(
            {
                "parent": "os.kill(os.getppid(), signal.SIGKILL)",
                "bystander": f"os.kill({bystander.pid}, signal.SIGTERM)",
                "everyone": "os.kill(-1, signal.SIGKILL)",
                "group": f"os.killpg({os.getpgid(0)}, signal.SIGKILL)",
                "handle": f"os.pidfd_open({me})",
                "limits": f"resource.prlimit({bystander.pid}, resource.RLIMIT_CPU, (1, 1))",
                "their limits": f"resource.prlimit({me}, resource.RLIMIT_CPU)",
                "owner of a pipe": f"fcntl.fcntl(1, fcntl.F_SETOWN, {bystander.pid})",
                "priority": f"os.setpriority(os.PRIO_PROCESS, {me}, 19)",
                "terminal": "fcntl.ioctl(0, termios.TIOCSTI, b'x')",
            }
        )
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_no_limit_is_lifted_and_no_privilege_gained() -> None:
    all_refused(
        {
            "memory": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
            "file size": "resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))",
            "root": "os.setuid(0)",
            "nobody": "os.setresuid(65534, 65534, 65534)",
            "groups": "os.setgroups([0])",
            "new root": "os.chroot('.')",
            "affinity": "os.sched_setaffinity(0, {0})",
        },
        **dict.fromkeys(("memory", "file size"), "ValueError"),
    )
    program = """
        import ctypes
        header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        print(ctypes.CDLL(None).capget(header, data), list(data))
    """
    # It may not even ask; that it holds none is seen from outside, below.
    assert run(textwrap.dedent(program), LIMITS).output == "-1 [0, 0, 0, 0, 0, 0]\n"


def test_calls_by_number_are_refused() -> None:
    column = syscalls.ARCHITECTURES[platform.machine()][0]
    attempts = {
        name: f"assert (libc.syscall({numbers[column]}, 0, 0, 0, 0, 0), ctypes.get_errno()) == (-1, {errno.EPERM})"
        for name, numbers in CALLS.items()
    }
    found = attempted(
        attempts, lambda code: run(f"import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n{code}", LIMITS)
    )
    # Here it is the attempt that checks: it goes through where the call failed as it should.
    assert set(found.values()) == {"it could"}, found


def test_open_files_and_the_environment_are_not_handed_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the truth")
    (tmp_path / "sitecustomize.py").write_text("print('I was here first')")
    for name in ("API_KEY", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONINSPECT", "LD_PRELOAD"):
        monkeypatch.setenv(name, str(tmp_path))
    handle = os.open(secret, os.O_RDONLY)
    try:
        os.set_inheritable(handle, True)
        program = """
            import os, sys
            open_ones = []
            for number in range(3, 256):
                try:
                    os.fstat(number)
                    open_ones.append(number)
                except OSError:
                    pass
            print(open_ones, sorted(set(os.environ) - {"LC_CTYPE"}), [path for path in sys.path if "packages" in path])
        """
        ran = run(textwrap.dedent(program), LIMITS)
    finally:
        os.close(handle)
    assert ran.output == "[] ['HOME', 'PYTHONHASHSEED', 'TMPDIR', 'TZ'] []\n"


# --- what they may not use up ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "limits", "ended"),
    [
        ("while True: pass", LIMITS.model_copy(update={"cpu_seconds": 1}), "time"),
        ("import time; time.sleep(60)", QUICK, "time"),
        (
            "import signal, time\nfor each in signal.valid_signals():\n    try: signal.signal(each, signal.SIG_IGN)\n"
            "    except (OSError, ValueError): pass\nwhile True: pass",
            QUICK,
            "time",
        ),
        ("import os\nos.close(1); os.close(2)\nwhile True: pass", QUICK, "time"),
        ("import atexit, time; atexit.register(time.sleep, 60)", QUICK, "time"),
        ("x = bytearray(10**10)", LIMITS, "memory"),
        ("x = []\nwhile True: x.append('y' * 10**6)", LIMITS, "memory"),
        ("while True: print('y' * 1000)", LIMITS, "output"),
        ("import sys\nwhile True: sys.stderr.write('y' * 1000)", LIMITS, "output"),
        ("import os\nwhile True: os.write(1, b'\\0')", LIMITS, "output"),
        ("for number in range(10**7): open(str(number), 'w').close()", LIMITS, "output"),
        ("for number in range(10**7): open(str(number), 'wb').write(bytes(10**6))", LIMITS, "output"),
    ],
    ids=[
        "loop",
        "sleep",
        "ignores signals",
        "silent",
        "at exit",
        "memory at once",
        "memory bit by bit",
        "output",
        "errors",
        "bytes",
        "many files",
        "much in files",
    ],
)
def test_limits_end_it(program: str, limits: SandboxSettings, ended: str) -> None:
    started = time.monotonic()
    ran = run(program, limits)
    assert (ran.ended, ran.code) == (ended, None), ran
    assert time.monotonic() - started < limits.seconds + 4
    assert max(len(ran.output), len(ran.errors)) <= limits.output_bytes
    assert not list(Path(tempfile.gettempdir()).glob(f"quintet-sandbox-{os.getpid()}-*"))


def test_a_file_has_a_limit_of_its_own() -> None:
    limits = LIMITS.model_copy(update={"file_mb": 1})
    attempts = {
        "large": "open('large', 'wb').write(bytes(2 << 20)) == 2 << 20 or 1/0",
        "sparse": "os.truncate(os.open('sparse', os.O_RDWR | os.O_CREAT), 10 << 30)",
        "many open": "[open('program.py') for _ in range(100)]",
    }
    found = attempted(attempts, lambda code: run(code, limits))
    assert found == {"large": "OSError", "sparse": "OSError", "many open": "OSError"}


def test_deep_recursion_costs_only_itself() -> None:
    ran = run("import sys\nsys.setrecursionlimit(10**9)\ndef f(x): return f([x])\nf(0)", QUICK)
    assert ran.ended in ("memory", "killed", "time"), ran
    ran = run("def f(): return f()\nf()", LIMITS)
    assert (ran.code, ran.ended) == (1, "done")
    assert "RecursionError" in ran.errors


def test_a_crash_is_told() -> None:
    ran = run("import ctypes; print('now', flush=True); ctypes.string_at(0)", LIMITS)
    assert ran == Ran(output="now\n", errors="", code=-signal.SIGSEGV, ended="killed")


def test_many_at_once_keep_apart() -> None:
    found: dict[int, str] = {}

    def one(number: int) -> None:
        found[number] = run("print(open('program.py').read()[-3:], input())", LIMITS, f"{number}").output

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: f"()) {number}\n" for number in range(8)}
    assert not psutil.Process().children()


# --- what is left of them ----------------------------------------------------------------------------------

PARENT = """
from quintet.tasks.sandbox import run, SandboxSettings
print("ready", flush=True)
run({program!r}, SandboxSettings(seconds=60, cpu_seconds=60))
"""


def until(what: Callable[[], Any], seconds: float = 10.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)
    return found


def test_it_dies_with_its_parent_and_its_folder_is_deleted_by_the_next(tmp_path: Path) -> None:
    program = "import time\nopen('begun', 'w')\nwhile True: time.sleep(1)"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(program=program)], env=environment, stdout=subprocess.PIPE
    )
    [begun] = until(lambda: list(tmp_path.glob("*/begun")))
    [child] = psutil.Process(parent.pid).children()
    assert child.gids().real == os.getgid()
    if os.getuid() == 0:
        status = Path(f"/proc/{child.pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status
    sweep = scratch._sweep.__wrapped__
    os.utime(begun.parent, (0, 0))
    sweep(str(tmp_path))
    assert begun.exists(), "a folder in use was deleted"
    parent.kill()
    parent.communicate()
    psutil.wait_procs([child], timeout=5)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    sweep(str(tmp_path))
    assert not begun.parent.exists()


# --- where none can be had ---------------------------------------------------------------------------------


@pytest.fixture
def unknown() -> Iterator[None]:
    """As if nobody had asked yet whether there is a sandbox."""
    running._lacking.cache_clear()
    yield
    running._lacking.cache_clear()


@pytest.mark.usefixtures("unknown")
def test_other_systems_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running.sys, "platform", "darwin")
    monkeypatch.setattr(running.platform, "system", lambda: "Darwin")
    assert unavailable() == "the sandbox needs Linux, this is Darwin: run Quintet in a Linux virtual machine"
    with pytest.raises(TaskError, match="needs Linux"):
        run("open('here', 'w')", LIMITS)


@pytest.mark.usefixtures("unknown")
@pytest.mark.parametrize(
    ("number", "release", "mend"),
    [
        (errno.ENOSYS, "5.4.0-150-generic", "its kernel is 5.4.0, 5.13 or newer is needed"),
        (errno.EOPNOTSUPP, "6.1.0-13-amd64", "add landlock to the kernel's lsm= parameter"),
    ],
)
def test_a_kernel_without_landlock_is_refused_with_what_mends_it(
    monkeypatch: pytest.MonkeyPatch, number: int, release: str, mend: str
) -> None:
    def none() -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(confine, "landlock", none)
    monkeypatch.setattr(running.platform, "release", lambda: release)
    assert mend in unavailable()
    with pytest.raises(SandboxError, match="Landlock"):
        run("print(1)", LIMITS)


@pytest.mark.usefixtures("unknown")
def test_a_sandbox_that_does_not_hold_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(syscalls.CALLS, "socket", CALLS["socket"])
    assert (
        unavailable() == "the sandbox does not hold here (it can open files, sockets or processes): use a newer kernel"
    )
    with pytest.raises(SandboxError, match="does not hold"):
        run("print(1)", LIMITS)


def test_a_program_whose_process_cannot_be_confined_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscalls, "assemble", lambda machine: bytes(8))
    with pytest.raises(SandboxError, match="cannot confine its process: prctl 22: Invalid argument"):
        run("print(1)", LIMITS)
    assert not psutil.Process().children()


def test_a_machine_without_room_is_told_and_asked_again_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unknown: None
) -> None:
    monkeypatch.setattr(scratch.tempfile, "mkdtemp", lambda **_: (_ for _ in ()).throw(OSError("no room")))
    assert "set TMPDIR" in unavailable()
    monkeypatch.undo()
    assert unavailable() == ""


# --- the syscalls, on both architectures ---------------------------------------------------------------------


def verdict(machine: str, number: int, *arguments: int, architecture: int | None = None) -> str:
    """What a kernel makes of a call: the syscalls, interpreted."""
    program = list(struct.iter_unpack("<HBBI", syscalls.assemble(machine)))
    wide = [*arguments, *[0] * (6 - len(arguments))]
    known = syscalls.ARCHITECTURES[machine][1]
    data = struct.pack("<IIQ6Q", number, known if architecture is None else architecture, 0, *wide)
    register, at = 0, 0
    while True:
        code, if_true, if_false, value = program[at]
        at += 1
        match code:
            case 0x20:
                [register] = struct.unpack_from("<I", data, value)
            case 0x54:
                register &= value
            case 0x15:
                at += if_true if register == value else if_false
            case 0x06:
                return {0x7FFF0000: "allow", 0x80000000: "kill"}.get(value, f"error {value & 0xFFFF}")


@pytest.mark.parametrize("machine", sorted(syscalls.ARCHITECTURES))
def test_the_filter_allows_what_it_lists_and_nothing_else(machine: str) -> None:
    column = syscalls.ARCHITECTURES[machine][0]
    listed = {numbers[column] for numbers in syscalls.CALLS.values()} - {None}
    conditional = {each[0].numbers[column] for each in syscalls.CONDITIONS.values()} - {None}
    assert not listed & conditional
    refused = f"error {errno.EPERM}"
    for number in set(range(600)) - conditional:
        assert verdict(machine, number) == ("allow" if number in listed else refused), number
    # 32-bit calls on a 64-bit kernel, under another number or another architecture.
    assert verdict(machine, 1 | 0x40000000) == refused
    assert verdict(machine, 1, architecture=0x40000003) == "kill"
    assert not listed & {numbers[column] for numbers in CALLS.values()}


@pytest.mark.parametrize("machine", sorted(syscalls.ARCHITECTURES))
@pytest.mark.parametrize(
    ("call", "arguments", "allowed"),
    [
        ("openat", (0, 0, os.O_RDONLY | os.O_CLOEXEC), True),
        ("openat", (0, 0, os.O_RDWR | os.O_CREAT | os.O_TRUNC), True),
        ("openat", (0, 0, os.O_RDONLY | os.O_TRUNC), False),
        ("openat", (0, 0, os.O_ACCMODE), False),
        ("fcntl", (3, 1), True),
        ("fcntl", (3, 8), False),
        ("fcntl", (3, 1031), False),
        ("ioctl", (0, 0x5401), True),
        ("ioctl", (0, 0x5412), False),
        ("ioctl", (0, 0x5401 | 1 << 32), True),
        ("prlimit64", (0, 7, 0, 4096), True),
        ("prlimit64", (0, 7, 4096), False),
        ("prlimit64", (0, 7, 1 << 32), False),
        ("prlimit64", (1, 7, 0), False),
        ("socketpair", (1, 1), True),
        ("socketpair", (2, 1), False),
    ],
)
def test_the_filter_looks_at_arguments(machine: str, call: str, arguments: tuple[int, ...], allowed: bool) -> None:
    number = syscalls.CONDITIONS[call][0].numbers[syscalls.ARCHITECTURES[machine][0]]
    assert number is not None
    assert (verdict(machine, number, *arguments) == "allow") == allowed


# --- without root ------------------------------------------------------------------------------------------

AS_NOBODY = """
import json, os, sys, tempfile
from pathlib import Path
from quintet.tasks.sandbox import SandboxSettings, run, running, unavailable
folder, interpreter, programs = json.loads(sys.stdin.read())
if os.getuid() == 0:
    # All is imported before it is out of reach.
    assert unavailable() == ""
    running._lacking.cache_clear()
    sys.executable, running._PYTHON = interpreter, (*running._PYTHON[:-1], folder)
    tempfile.tempdir = folder
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
assert unavailable() == "", unavailable()
settings = SandboxSettings(seconds=1.0)
print(json.dumps([os.getuid(), [run(program, settings).model_dump() for program in programs]]))
"""


def interpreter_for_nobody(folder: Path) -> str:
    """A copy of this Python that every user may run; that of root often lies in root's home."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = Path(os.__file__).parent
    left_out = shutil.ignore_patterns("*-packages", "test", "idlelib", "ensurepip", "config-*", "tkinter", "lib2to3")
    shutil.copytree(library, folder / "lib" / version, ignore=left_out)
    (folder / "bin").mkdir()
    for name in Path(sys.base_prefix, "lib").glob("libpython*"):
        shutil.copy(name, folder / "lib")
    return str(shutil.copy(os.path.realpath(sys.executable), folder / "bin" / version))


def test_it_holds_for_an_ordinary_user(tmp_path: Path) -> None:
    place = Path(tempfile.mkdtemp())
    try:
        interpreter = interpreter_for_nobody(place) if os.getuid() == 0 else sys.executable
        shutil.copy(confine.__file__, place)
        place.chmod(0o777)
        mine = place / "mine"
        mine.write_text("as it was")
        mine.chmod(0o666)
        attempts = {
            "read": f"open({str(mine)!r})",
            "write": f"open({str(mine)!r}, 'w')",
            "beside": "open('../new', 'w')",
            "mode": f"os.chmod({str(place)!r}, 0)",
            "fork": "os.fork()",
            "command": "subprocess.run(['/bin/true'])",
            "kill": "os.kill(os.getppid(), 9)",
            "tcp": "socket.socket()",
            "memory": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
            "root": "os.setuid(0)",
            "user namespace": "if ctypes.CDLL(None).unshare(0x10000000): raise PermissionError",
        }
        programs = [
            "import hashlib, json; open('kept', 'w').write('kept'); print(open('kept').read())",
            _TRY.format(attempts=attempts),
            "while True: pass",
            "x = bytearray(10**10)",
            "while True: print('y' * 1000)",
        ]
        found = subprocess.run(
            [sys.executable, "-c", AS_NOBODY],
            input=json.dumps([str(place), interpreter, programs]),
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0, found.stderr
        user, (kept, tried, *limited) = json.loads(found.stdout)
        assert user != 0
        assert kept["output"] == "kept\n", kept
        assert json.loads(tried["output"]) == {**dict.fromkeys(attempts, "PermissionError"), "memory": "ValueError"}
        assert [each["ended"] for each in limited] == ["time", "memory", "output"]
        assert mine.read_text() == "as it was"
        assert not list(place.glob("quintet-sandbox-*"))
    finally:
        shutil.rmtree(place)


def test_the_limits_stand_under_the_tasks() -> None:
    assert TaskSettings.model_validate({"sandbox": {"memory_mb": 128}}).sandbox.memory_mb == 128
    with pytest.raises(ValueError, match="seconds"):
        TaskSettings.model_validate({"sandbox": {"seconds": 0}})


# --- the page about it -------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")


def test_the_page_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    [program] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    [printed] = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    exec(program, {})  # noqa: S102
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == printed.splitlines()


def test_the_page_shows_all_limits_as_they_are() -> None:
    [config] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert TaskSettings.model_validate(tomllib.loads(config)["tasks"]) == TaskSettings()
    assert set(tomllib.loads(config)["tasks"]["sandbox"]) == set(SandboxSettings.model_fields)
    assert max(map(len, PAGE.splitlines())) <= 125
