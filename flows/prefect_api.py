"""Which Prefect server a run reports to: a given one, that of `make ui`, or one of its own while it lasts.

Prefect reads its settings from the environment when it is imported, so this module must not import it.
"""

from __future__ import annotations

import base64
import http.client
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from annotate.errors import RunIncomplete, UsageError
from annotate.locks import is_held, wait_for_lock
from annotate.processes import free_port, guarded
from annotate.teacher.probe import answers_health, opener

HOME = Path("outputs") / ".prefect"
UI_PORT = 4200
UI_LOCK, START_LOCK = "ui.lock", "start.lock"
START_SECONDS = 300.0  # 6 s on an idle machine; a busy one must not fail a run for it

# Quiet on the console (our own lines say it better), everything in the run's log; telemetry off.
QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_CLIENT_MAX_RETRIES": "2",  # a server that went away must not hold the run for minutes
    "PREFECT_API_REQUEST_TIMEOUT": "15",
}

_KEYS: Mapping[str, Callable[[str], str]] = {
    "PREFECT_API_AUTH_STRING": lambda key: f"Basic {base64.b64encode(key.encode()).decode()}",
    "PREFECT_API_KEY": lambda key: f"Bearer {key}",
}
"""Prefect's settings that hold a key for its server, the preferred first, and the header each is sent as."""


@contextmanager
def prefect_api(given: str | None, home: Path) -> Iterator[str]:
    """Set up the environment for importing Prefect and yield the API URL (ends in /api).

    `home` is where a server of our own keeps its database, so that `make ui` shows the run afterwards.
    Raises `UsageError` when the given server does not answer or refuses the key, `RunIncomplete` when our own
    does not start.
    """
    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    os.environ["PREFECT_HOME"] = str(home.resolve())
    # Ours, which make exports; Prefect would take it for its section "api".
    os.environ.pop("PREFECT_API", None)
    ui = f"http://127.0.0.1:{UI_PORT}/api"
    if given:
        if not answers_health(given, proxied=True):
            raise UsageError(f"PREFECT_API={given} does not answer; start it, or leave it out")
        if _refuses(given, os.environ):
            key = _key(os.environ)
            why = "does not take the key; mend" if key else "wants a key; set Prefect's own"
            names = key or " (Prefect Cloud: ".join(_KEYS) + ")"
            raise UsageError(f"PREFECT_API={given} {why} {names} in the environment")
        yield _use(given)
    elif ui_runs(home) and answers_health(ui):
        yield _use(ui)
    else:
        with own_server(home) as server:
            yield _use(server.url)


def ui_runs(home: Path) -> bool:
    """Whether `make ui` runs over this database; what else answers on its port may be anybody's."""
    return is_held(home / UI_LOCK)


@dataclass(frozen=True, slots=True)
class OwnServer:
    """A Prefect server that we started."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]


@contextmanager
def own_server(home: Path, port: int | None = None) -> Iterator[OwnServer]:
    """A Prefect server on 127.0.0.1 with its database in `home`, for as long as the block lasts.

    Several may share a database, each with a log of its own; they start one after the other, since a server
    brings the database's tables up to date first.
    """
    chosen = free_port() if port is None else port
    url = f"http://127.0.0.1:{chosen}/api"
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(chosen),
    ]
    env = server_environment(os.environ, home)
    log = home / f"server-{chosen}.log"
    with ExitStack() as held:
        with wait_for_lock(home / START_LOCK):
            process = held.enter_context(guarded([*command, "--analytics-off"], env, log))
            deadline = time.monotonic() + START_SECONDS
            while not answers_health(url):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RunIncomplete(
                        f"the Prefect server did not start, see {log}; mend that, or use RUNNER=local"
                    )
                time.sleep(0.2)
        yield OwnServer(url, log, process)
    if port is None:
        log.unlink(missing_ok=True)  # of a free port, so the next one has another name


def server_environment(own: Mapping[str, str], home: Path) -> dict[str, str]:
    """Environment of a Prefect server that we start: its own home, no telemetry, no keys of others."""
    kept = {
        name: value
        for name, value in own.items()
        if "API_KEY" not in name and not name.startswith("PREFECT_API")
    }
    return {**kept, **QUIET, "PREFECT_HOME": str(home.resolve())}


def _refuses(url: str, environment: Mapping[str, str]) -> bool:
    """Whether a server refuses what it would be asked with the key of this environment, or with none."""
    request = urllib.request.Request(f"{url}/admin/version")  # health is told to anybody
    if key := _key(environment):
        request.add_header("Authorization", _KEYS[key](environment[key]))
    try:
        with opener(proxied=True).open(request, timeout=5):
            return False
    except urllib.error.HTTPError as error:
        error.close()
        return error.code in (401, 403)
    except (OSError, http.client.HTTPException, ValueError):  # said better by the run that meets it
        return False


def _key(environment: Mapping[str, str]) -> str | None:
    """The name of Prefect's setting that holds a key for its server; as Prefect prefers them."""
    return next((name for name in _KEYS if environment.get(name)), None)


def _use(url: str) -> str:
    os.environ["PREFECT_API_URL"] = url
    return url
