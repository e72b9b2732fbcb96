"""A hanging answer must not hold a run at 99 %: near the end, a late request is asked once more."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

ENOUGH = 20
"""Answers to have seen before anything is called slow."""


class Durations:
    """Seconds that the last answers took."""

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=200)

    def add(self, seconds: float) -> None:
        """One more answer."""
        self._last.append(seconds)

    def too_long(self, least: float) -> float:
        """Seconds after which an answer is late: three times the 95th percentile, at least `least`."""
        if len(self._last) < ENOUGH:
            return float("inf")
        return max(least, 3 * sorted(self._last)[int(0.95 * len(self._last))])


async def hedged(
    first: Callable[[], Coroutine[Any, Any, T]],
    second: Callable[[], Coroutine[Any, Any, T]],
    late: Callable[[], bool],
    every: float = 1.0,
) -> T:
    """The result of `first()`, or of `second()`, which is begun once `late()` says so.

    The first good result wins and the other attempt is cancelled; an error counts only when no attempt is
    left, and then it is the first attempt's. `late` is asked every `every` seconds.
    """
    attempts = [asyncio.ensure_future(first())]
    try:
        while running := [attempt for attempt in attempts if not attempt.done()]:
            again = every if len(attempts) == 1 else None
            done, _ = await asyncio.wait(running, timeout=again, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                if not attempt.cancelled() and attempt.exception() is None:
                    return attempt.result()
            if not done and len(attempts) == 1 and late():
                attempts.append(asyncio.ensure_future(second()))
        return await attempts[0]
    finally:
        for attempt in attempts:
            attempt.cancel()
        await asyncio.gather(*attempts, return_exceptions=True)
