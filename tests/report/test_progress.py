"""Progress: right numbers at a readable pace, nothing left behind, and never a reason for a run to stop."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path

import pytest

from annotate.progress import PLAIN_SECONDS, Progress, Snapshot, duration, pace, plain_line


class Clock:
    """Time as a test sets it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def snapshot(done: int, asked: int, to_ask: int | None = None) -> Snapshot:
    return Snapshot(triplets=100, accepted=done, rejected=0, quarantined=0, asked=asked, to_ask=to_ask)


def test_pipe_gets_a_plain_line_at_most_every_five_seconds_and_one_at_the_end() -> None:
    stream, clock = io.StringIO(), Clock()
    with Progress("cirr/train", stream, clock) as progress:
        for tick in range(201):
            clock.now = tick / 10
            progress.update(snapshot(tick // 4, tick, to_ask=400))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 20 / PLAIN_SECONDS + 1
    assert "\x1b" not in stream.getvalue()
    assert lines[-1] == (
        "cirr/train: 50/100 triplets (50 %): 50 accepted, 0 rejected, 0 quarantined; "
        "10.0 requests/s; about 20 s left"
    )


def test_last_state_is_shown_even_when_it_came_early() -> None:
    stream = io.StringIO()
    with Progress("run", stream, Clock()) as progress:
        progress.update(snapshot(1, 1))
        progress.update(snapshot(100, 2))
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["1/100", "100/100"]


def test_rates_forget_what_the_journal_answered_more_than_a_minute_ago() -> None:
    stream, clock = io.StringIO(), Clock()
    with Progress("run", stream, clock) as progress:
        progress.update(Snapshot(10_000, 0, 0, 0, 0))
        for second in range(1, 121):
            clock.now = float(second)
            progress.update(Snapshot(10_000, 5_000 + second, 0, 0, asked=2 * second))
    assert "2.0 requests/s; about 1 h 21 min left" in stream.getvalue().splitlines()[-1]


def test_the_first_answer_of_a_resumed_run_begins_the_window_of_the_rates() -> None:
    stream, clock = io.StringIO(), Clock()
    with Progress("run", stream, clock) as progress:
        for second in range(31):  # the journal gives 30 rows
            clock.now = float(second)
            progress.update(Snapshot(100, second, 0, 0, 0, to_ask=700))
        for second in range(31, 41):  # then the teacher answers ten requests a second
            clock.now = float(second)
            progress.update(Snapshot(100, 30, 0, 0, 10 * (second - 30), to_ask=700))
    assert "10.0 requests/s; about 1 min 0 s left" in stream.getvalue().splitlines()[-1]


def test_time_left_counts_requests_when_their_number_is_known() -> None:
    assert pace(snapshot(0, 0, 100), snapshot(90, 20, 100), 10.0).left == 40.0
    assert pace(snapshot(0, 0), snapshot(50, 0), 10.0).left == 10.0
    assert pace(snapshot(0, 0), snapshot(0, 0), 10.0).left is None
    assert pace(snapshot(0, 0), snapshot(100, 5), 10.0).left == 0.0
    assert pace(snapshot(0, 0), snapshot(50, 5), 0.5).requests is None


def test_rows_that_the_journal_gives_foretell_nothing_about_those_to_be_asked() -> None:
    resumed = pace(snapshot(0, 0, 100), snapshot(50, 0, 100), 10.0)
    assert (resumed.requests, resumed.left) == (None, None)
    stalled = pace(snapshot(10, 5, 100), snapshot(10, 5, 100), 60.0)
    assert stalled.requests == 0.0 and "0.0 requests/s" in plain_line(snapshot(10, 5, 100), stalled)
    replayed = pace(snapshot(0, 0, 0), snapshot(50, 0, 0), 10.0)
    assert "requests/s" not in plain_line(snapshot(50, 0, 0), replayed)


def test_no_triplets_is_no_division_by_zero() -> None:
    assert "0/0 triplets (100 %)" in plain_line(
        Snapshot(0, 0, 0, 0, 0), pace(snapshot(0, 0), snapshot(0, 0), 0)
    )


def test_terminal_shows_all_counts_and_leaves_no_thread_and_no_redirection() -> None:
    stream, clock = Terminal(), Clock()
    threads, stdout, stderr = threading.active_count(), sys.stdout, sys.stderr
    with Progress("cirr/train", stream, clock) as progress:
        for tick in range(3):
            clock.now = float(tick)
            progress.update(Snapshot(100, 10 * tick, 2 * tick, tick, asked=5 * tick))
            assert threading.active_count() == threads
    shown = stream.getvalue()
    for words in ("26/100 triplets", "20 accepted", "4 rejected", "2 quarantined", "5.0 requests/s", "left"):
        assert words in shown
    assert (sys.stdout, sys.stderr) == (stdout, stderr)


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_closed_stream_does_not_stop_the_run(kind: type[io.StringIO]) -> None:
    stream, clock = kind(), Clock()
    with Progress("run", stream, clock) as progress:
        progress.update(snapshot(1, 1))
        stream.close()
        clock.now = 60.0
        progress.update(snapshot(2, 2))
    with Progress("run", stream, clock) as progress:
        progress.update(snapshot(3, 3))


def test_reader_that_goes_away_does_not_stop_the_run() -> None:
    reader, writer = os.pipe()
    stream, clock = os.fdopen(writer, "w", buffering=1), Clock()
    with Progress("run", stream, clock) as progress:
        os.close(reader)
        progress.update(snapshot(1, 1))
        clock.now = 60.0
        progress.update(snapshot(2, 2))
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_terminal_that_hangs_up_does_not_stop_the_run() -> None:
    controller, terminal = os.openpty()
    stream, clock = os.fdopen(terminal, "w"), Clock()
    with Progress("run", stream, clock) as progress:
        progress.update(snapshot(1, 1))
        os.close(controller)
        for second in range(1, 4):
            clock.now = float(second)
            progress.update(snapshot(second, second))
    try:
        stream.close()
    except OSError:
        stream = None  # type: ignore[assignment]  # the hang-up surfaces here at the latest


def test_stdout_of_a_process_started_without_one_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with Progress("run") as progress:
        progress.update(snapshot(1, 1))
    stream = Terminal()
    with Progress("run", stream, Clock()) as progress:
        progress.update(snapshot(1, 1))
    assert "1/100" in stream.getvalue()


def test_stdout_that_goes_to_a_file_is_not_drawn_into_the_display(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "out").open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        with Progress("run", Terminal(), Clock()):
            print("result")
    assert (tmp_path / "out").read_text() == "result\n"


def test_titles_cannot_carry_escapes() -> None:
    stream = io.StringIO()
    with Progress("a\x1b[2Jb", stream, Clock()) as progress:
        progress.update(snapshot(1, 1))
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59, "59 s"), (125, "2 min 5 s"), (12_000, "3 h 20 min"), (187_200, "2 days 4 h")],
)
def test_duration_reads_naturally(seconds: float, words: str) -> None:
    assert duration(seconds) == words
