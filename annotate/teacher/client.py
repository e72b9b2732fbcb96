"""Asks the teacher over HTTP: images inline once, then by uuid; `retry.classify` judges every failure."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn, Self

import aiohttp
import tenacity

from annotate.errors import RunIncomplete
from annotate.teacher import wire
from annotate.teacher.health import is_alive, metrics_of, read_bounded
from annotate.teacher.hedge import Durations, hedged
from annotate.teacher.pace import keep_pace
from annotate.teacher.pool import DEFAULT_PATIENCE, IMAGES_REMEMBERED, Patience, Pool, Server
from annotate.teacher.request import Picture, Reply, Request
from annotate.teacher.retry import BadReply, Decision, HttpStatus, Unanswered, classify
from annotate.urls import checked_url

KEEP_ALIVE = 4.0
"""Seconds; vLLM closes idle connections after 5, and one closed under our feet would cost a retry."""

_FAILURES = (aiohttp.ClientError, TimeoutError, OSError, HttpStatus, BadReply)


@dataclass(slots=True)
class Stats:
    """Counts since the client was made; `attempts` are HTTP requests sent, `requests` questions asked."""

    requests: int = 0
    answered: int = 0
    unanswered: int = 0
    attempts: int = 0
    retries: int = 0
    refusals: int = 0
    image_resends: int = 0
    hedges: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


class _Again(Exception):
    """Try once more, after the server's own wish in seconds if it had one."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.words)
        self.wait = decision.wait


@dataclass(slots=True)
class _Budget:
    """What one request has used up."""

    failures: int = 0
    refused_since: float | None = None
    failed_at: Server | None = None


@dataclass(slots=True)
class _Course:
    """Where a request is now, and since when; between two tries it is nowhere."""

    server: Server | None = None
    since: float | None = None
    one_token: bool = False


