"""How far a run is: a live display on a terminal, elsewhere a plain line now and then. Fed by snapshots.

It has no thread of its own and never stops a run: once its stream is closed or broken it stays silent.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from annotate.text import plain

PLAIN_SECONDS = 5.0
LIVE_SECONDS = 0.1
WINDOW_SECONDS = 60.0
"""Rates are of the last minute."""
MARK_SECONDS = 0.5
_GONE = (OSError, ValueError)
"""What a closed file or pipe raises."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where a run stands. `asked`: requests that the teacher answered in this run, `to_ask`: how many in all.

    `to_ask` is an estimate (repairs come on top) or None; answers from the journal are in neither.
    """

    triplets: int
    accepted: int
    rejected: int
    quarantined: int
    asked: int
    to_ask: int | None = None

    @property
    def done(self) -> int:
        return self.accepted + self.rejected + self.quarantined


@dataclass(frozen=True, slots=True)
class Pace:
    """Requests per second over the window, and seconds left; None while unknown."""

    requests: float | None
    left: float | None


def pace(first: Snapshot, last: Snapshot, seconds: float) -> Pace:
    """Rates between two snapshots that lie `seconds` apart; unknown within the first second, and while the
    journal alone gives the rows of a run that still has to ask."""
    if seconds < 1.0 or (last.to_ask and not last.asked and last.done < last.triplets):
        return Pace(None, None)
    requests = (last.asked - first.asked) / seconds if last.to_ask != 0 else None
    if last.done >= last.triplets:
        return Pace(requests, 0.0)
    if last.to_ask and requests and last.asked < last.to_ask:
        return Pace(requests, (last.to_ask - last.asked) / requests)
    triplets = (last.done - first.done) / seconds
    return Pace(requests, (last.triplets - last.done) / triplets if triplets > 0 else None)


def plain_line(snapshot: Snapshot, speed: Pace) -> str:
    """One line for logs and pipes."""
    counts = (
        f"{snapshot.done:,}/{snapshot.triplets:,} triplets ({_percent(snapshot)} %): "
        f"{snapshot.accepted:,} accepted, {snapshot.rejected:,} rejected, "
        f"{snapshot.quarantined:,} quarantined"
    )
    return "; ".join((counts, *_speed_words(speed)))


def duration(seconds: float) -> str:
    """Seconds as a person says them: "40 s", "12 min 5 s", "3 h 20 min", "2 days 4 h"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    days = whole // 86400
    return f"{days} day{'s' if days > 1 else ''} {whole % 86400 // 3600} h"


class Progress:
    """Context manager around a run. Call `update` as often as you like; it shows what a reader can follow."""

    def __init__(
        self, title: str, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._title = plain(title, 60)
        self._stream = stream if stream is not None else sys.stderr
        self._clock = clock
        self._marks: deque[tuple[float, Snapshot]] = deque()
        self._latest: tuple[float, Snapshot] | None = None
        self._shown_at = float("-inf")
        self._shown: Snapshot | None = None
        self._live: Live | None = None
        self._gone = self._stream is None

    def __enter__(self) -> Progress:
        try:
            if not self._gone and self._stream.isatty():
                console = _QuietConsole(file=self._stream)
                both = (
                    sys.stdout is not None and sys.stdout.isatty()
                )  # a redirected stdout stays where it goes
                live = Live(console=console, auto_refresh=False, redirect_stdout=both)
                live.start()
                self._live = live
        except _GONE:
            self._gone = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show the last state once more, then give the terminal back."""
        if self._latest is not None and self._shown is not self._latest[1]:
            self._show(*self._latest)
        if self._live is not None:
            try:
                self._live.stop()
            except _GONE:
                self._gone = True

    def update(self, snapshot: Snapshot) -> None:
        """Take note of where the run stands, and show it if the last showing is long enough ago."""
        now = self._clock()
        if snapshot.asked and self._latest and not self._latest[1].asked:
            self._marks = deque((self._latest,))  # what the journal answered says nothing about the teacher
        self._latest = (now, snapshot)
        if not self._marks or now - self._marks[-1][0] >= MARK_SECONDS:
            self._marks.append(self._latest)
        while len(self._marks) > 1 and now - self._marks[1][0] >= WINDOW_SECONDS:
            self._marks.popleft()
        if now - self._shown_at >= (LIVE_SECONDS if self._live else PLAIN_SECONDS):
            self._show(now, snapshot)

    def _show(self, now: float, snapshot: Snapshot) -> None:
        self._shown_at, self._shown = now, snapshot
        if self._gone:
            return
        start, first = self._marks[0]
        speed = pace(first, snapshot, now - start)
        try:
            if self._live is not None:
                self._live.update(_display(self._title, snapshot, speed), refresh=True)
            else:
                self._stream.write(f"{self._title}: {plain_line(snapshot, speed)}\n")
                self._stream.flush()
        except _GONE:
            self._gone = True


class _QuietConsole(Console):
    """A console whose reader may go away: rich's own would end the process."""

    def on_broken_pipe(self) -> NoReturn:
        self.quiet = True
        raise BrokenPipeError


def _display(title: str, snapshot: Snapshot, speed: Pace) -> Group:
    head = Table.grid(padding=(0, 2))
    head.add_row(
        Text(title, style="bold"),
        ProgressBar(total=max(snapshot.triplets, 1), completed=snapshot.done, width=32),
        Text(f"{snapshot.done:,}/{snapshot.triplets:,} triplets"),
        Text(f"{_percent(snapshot)} %"),
    )
    counts = Text.assemble(
        (f"{snapshot.accepted:,} accepted", "green"),
        (" · ", "dim"),
        (f"{snapshot.rejected:,} rejected", "red"),
        (" · ", "dim"),
        (f"{snapshot.quarantined:,} quarantined", "yellow"),
    )
    for words in _speed_words(speed):
        counts.append(" · ", "dim").append(words)
    return Group(head, counts)


def _speed_words(speed: Pace) -> list[str]:
    words = []
    if speed.requests is not None:
        words.append(f"{speed.requests:.1f} requests/s")
    if speed.left:
        words.append(f"about {duration(speed.left)} left")
    return words


def _percent(snapshot: Snapshot) -> int:
    return 100 * snapshot.done // snapshot.triplets if snapshot.triplets else 100
