"""`make ui`: a Prefect server over this checkout's own database, which runs recognise as theirs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from annotate.processes import free_port
from annotate.teacher.probe import answers_health
from flows.prefect_api import HOME, server_environment, ui_runs

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "import sys; from flows import ui; ui.UI_PORT = int(sys.argv[1]); sys.exit(ui.main())"


@pytest.mark.slow
def test_the_ui_serves_until_it_is_stopped_and_a_second_one_is_refused(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", PROGRAM, str(port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as ours:
        deadline = time.monotonic() + 300
        while not answers_health(f"http://127.0.0.1:{port}/api") and time.monotonic() < deadline:
            assert ours.poll() is None
            time.sleep(0.2)
        assert ui_runs(tmp_path / HOME)
        second = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )
        assert second.returncode == 2
        assert f"a Prefect server answers at http://127.0.0.1:{port} already" in second.stderr
        ours.send_signal(signal.SIGINT)
        assert ours.wait(60) == 0
    assert not ui_runs(tmp_path / HOME)
    assert not answers_health(f"http://127.0.0.1:{port}/api")


def test_a_server_of_ours_gets_no_keys_and_tells_nobody(tmp_path: Path) -> None:
    own = {"TEACHER_API_KEY": "a", "OPENAI_API_KEY": "b", "PREFECT_API_URL": "c", "PREFECT_API_KEY": "d"}
    found = server_environment({**own, "PATH": "/bin"}, tmp_path)
    assert not set(own) & set(found) and found["PATH"] == "/bin"
    assert (found["PREFECT_SERVER_ANALYTICS_ENABLED"], found["DO_NOT_TRACK"]) == ("false", "1")
