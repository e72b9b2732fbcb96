"""Starts a teacher server, waits until it answers, stops it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from annotate.errors import CirError, RunIncomplete, TeacherRefused
from annotate.processes import free_port, guarded
from annotate.teacher import launch
from annotate.teacher.probe import ServerFacts, answers_health, check_server

TAIL_LINES = 12
START_SECONDS = 900.0
READ_BYTES_A_SECOND = 50e6  # weights from a slow shared disk; a hub name may first have to be downloaded
DOWNLOAD_SECONDS = 4 * 3600.0
GRACE_SECONDS = 30.0  # vLLM needs two; a starved machine more, and shared memory leaks if it is cut short


@dataclass(frozen=True, slots=True)
class Server:
    """A server that we started. `url` ends in /v1; `pid` is also its process group."""

    url: str
    model: str
    pid: int
    log: Path
    facts: ServerFacts
    seconds_to_start: float


@contextmanager
def start_server(
    teacher: str | Path,
    python: Path,
    log: Path,
    port: int | None = None,
    extra_flags: Sequence[str] = (),
    start_seconds: float | None = None,
    grace_seconds: float = GRACE_SECONDS,
) -> Iterator[Server]:
    """Serve `teacher` on 127.0.0.1 with the vLLM of `python`'s environment while the `with` block lasts.

    No process stays behind: not after a normal end, an exception, Ctrl-C or SIGTERM, nor when we are
    SIGKILLed (a watchdog process sees that). Everything the server prints goes to `log`.

    Raises `TeacherRefused` when it cannot be started (port in use, no environment, died, not ready in
    time), and `RunIncomplete` when the block failed because the server had died under it.
    """
    python = python.absolute()  # not resolved: a venv's python is a link, and its place is what matters
    package, _ = launch.vllm_package(python)
    chosen = free_port() if port is None else port
    if port is not None:
        require_free(port)
    if start_seconds is None:
        start_seconds = most_seconds(launch.local_folder(teacher))
    command = launch.command(teacher, python, package, chosen, extra_flags)
    env = launch.environment(teacher, package, os.environ)
    with run_server(
        command, env, launch.served_name(teacher, extra_flags), chosen, log, start_seconds, grace_seconds
    ) as server:
        yield server


@contextmanager
def run_server(
    command: Sequence[str],
    env: dict[str, str],
    model: str,
    port: int,
    log: Path,
    start_seconds: float,
    grace_seconds: float = GRACE_SECONDS,
) -> Iterator[Server]:
    """Run any OpenAI-compatible server under the watchdog; see `start_server`, which picks the command."""
    url = f"http://127.0.0.1:{port}/v1"
    began = time.monotonic()
    # In the log's folder: `python -m` imports from the working directory first, and not from our packages.
    with guarded(command, env, log, log.parent, grace_seconds) as process:
        _wait_until_healthy(process, url, log, began + start_seconds, start_seconds)
        facts = check_server(url, model)
        try:
            yield Server(url, model, process.pid, log, facts, time.monotonic() - began)
        except CirError as error:
            if not _has_died(process, url, grace_seconds):
                raise
            if isinstance(error, TeacherRefused):  # nothing was asked yet
                raise TeacherRefused(_death(process, log)) from error
            raise RunIncomplete(
                f"{_death(process, log)}; what was answered is kept: the same command goes on"
            ) from error


def serve_forever(
    teacher: str | Path,
    python: Path,
    log: Path,
    port: int | None = None,
    extra_flags: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> NoReturn:
    """Serve until Ctrl-C or SIGTERM, which both end in SystemExit. For `serve-teacher`."""
    say(f"starting {teacher}; its output goes to {log}")
    try:
        with start_server(teacher, python, log, port, extra_flags) as server:
            say(f"ready after {server.seconds_to_start:.0f} s. In another terminal:")
            say(f"  make annotate TEACHER_URL={server.url} TEACHER_MODEL={server.model}")
            say("Ctrl-C stops it.")
            while _alive(server.pid):
                time.sleep(0.5)
    except KeyboardInterrupt:
        say("stopped")
        raise SystemExit(0) from None
    raise RunIncomplete(f"the teacher server died; {_tail_words(log)}")


def require_free(port: int) -> None:
    """Raise `TeacherRefused` unless we can listen on this port of 127.0.0.1."""
    if not 1 <= port <= 65535:
        raise TeacherRefused(
            f"PORT {port} is no port; give one of 1 to 65535, or leave it out for a free one"
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn does: TIME_WAIT is no user
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise TeacherRefused(
                f"port {port} of 127.0.0.1 cannot be used ({error.strerror}): stop what listens there"
                f" (`ss -ltnp 'sport = :{port}'` names it), give another PORT, or leave it out for a free one"
            ) from error


def log_tail(log: Path, lines: int = TAIL_LINES) -> tuple[str, ...]:
    """The last lines of a server log that say something, control characters escaped."""
    try:
        with log.open("rb") as handle:
            handle.seek(max(0, log.stat().st_size - 65536))
            text = handle.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ()
    kept = [line for line in text.splitlines() if line.strip()][-lines:]
    return tuple("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in kept)


def most_seconds(folder: Path | None) -> float:
    """How long a teacher may take until it answers; one that has died is noticed at once."""
    if folder is None:
        return DOWNLOAD_SECONDS
    return START_SECONDS + launch.weight_bytes(folder) / READ_BYTES_A_SECOND


def _wait_until_healthy(
    process: subprocess.Popen[bytes], url: str, log: Path, deadline: float, seconds: float
) -> None:
    while True:
        if process.poll() is not None:
            raise TeacherRefused(f"{_death(process, log)}; mend that or look at the whole log")
        if answers_health(url.removesuffix("/v1")):
            return
        if time.monotonic() > deadline:
            raise TeacherRefused(
                f"the teacher server was not ready within {seconds:.0f} s; {_tail_words(log)};"
                " a slow disk or download: try again, else look at the whole log"
            )
        time.sleep(0.1)


def _alive(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


def _has_died(process: subprocess.Popen[bytes], url: str, grace_seconds: float) -> bool:
    """Whether the server is gone; one that no longer listens gets the time its watchdog needs to clean up."""
    if process.poll() is None and not answers_health(url.removesuffix("/v1")):
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace_seconds + 3)
    return process.poll() is not None


def _death(process: subprocess.Popen[bytes], log: Path) -> str:
    status = process.returncode
    killed = " (killed: out of memory?)" if status == 128 + signal.SIGKILL else ""
    return f"the teacher server died with exit status {status}{killed}; {_tail_words(log)}"


def _tail_words(log: Path) -> str:
    """The log's place and the end of it, in a line; lines that look like the cause come first."""
    tail = log_tail(log)
    causes = [line for line in log_tail(log, 200) if "Error" in line and "Traceback" not in line][-2:]
    words = " | ".join(line.strip()[-300:] for line in (causes or tail[-2:]))
    return f"{log} ends: {words or '(empty)'}"