class TeacherClient:
    """`ask` for one model behind one or several URLs. Use as `async with`: the session belongs to the loop.

    The API key is sent as a Bearer header and kept nowhere else. `say` gets one line when the teacher
    goes or comes back. `wait` and `sleep` are tenacity's (tests put zero there). Raises `UsageError` for
    a bad URL.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        model: str,
        api_key: str | None,
        images: wire.Images,
        concurrency: int = 64,
        *,
        patience: Patience = DEFAULT_PATIENCE,
        say: Callable[[str], None] = lambda line: None,
        image_uuids: bool = True,
        wait: tenacity.wait.wait_base | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.urls = [checked_url(one) for one in ([url] if isinstance(url, str) else url)]
        self.model = model
        self.stats = Stats()
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._images = images
        self._concurrency = concurrency
        self._patience = patience
        self._say = say
        self._uuids = image_uuids
        self._backoff = wait or tenacity.wait_random_exponential(multiplier=0.5, max=30.0)
        self._sleep = sleep
        self._digests: OrderedDict[Picture, str] = OrderedDict()
        self._outcomes: deque[bool] = deque(maxlen=patience.window)
        self._last_answer = time.monotonic()
        # a letter says nothing about how long a written answer takes
        self._durations = {one_token: Durations() for one_token in (False, True)}
        self._hedge_look = min(1.0, patience.hedge_after)
        self._pacing: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None
        self._pool: Pool | None = None

    async def __aenter__(self) -> Self:
        patience = self._patience
        session = self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE),
            timeout=aiohttp.ClientTimeout(total=patience.deadline, sock_connect=patience.connect),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._pool = Pool(
            self.urls,
            self._concurrency,
            patience,
            lambda server: is_alive(session, server, patience.connect),
            self._say,
        )
        pacing = keep_pace(
            self._pool.servers,
            lambda server: metrics_of(session, server, patience.connect),
            patience.look_every,
        )
        self._pacing = asyncio.get_running_loop().create_task(pacing)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pacing is not None:
            self._pacing.cancel()
            await asyncio.gather(self._pacing, return_exceptions=True)
        if self._pool is not None:
            await self._pool.close()
        if self._session is not None:
            await self._session.close()

    async def ask(self, request: Request) -> Reply:
        """The teacher's reply, whatever it is worth.

        Raises `Unanswered` when this request will get none, and `RunIncomplete` when the run cannot go
        on: a fatal failure, a teacher that stays away, or one that answers most requests wrongly.
        """
        self.stats.requests += 1
        course, hedge = _Course(), _Course()
        try:
            reply = await hedged(
                lambda: self._tries(request, course, None),
                lambda: self._tries(request, hedge, course.server),
                lambda: self._late(course),
                self._hedge_look,
            )
        except Unanswered as failure:
            self.stats.unanswered += 1
            if failure.code == "no_answer":
                self._judge(False, failure.detail)
            raise
        self._judge(True, "")
        self.stats.answered += 1
        self.stats.prompt_tokens += reply.prompt_tokens
        self.stats.completion_tokens += reply.completion_tokens
        self.stats.cached_tokens += reply.cached_tokens
        return reply

    def stop_sending(self) -> None:
        """Nothing more goes out; requests that wait for a place raise `RunIncomplete`, the others go on."""
        if self._pool is not None:
            self._pool.stop(RunIncomplete("the run is ending; the same command goes on"))

    async def _tries(self, request: Request, course: _Course, avoid: Server | None) -> Reply:
        """Attempts until one is decisive; a hedge is the one that has a server to avoid."""
        self.stats.hedges += avoid is not None
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_Again), wait=self._wait, sleep=self._sleep, reraise=True
        )
        reply: Reply = await retrying(self._once, request, _Budget(), course, avoid)
        return reply

    async def _once(self, request: Request, budget: _Budget, course: _Course, avoid: Server | None) -> Reply:
        """One attempt. Raises `_Again`, `Unanswered` or `RunIncomplete`; anything else is a bug."""
        pool = self._pool
        if pool is None:
            raise RuntimeError("use the client as `async with TeacherClient(…)`")
        pictures = [picture for turn in request.turns for picture in turn.pictures]
        affinity = pictures[0].source_digest if pictures else ""
        server = await pool.acquire(affinity, budget.failed_at or avoid)
        began = time.monotonic()
        course.server, course.since, course.one_token = server, began, bool(request.choices)
        try:
            for inline in (False, True):
                known = () if inline else server.images
                data = wire.body(request, self._digest_of, self._bytes_of, known, self._uuids)
                try:
                    reply = await self._post(server, data, request)
                except _FAILURES as failure:
                    decision = classify(failure)
                    if not decision.unreachable:
                        pool.reached(server)
                    if decision.kind == "resend_images" and not inline:
                        self.stats.image_resends += 1
                        continue
                    self._handle(decision, server, budget)
                pool.reached(server)
                server.speed_up()
                self._durations[bool(request.choices)].add(time.monotonic() - began)
                for picture in pictures if self._uuids else ():
                    server.remember(self._digest_of(picture))
                return reply
        finally:
            course.since = None
            pool.release(server)
        raise AssertionError("unreachable")

    def _handle(self, decision: Decision, server: Server, budget: _Budget) -> NoReturn:
        """Turn a decision into the exception that carries it out, and keep the books."""
        assert self._pool is not None
        if decision.kind == "fatal":
            self._stop(f"teacher {server.url}: {decision.words}; mend that and run the same command again")
        if decision.kind == "back_pressure":
            self.stats.refusals += 1
            now = time.monotonic()
            server.slow_down(now)
            budget.refused_since = budget.refused_since or now
            if now - max(budget.refused_since, self._last_answer) > self._patience.give_up_after:
                self._stop(
                    f"teacher {server.url} refuses everything: {decision.words}; run again when it is free"
                )
            raise _Again(decision)
        if decision.kind == "retry":
            self.stats.retries += 1
            budget.failed_at = server
            server.failed(time.monotonic(), self._patience.down_after)
            if decision.unreachable:
                self._pool.not_reached(server, decision.words)
            budget.failures += decision.counted
            if budget.failures < self._patience.tries:
                raise _Again(decision)
            raise Unanswered(decision.code, f"{decision.words}, {budget.failures} times")
        raise Unanswered(decision.code, decision.words)

    def _stop(self, message: str) -> NoReturn:
        failure = RunIncomplete(message)
        if self._pool is not None:
            self._pool.stop(failure)
        raise failure

    def _judge(self, good: bool, detail: str) -> None:
        """Stop a run whose teacher leaves most requests without a usable answer."""
        self._outcomes.append(good)
        if good:
            self._last_answer = time.monotonic()
            return
        wrong, seen = self._outcomes.count(False), len(self._outcomes)
        if seen >= self._patience.window_least and wrong > self._patience.wrong_share * seen:
            self._stop(
                f"the teacher answers wrongly: {wrong} of the last {seen} requests got no usable answer "
                f"(last: {detail}); look at its log, then run the same command again"
            )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome is not None else None
        if isinstance(failure, _Again) and failure.wait is not None:
            return failure.wait
        return self._backoff(state)

    def _late(self, course: _Course) -> bool:
        """Whether a request is to be asked once more: it takes too long, and there is little else to do."""
        if course.since is None or self._pool is None or not self._pool.idle:
            return False
        usual = self._durations[course.one_token]
        return time.monotonic() - course.since > usual.too_long(self._patience.hedge_after)

    def _digest_of(self, picture: Picture) -> str:
        digest = self._digests.get(picture)
        if digest is None:
            digest = self._digests[picture] = self._images.encoded(picture).digest
            if len(self._digests) > IMAGES_REMEMBERED:
                self._digests.popitem(last=False)
        return digest

    def _bytes_of(self, picture: Picture) -> bytes:
        return self._images.encoded(picture).data

    async def _post(self, server: Server, data: bytes, request: Request) -> Reply:
        if self._session is None:
            raise RuntimeError("use the client as `async with TeacherClient(…)`")
        self.stats.attempts += 1
        url = server.url + (path := wire.path(request))
        async with self._session.post(url, data=data, allow_redirects=False) as response:
            answer = await read_bounded(response)
            if response.status != 200:
                message, param = wire.error_of(answer)
                raise HttpStatus(response.status, message, param, response.headers.get("Retry-After"))
        if path == "/embeddings":
            reply, model = wire.parse_embedding(answer)
        else:
            reply, model = wire.parse_reply(answer, request.choices)
        if server.reported_model and model and model != server.reported_model:
            raise BadReply("other_model", f"now answers as {model!r}, before {server.reported_model!r}")
        server.reported_model = server.reported_model or model
        return reply
