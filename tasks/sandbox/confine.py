"""What the sandbox's process runs: it confines itself for good, then runs the program that lies in its folder.

It is imported by name alone, in an interpreter without packages, so it uses the standard library only; as few modules
of it as will do, for it runs before every program.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator

PROGRAM = "program.py"
"""The program's file in the scratch folder."""

_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
"""Where the system's libraries are, which the standard library's own modules load."""
_OTHERS = ("/etc/ld.so.cache", "/usr/share/zoneinfo", "/dev/zero", "/dev/urandom")

# Numbers of calls that came after x86-64 and 64-bit ARM share their numbers.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1

_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE, _MAKE_REG, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 5, 1 << 8, 1 << 14
_SCRATCH = _WRITE_FILE | _READ_FILE | _READ_DIR | _REMOVE_FILE | _MAKE_REG

_PDEATHSIG, _SET_DUMPABLE, _SET_SECCOMP, _SET_NO_NEW_PRIVS = 1, 4, 22, 38
_FILTER_MODE = 2
_CAPABILITY_VERSION = 0x20080522
_SIGKILL = 9


class _Program(ctypes.Structure):
    """The kernel's `sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def landlock() -> int:
    """The version of Landlock's interface that the kernel offers, from 1.

    Raises:
        OSError: None; `ENOSYS` where the kernel lacks it or a container hides it, `EOPNOTSUPP` where it is off.
    """
    return _call(_CREATE_RULESET, None, 0, _VERSION)


def main(arguments: list[str]) -> None:
    """Confine this process, say `ready` on the status pipe, run the program.

    Args:
        arguments: Folder of this module; the parent's process id; the status pipe's number; the limits: seconds of
            computing, bytes of memory and of a file; the seccomp filter in hex.
    """
    folder, parent, status, *limits, program = arguments
    sys.path.remove(folder)
    try:
        _confine(int(parent), [int(limit) for limit in limits], bytes.fromhex(program))
    except OSError as error:
        os.write(int(status), f"{error.filename or 'the kernel'}: {error.strerror}".encode())
        os._exit(1)
    sys.argv[:] = [PROGRAM]
    os.write(int(status), b"ready")
    os.close(int(status))
    _run()


def _confine(parent: int, limits: list[int], program: bytes) -> None:
    import resource

    _prctl(_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    # No core file, not even by a handler that the machine pipes them to.
    _prctl(_SET_DUMPABLE, 0)
    cpu, memory, file = limits
    for what, soft, hard in (
        (resource.RLIMIT_CPU, cpu, cpu + 1),
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_FSIZE, file, file),
        (resource.RLIMIT_NOFILE, 32, 32),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MEMLOCK, 0, 0),
    ):
        _, most = resource.getrlimit(what)
        bound = hard if most == resource.RLIM_INFINITY else min(hard, most)
        resource.setrlimit(what, (min(soft, bound), bound))
    os.umask(0o077)
    _drop_capabilities()
    _prctl(_SET_NO_NEW_PRIVS, 1)
    _restrict_files()
    instructions = _Program(len(program) // 8, program)
    _prctl(_SET_SECCOMP, _FILTER_MODE, ctypes.addressof(instructions))


def _drop_capabilities() -> None:
    """Root without them is but the owner of some files."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def _restrict_files() -> None:
    version = landlock()
    # Version 2 knows of moving files between folders, 3 of truncation, 5 of device commands.
    rights = (1 << 13 + (version >= 2) + (version >= 3) + (version >= 5)) - 1
    # Version 4 knows of TCP, 6 of abstract sockets and signals: all of it is refused.
    size = 8 if version < 4 else 16 if version < 6 else 24
    handled = (ctypes.c_uint64 * 3)(rights, 0b11, 0b11)
    ruleset = _call(_CREATE_RULESET, ctypes.addressof(handled), size, 0)
    scratch = _SCRATCH | (_TRUNCATE & rights)
    _allow(ruleset, ".", scratch, scratch)
    _allow(ruleset, "/dev/null", 0, (_READ_FILE | _WRITE_FILE | _TRUNCATE) & rights)
    for path in _readable():
        _allow(ruleset, path, _READ_FILE | _READ_DIR, _READ_FILE)
    for path in sys.path:
        # To be listed, as the import system does; what is in it is another matter.
        _allow(ruleset, path, _READ_DIR, 0)
    _call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _readable() -> Iterator[str]:
    """What Python needs: the standard library and what it loads, without any packages."""
    yield from _OTHERS
    for folder in sys.path:
        yield from (entry.path for entry in _entries(folder) if not entry.name.endswith("-packages"))
    for folder in dict.fromkeys(map(os.path.realpath, _LIBRARIES)):
        yield from (entry.path for entry in _entries(folder) if not entry.name.startswith("python"))
    # An interpreter of its own, such as conda's, has libraries of its own.
    for folder in (f"{sys.base_prefix}/lib", "/usr/local/lib"):
        yield from (entry.path for entry in _entries(folder) if ".so" in entry.name)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except OSError:
        return []


def _allow(ruleset: int, path: str, folder: int, file: int) -> None:
    """Add a rule for a path, if it is there: the rights of a folder and all in it, or of a file."""
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    access = folder if os.path.isdir(path) else file
    if access:
        rule = access.to_bytes(8, sys.byteorder) + handle.to_bytes(4, sys.byteorder)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    os.close(handle)


def _run() -> None:
    """Run the program as its interpreter would: as `__main__`, with tracebacks that begin in it."""
    main = type(sys)("__main__")
    main.__file__ = PROGRAM
    sys.modules["__main__"] = main
    del sys.modules[__name__]
    try:
        with open(PROGRAM, "rb") as file:
            code = compile(file.read(), PROGRAM, "exec", dont_inherit=True)
        exec(code, main.__dict__)  # noqa: S102 - what all this is for
    except SystemExit:
        raise
    except BaseException as error:
        if error.__traceback__:
            error.__traceback__ = error.__traceback__.tb_next
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(1)


_libc = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: int | bytes | None) -> int:
    wide = (each if isinstance(each, bytes) else ctypes.c_long(each or 0) for each in arguments)
    return _checked(_libc.syscall(ctypes.c_long(number), *wide), "Landlock")


def _prctl(option: int, first: int, second: int = 0) -> None:
    rest = (ctypes.c_ulong(each) for each in (first, second, 0, 0))
    _checked(_libc.prctl(ctypes.c_int(option), *rest), f"prctl {option}")


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result
