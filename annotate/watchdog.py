"""Runs one command and leaves nothing of it behind, also when the process that asked for it is SIGKILLed.

Started by file path as `python watchdog.py PARENT_PID GRACE_SECONDS COMMAND...` in a session of its own;
standard library only. It ends the command and everything the command started when it gets SIGTERM, when its
parent is gone, and when the command itself ends; then it exits with the command's status.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

_LOOK_SECONDS = 0.1
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def main(arguments: list[str]) -> int:
    """Run the command to its end, or to ours; returns the exit status (128 + signal, as a shell says it)."""
    parent, grace, command = int(arguments[0]), float(arguments[1]), arguments[2:]
    told_to_stop = False

    def on_sigterm(*_: object) -> None:
        nonlocal told_to_stop
        told_to_stop = True

    # Handlers, not SIG_IGN: an ignored signal would stay ignored in the command.
    signal.signal(signal.SIGTERM, on_sigterm)
    for harmless in (signal.SIGINT, signal.SIGHUP):
        signal.signal(harmless, lambda *_: None)
    _adopt_orphans()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    while child.poll() is None and not told_to_stop and os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    status = child.returncode
    _end_all(child, grace)
    if status is None:
        status = child.returncode if child.returncode is not None else -signal.SIGTERM
    return status if status >= 0 else 128 - status


def _adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, so that none escapes by outliving it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_all(child: subprocess.Popen[bytes], grace: float) -> None:
    """Ask the command to end in its own order (what a dead one left: each), then SIGKILL what is left."""
    if child.poll() is None:
        child.terminate()
    else:
        os.killpg(0, signal.SIGTERM)
    if _reaped_all(child, grace):
        return
    for _ in range(3):  # a dying process may have started another one in between
        for pid in _descendants(os.getpid()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if _reaped_all(child, 2.0):
            return
    os.killpg(0, signal.SIGKILL)


def _reaped_all(child: subprocess.Popen[bytes], seconds: float) -> bool:
    """Collect ended children until none is left (True) or the time is up (False)."""
    deadline = time.monotonic() + seconds
    while True:
        if child.poll() is not None:  # Popen collects its own child, else its status would be lost
            try:
                while os.waitpid(-1, os.WNOHANG)[0] != 0:
                    pass
            except ChildProcessError:
                return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_SECONDS / 2)


def _descendants(root: int) -> list[int]:
    """All processes below `root`, read from /proc; empty where there is none."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            fields = entry.read_text(errors="replace").rsplit(")", 1)[1].split()
            children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found: list[int] = []
    queue = [root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
