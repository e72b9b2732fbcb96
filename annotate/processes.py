"""Child processes that never outlive us, whatever ends us: an error, Ctrl-C, SIGTERM, SIGKILL."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from annotate.errors import OutputError

logger = logging.getLogger(__name__)

GRACE_SECONDS = 10.0
_WATCHDOG = Path(__file__).with_name("watchdog.py")


@contextmanager
def guarded(
    command: Sequence[str],
    env: Mapping[str, str],
    log: Path,
    cwd: Path | None = None,
    grace_seconds: float = GRACE_SECONDS,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` under a watchdog while the block lasts; everything it prints goes to `log`.

    The yielded process is the watchdog: its pid is the process group, its exit status the command's. Raises
    `OutputError` when the log cannot be written.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        opened = log.open("wb")
    except OSError as error:
        raise OutputError(
            f"{log}: cannot be written ({error.strerror or error}); make room or mend its rights"
        ) from error
    with opened as output, _sigterm_raises():
        process = subprocess.Popen(
            [sys.executable, "-I", str(_WATCHDOG), str(os.getpid()), str(grace_seconds), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,  # Ctrl-C in the terminal reaches us alone; we stop the child in order
        )
        try:
            yield process
        finally:
            _stop(process, grace_seconds)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """End the watchdog, and with it the command; a second Ctrl-C must not cut this short."""
    with _deaf():
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(grace_seconds + 10)
                return
            except subprocess.TimeoutExpired:
                logger.warning("a watchdog did not end in time; killing its process group")
        elif process.returncode >= 0:
            return  # the watchdog ended by itself, so it has cleaned up
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def _deaf() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back while cleaning up; what came meanwhile is heard afterwards.

    No mask of this thread: another thread would take the signal, and Python runs the handler in the main one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # handlers run in the main thread, so they interrupt nothing here
        return
    heard: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda came, _: heard.append(came)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        for came in dict.fromkeys(heard):
            signal.raise_signal(came)


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM as SystemExit(143) instead of sudden death, unless somebody (Prefect) already handles it."""
    mine = threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    )

    def leave(*_: int | FrameType | None) -> NoReturn:
        raise SystemExit(128 + signal.SIGTERM)

    if mine:
        signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
