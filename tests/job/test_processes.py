"""What we start is cleaned up whatever comes meanwhile, and a log that cannot be written is one line."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from annotate.errors import OutputError
from annotate.processes import _deaf, guarded


def test_a_log_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for log in (tmp_path / "file" / "log", tmp_path / "folder"):
        with (
            pytest.raises(OutputError, match=r"cannot be written .*; make room or mend its rights"),
            guarded([sys.executable, "-c", ""], os.environ, log),
        ):
            pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_cleaning_up_is_heard_afterwards_whichever_thread_takes_it(
    number: signal.Signals,
) -> None:
    cleaned: list[bool] = []
    over = threading.Event()
    other = threading.Thread(target=over.wait)  # it has no mask, so it may take the signal
    other.start()

    def raising(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, raising)
    try:
        with pytest.raises(KeyboardInterrupt), _deaf():
            os.kill(os.getpid(), number)
            time.sleep(0.05)
            cleaned.append(True)
        assert signal.getsignal(number) is raising
    finally:
        signal.signal(number, before)
        over.set()
        other.join()
    assert cleaned == [True]


def test_another_thread_cleans_up_as_it_is() -> None:
    before = signal.getsignal(signal.SIGINT)
    ended: list[bool] = []

    def clean() -> None:
        with _deaf():
            ended.append(signal.getsignal(signal.SIGINT) is before)

    thread = threading.Thread(target=clean)
    thread.start()
    thread.join()
    assert ended == [True]
