"""One run at a time on one OUT."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from annotate.errors import OutputError
from annotate.locks import hold_lock

HOLDER = """
import sys, time
from pathlib import Path
from annotate.locks import hold_lock
with hold_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_naming_pid_and_host_and_a_dead_one_is_not_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "journal" / "lock"
    process = holder(path)
    try:
        with pytest.raises(OutputError) as refused, hold_lock(path):
            pass
        assert f"pid {process.pid} on {socket.gethostname()}" in str(refused.value)
        assert str(tmp_path) in str(refused.value)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert path.exists()  # the text stays; the kernel's lock does not
    with hold_lock(path):
        assert f"pid {os.getpid()} " in path.read_text()


def test_the_same_process_is_refused_too_and_may_come_again(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold_lock(path), pytest.raises(OutputError, match="in use by pid"), hold_lock(path):
        pass
    with hold_lock(path):
        pass


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "lock").symlink_to(victim)
    with pytest.raises(OutputError, match="cannot write"), hold_lock(tmp_path / "lock"):
        pass
    assert victim.read_text() == "precious"


def test_an_out_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another OUT"), hold_lock(tmp_path / "file" / "lock"):
        pass


def test_a_disk_that_is_full_when_the_lock_is_taken_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "journal" / "lock"
    with monkeypatch.context() as disk:
        disk.setattr(os, "pwrite", full)
        with pytest.raises(OutputError, match=r"No space left on device.*make room"), hold_lock(path):
            pass
    with hold_lock(path):  # it is let go
        pass
