"""Ctrl-C and SIGTERM: what is in flight is finished, nothing new is sent; another a second later leaves at
once.

Leaving at once is safe at any instant: answers are durable before anything depends on them, files appear
whole or not at all, and what we started is guarded by its own watchdog (`annotate.processes`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from annotate.errors import RunIncomplete
from annotate.teacher.request import Ask, Reply, Request

DRAIN_SECONDS = 10.0
SAME_SIGNAL_SECONDS = 1.0
"""make hands SIGTERM on to us, who may have had it from whoever signals all processes of a job."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = "\x1b[?25h"

T = TypeVar("T")


class Drain:
    """How a run is ended early and in order; lives in the run's event loop.

    `begin` stops new requests: those who ask from then on wait, those whose request is in flight get
    `seconds`; then `until_done` gives up its work with `RunIncomplete`.
    """

    def __init__(self, say: Callable[[str], None], seconds: float = DRAIN_SECONDS) -> None:
        self._say = say
        self._seconds = seconds
        self._begun = asyncio.Event()
        self._quiet = asyncio.Event()
        self._in_flight = 0
        self._over = False
        self._stop_sending: list[Callable[[], None]] = []
        self.cause = ""

    def begin(self, cause: str) -> None:
        """Send nothing more; `cause` is for the message. Nothing happens once the work is over."""
        if self._over or self._begun.is_set():
            return
        self.cause = cause
        self._begun.set()
        if not self._in_flight:
            self._quiet.set()
        self._say(
            f"{cause}: finishing the requests in flight (at most {self._seconds:g} s), then publishing "
            "the finished shards; once more leaves at once"
        )
        for stop in self._stop_sending:
            stop()

    def gate(self, ask: Ask, stop_sending: Callable[[], None]) -> Ask:
        """`ask` until the drain begins; after it nobody gets through, and nobody is told before the end.

        `stop_sending` makes requests that wait for a place at a server raise `RunIncomplete`.
        """
        self._stop_sending.append(stop_sending)

        async def gated(request: Request) -> Reply:
            if not self._begun.is_set():
                self._in_flight += 1
                try:
                    return await ask(request)
                except RunIncomplete:
                    if not self._begun.is_set():
                        raise
                finally:
                    self._in_flight -= 1
                    if self._begun.is_set() and not self._in_flight:
                        self._quiet.set()
            await asyncio.Event().wait()  # until the shard is cancelled: an error here would cancel siblings
            raise AssertionError("unreachable")

        return gated

    async def until_done(self, work: Awaitable[T]) -> T:
        """The result of `work`; `RunIncomplete` when the drain ended it, and all it began with it."""
        task = asyncio.ensure_future(work)
        drained = asyncio.ensure_future(self._drained())
        try:
            await asyncio.wait({task, drained}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
        finally:
            self._over = True
            for each in (task, drained):
                each.cancel()
            await asyncio.gather(task, drained, return_exceptions=True)
        raise RunIncomplete(f"stopped by {self.cause}; what was answered is kept, the same command goes on")

    async def _drained(self) -> None:
        await self._begun.wait()
        try:
            async with asyncio.timeout(self._seconds):
                await self._quiet.wait()
            await asyncio.sleep(0.2)  # what the last answers complete (a row, a shard) may still be written
        except TimeoutError:
            self._say(f"{self._in_flight} requests did not end in time; they will be asked again")


class Signals:
    """What SIGINT and SIGTERM do during a run: before `drain` is set they interrupt, then they drain."""

    def __init__(self) -> None:
        self.drain: Drain | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._seen: float | None = None

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle both signals while the block lasts, in the main thread; elsewhere they are not ours."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._loop = asyncio.get_running_loop()
        before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Python-level, not the loop's: it must be heard while the loop is busy publishing, too."""
        if self.drain is None or self._loop is None:
            raise KeyboardInterrupt
        now = time.monotonic()
        if self._seen is not None:
            if now - self._seen > SAME_SIGNAL_SECONDS:
                leave_at_once()
            return
        self._seen = now
        self._loop.call_soon_threadsafe(self.drain.begin, signal.Signals(number).name)


def leave_at_once() -> None:
    """End this process now, without cleaning up: see the top of the file for why that is safe."""
    words = "left at once; what was answered is kept, the same command goes on\n"
    os.write(2, ((_SHOW_CURSOR if sys.stderr is not None and sys.stderr.isatty() else "") + words).encode())
    os._exit(RunIncomplete.exit_status)
