"""Runs a command for as long as whoever started this holds its standard input open: `python guard.py COMMAND...`.

However a process ends, the system closes its end of the pipe; what it started is then ended too, with all that this
started in its turn. Standard library only, since the interpreter that has vLLM need not have Quintet.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

GRACE_SECONDS = 5.0


def main() -> None:
    """Run the command; this process must lead a process group of its own."""
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)  # noqa: S603

    def watch() -> None:
        while os.read(0, 4096):
            pass
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_SECONDS)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    child.wait()
    # What it leaves behind would hold its memory.
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
