"""The sample's teacher in the real vLLM: started, proven by the canary, and gone when we are SIGKILLed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from annotate.teacher.canary import run_canary

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-teacher" / "bin" / "python"
TEACHER = ROOT / "sample" / "models" / "teacher"

PROGRAM = """
import sys, time
from pathlib import Path
from annotate.teacher.server import start_server
with start_server(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])) as server:
    print(server.url, server.model, server.pid, server.facts.version, flush=True)
    time.sleep(3600)
"""


def session_members(leader: int) -> list[int]:
    """Living processes of a session (the watchdog leads it; vLLM makes no other)."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == leader and fields[0] not in "ZX":
            members.append(int(stat.parent.name))
    return members


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_sample_teacher_passes_the_canary_and_dies_with_us(tmp_path: Path) -> None:
    arguments = [str(TEACHER), str(PYTHON), str(tmp_path / "server.log")]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as ours:
        assert ours.stdout is not None
        url, model, leader, version = ours.stdout.readline().split()
        report = asyncio.run(run_canary(url, model))
        before = session_members(int(leader))
        os.kill(ours.pid, signal.SIGKILL)
    assert version.startswith("0.32")
    assert report.uuid_supported
    assert not report.reasons
    assert report.requests == 4
    assert report.picture_difference > 100 * report.repeat_difference
    assert len(before) >= 4  # watchdog, API server, engine, worker
    deadline = time.monotonic() + 60
    while (left := session_members(int(leader))) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []
