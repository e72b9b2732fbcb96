"""Which server gets the next request, and how many it gets at a time.

Least loaded, but the same reference goes to the same server while that one has room: its caches know the
image. A server that cannot be reached is taken out, probed, taken back; while none is left, everything
waits here.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from annotate.errors import RunIncomplete

IMAGES_REMEMBERED = 50_000
LONGEST_DOUBT = 5
"""Doublings of a second."""
SLACK = 4
"""How many more requests than the least loaded server the preferred one may have."""


@dataclass(frozen=True, slots=True)
class Patience:
    """When to stop trying, and when to look. Times in seconds; `tries` is a request's budget of failed
    attempts.

    `deadline` bounds one attempt; `hedge_after` is the least time after which a late request near the end is
    asked once more; `look_every` is the time between two looks at /metrics.
    """

    tries: int = 6
    deadline: float = 300.0
    connect: float = 10.0
    down_after: int = 5
    give_up_after: float = 1800.0
    probe_longest: float = 10.0
    window: int = 200
    window_least: int = 50
    wrong_share: float = 0.5
    hedge_after: float = 15.0
    look_every: float = 5.0


DEFAULT_PATIENCE = Patience()


@dataclass(slots=True)
class Server:
    """One URL and what this client knows about the process behind it."""

    url: str
    most: int
    limit: float = 0.0
    in_flight: int = 0
    up: bool = True
    unreachable: int = 0
    failures: int = 0
    doubted_until: float = 0.0
    reported_model: str = ""
    slowed_at: float = 0.0
    images: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self.limit = float(self.most)

    @property
    def has_room(self) -> bool:
        """Whether one more request may go there now."""
        return self.up and self.in_flight < int(self.limit)

    def remember(self, digest: str) -> None:
        """The server has seen these image bytes; the oldest are forgotten so that memory stays flat."""
        self.images[digest] = None
        self.images.move_to_end(digest)
        if len(self.images) > IMAGES_REMEMBERED:
            self.images.popitem(last=False)

    def slow_down(self, now: float) -> None:
        """A refusal: a third fewer at a time, at most once a second: one full queue refuses many at once."""
        if now - self.slowed_at >= 1.0:
            self.slowed_at = now
            self.limit = max(1.0, self.limit * 0.66)

    def failed(self, now: float, many: int) -> None:
        """No usable answer; from `many` in a row on others are preferred for a while, each time longer: one
        that fails at once is always the least loaded."""
        self.failures += 1
        if self.failures >= many:
            self.doubted_until = now + 2.0 ** min(self.failures - many, LONGEST_DOUBT)

    def speed_up(self) -> None:
        """An answer: a little more, so that about `limit` answers allow one request more at a time."""
        self.failures = 0
        self.limit = min(float(self.most), self.limit + 1.0 / self.limit)


Probe = Callable[[Server], Awaitable[bool]]


class Pool:
    """Hands out servers; lives in one event loop. `say` gets one line when a server goes or comes back."""

    def __init__(
        self,
        urls: Sequence[str],
        concurrency: int,
        patience: Patience,
        probe: Probe,
        say: Callable[[str], None],
    ) -> None:
        self.servers = [Server(url, concurrency) for url in urls]
        self.concurrency = concurrency
        self._patience = patience
        self._probe = probe
        self._say = say
        self._waiting: deque[tuple[str, Server | None, asyncio.Future[Server]]] = deque()
        self._probing: set[asyncio.Task[None]] = set()
        self._failure: RunIncomplete | None = None
        self._none_since: float | None = None

    @property
    def in_flight(self) -> int:
        """Requests that hold a server now."""
        return sum(server.in_flight for server in self.servers)

    @property
    def idle(self) -> bool:
        """Whether nothing waits for a server and at most half of the places are taken: a shard's end."""
        return not self._waiting and self.in_flight * 2 <= self.concurrency

    async def acquire(self, affinity: str, avoid: Server | None = None) -> Server:
        """A server with room, preferably the one that `affinity` (a reference's digest) belongs to.

        Raises `RunIncomplete` when the run has been stopped (`stop`).
        """
        if self._failure is not None:
            raise RunIncomplete(str(self._failure))
        if not self._waiting and (server := self._pick(affinity, avoid)) is not None:
            server.in_flight += 1
            return server
        future: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
        self._waiting.append((affinity, avoid, future))
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.release(future.result())
            raise

    def release(self, server: Server) -> None:
        """The request there has ended, in whatever way."""
        server.in_flight -= 1
        self._hand_out()

    def reached(self, server: Server) -> None:
        """Something came back over HTTP, good or bad."""
        server.unreachable = 0

    def not_reached(self, server: Server, words: str) -> None:
        """A connection failed; after some in a row the server is down, and probed until it is back."""
        server.unreachable += 1
        if not server.up or server.unreachable < self._patience.down_after:
            return
        server.up = False
        others = sum(other.up for other in self.servers)
        if not others:
            self._none_since = time.monotonic()
        rest = f"{others} other server(s) go on" if others else "the run pauses and goes on by itself"
        minutes = self._patience.give_up_after / 60
        self._say(f"teacher {server.url} is not reachable: {words}; {rest} (gives up after {minutes:g} min)")
        task = asyncio.get_running_loop().create_task(self._until_back(server))
        self._probing.add(task)
        task.add_done_callback(self._probing.discard)

    def stop(self, failure: RunIncomplete) -> None:
        """End the run: all who wait and all who come get `failure`."""
        self._failure = self._failure or failure
        while self._waiting:
            *_, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(RunIncomplete(str(self._failure)))

    async def close(self) -> None:
        """Stop probing."""
        for task in list(self._probing):
            task.cancel()
        await asyncio.gather(*self._probing, return_exceptions=True)

    async def _until_back(self, server: Server) -> None:
        start, pause = time.monotonic(), min(0.5, self._patience.probe_longest)
        while not await self._probe(server):
            away = time.monotonic() - (self._none_since or time.monotonic())
            if away > self._patience.give_up_after:
                self.stop(
                    RunIncomplete(
                        f"teacher {server.url} has not been reachable for {away / 60:.0f} min; "
                        "start it and run the same command again"
                    )
                )
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, self._patience.probe_longest)
        server.images.clear()
        server.up, server.unreachable, self._none_since = True, 0, None
        server.doubted_until = 0.0  # until its next failure: a gateway may be well and its server not
        self._say(f"teacher {server.url} is back after {time.monotonic() - start:.0f} s; the run goes on")
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting:
            affinity, avoid, future = self._waiting[0]
            if future.done():
                self._waiting.popleft()
                continue
            server = self._pick(affinity, avoid)
            if server is None:
                return
            self._waiting.popleft()
            server.in_flight += 1
            future.set_result(server)

    def _pick(self, affinity: str, avoid: Server | None) -> Server | None:
        if self.in_flight >= self.concurrency:
            return None
        room = [server for server in self.servers if server.has_room]
        if not room:
            return None
        now = time.monotonic()
        able = [server for server in room if server is not avoid and server.doubted_until <= now] or room
        least = min(able, key=lambda server: server.in_flight)
        if len(able) == 1 or not affinity:
            return least
        # Rendezvous hashing: a server that goes or comes moves only its own references.
        up = [server for server in self.servers if server.up and server is not avoid]
        preferred = max(up, key=lambda server: hashlib.sha256(f"{affinity} {server.url}".encode()).digest())
        return preferred if preferred in able and preferred.in_flight <= least.in_flight + SLACK else least
