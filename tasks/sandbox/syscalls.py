"""The system calls that a confined program may make, as a seccomp filter: all others fail with `EPERM`.

What a call may touch is Landlock's business; the filter shuts what Landlock does not know of, on any kernel: sockets,
processes and threads, signals, permissions and owners, namespaces, tracing, and whatever future kernels bring.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import termios
from collections.abc import Iterable
from dataclasses import dataclass

ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""By machine: the column of `CALLS`, and the kernel's number of the architecture."""

CALLS: dict[str, tuple[int | None, int | None]] = {
    # Reading and writing what is open, and opening files, which Landlock judges.
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "close": (3, 57),
    "close_range": (436, 436),
    "lseek": (8, 62),
    "ftruncate": (77, 46),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "fadvise64": (221, 223),
    "copy_file_range": (326, 285),
    "sendfile": (40, 71),
    "stat": (4, None),
    "fstat": (5, 80),
    "lstat": (6, None),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "getcwd": (79, 17),
    "getdents64": (217, 61),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "umask": (95, 166),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "pipe": (22, None),
    "pipe2": (293, 59),
    "poll": (7, None),
    "ppoll": (271, 73),
    "select": (23, None),
    "pselect6": (270, 72),
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_wait": (232, None),
    "epoll_pwait": (281, 22),
    # Memory, which RLIMIT_AS bounds.
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "brk": (12, 214),
    # The process itself.
    "futex": (202, 98),
    "rseq": (334, 293),
    "set_robust_list": (273, 99),
    "set_tid_address": (218, 96),
    "arch_prctl": (158, None),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "rt_sigpending": (127, 136),
    "rt_sigsuspend": (130, 133),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "pause": (34, None),
    "alarm": (37, None),
    "getitimer": (36, 102),
    "setitimer": (38, 103),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "wait4": (61, 260),
    # Questions that change nothing.
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "times": (100, 153),
    "getrusage": (98, 165),
    "getrlimit": (97, 163),
    "getpid": (39, 172),
    "getppid": (110, 173),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getresuid": (118, 148),
    "getresgid": (120, 150),
    "getgroups": (115, 158),
    "getpgid": (121, 155),
    "getpgrp": (111, None),
    "getsid": (124, 156),
    "uname": (63, 160),
    "sysinfo": (99, 179),
    "getrandom": (318, 278),
    "getcpu": (309, 168),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
}
"""Calls that are allowed whatever their arguments, each with its number on x86-64 and on 64-bit ARM."""


@dataclass(frozen=True)
class Condition:
    """A call that is allowed for some arguments only.

    Attributes:
        numbers: As in `CALLS`.
        half: Which 32-bit half of its arguments is looked at: 2i is the low half of argument i.
        mask: The bits of it that matter.
        values: What they may be.
    """

    numbers: tuple[int | None, int | None]
    half: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF


_F_DUPFD_CLOEXEC = 1030
_MODES = (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_TRUNC)
_MODE = os.O_ACCMODE | os.O_TRUNC

CONDITIONS: dict[str, tuple[Condition, ...]] = {
    # Kernels before 6.2 let a file be emptied that may only be read: O_RDONLY | O_TRUNC.
    "open": (Condition((2, None), 2, _MODES, _MODE),),
    "openat": (Condition((257, 56), 4, _MODES, _MODE),),
    # No owner that is sent signals, no lease or lock on files of others, no larger pipes.
    "fcntl": (
        Condition(
            (72, 25),
            2,
            (fcntl.F_DUPFD, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_SETFL, _F_DUPFD_CLOEXEC),
        ),
    ),
    # Whether it is a terminal, and non-blocking or close-on-exec: what Python itself asks for.
    "ioctl": (
        Condition(
            (16, 29), 2, (termios.TCGETS, termios.TIOCGWINSZ, termios.FIONBIO, termios.FIOCLEX, termios.FIONCLEX)
        ),
    ),
    # Its own limits, to be read: no process id, and no new value at either half of the pointer.
    "prlimit64": tuple(Condition((302, 261), half, (0,)) for half in (0, 4, 5)),
    # A pair that leads nowhere but to itself, which asyncio needs.
    "socketpair": (Condition((53, 199), 0, (socket.AF_UNIX,)),),
}
"""Calls that are allowed if all their conditions hold."""

_LOAD, _JUMP_EQUAL, _AND, _RETURN = 0x20, 0x15, 0x54, 0x06
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050001
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Where the kernel's `seccomp_data` holds what the filter reads, in bytes."""


def assemble(machine: str) -> bytes:
    """The filter as the kernel takes it: classic BPF, 8 bytes an instruction.

    Args:
        machine: A key of `ARCHITECTURES`.
    """
    column, architecture = ARCHITECTURES[machine]
    program = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_JUMP_EQUAL, architecture, 1, 0),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _NUMBER),
    ]
    for numbers in CALLS.values():
        if (number := numbers[column]) is not None:
            program += [_instruction(_JUMP_EQUAL, number, 0, 1), _instruction(_RETURN, _ALLOW)]
    for conditions in CONDITIONS.values():
        if (number := conditions[0].numbers[column]) is not None:
            block = [step for condition in conditions for step in _check(condition)]
            block.append(_instruction(_RETURN, _ALLOW))
            program += [_instruction(_JUMP_EQUAL, number, 0, len(block)), *block]
    return b"".join([*program, _instruction(_RETURN, _REFUSE)])


def _check(condition: Condition) -> Iterable[bytes]:
    """Instructions that refuse the call where the condition does not hold, else go on after them."""
    yield _instruction(_LOAD, _ARGUMENTS + 4 * condition.half)
    yield _instruction(_AND, condition.mask)
    left = len(condition.values)
    for value in condition.values:
        # A match skips the values left and the refusal.
        yield _instruction(_JUMP_EQUAL, value, left, 0)
        left -= 1
    yield _instruction(_RETURN, _REFUSE)


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)
