"""Several servers: who gets what, who is left out, and how many requests each gets at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest
import tenacity

from annotate.teacher.client import TeacherClient
from annotate.teacher.hedge import Durations, hedged
from annotate.teacher.pace import Load, limit_for, parse_metrics
from annotate.teacher.pool import Patience, Pool, Server
from tests.faults.fakes import FakeImages, question
from tests.faults.server import State, serving

METRICS = """
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 32.0
vllm:num_requests_waiting{engine="0",model_name="m"} 96.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.5
vllm:num_preemptions_total{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 8.0
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.9
"""


async def no_sleep(_: float) -> None:
    await asyncio.sleep(0)


def client_of(urls: list[str], concurrency: int = 8, **settings: Any) -> TeacherClient:
    return TeacherClient(
        urls, "test", None, FakeImages(), concurrency, wait=tenacity.wait_none(), sleep=no_sleep, **settings
    )


async def always(_: Server) -> bool:
    return True


def pool_of(count: int, concurrency: int = 64) -> Pool:
    return Pool(
        [f"http://host{i}/v1" for i in range(count)], concurrency, Patience(), always, lambda line: None
    )


def test_a_reference_stays_with_its_server_and_references_are_spread() -> None:
    async def run() -> None:
        pool = pool_of(4)
        places: dict[str, set[str]] = {}
        for _ in range(3):
            for i in range(200):
                server = await pool.acquire(f"reference {i}")
                places.setdefault(f"reference {i}", set()).add(server.url)
                pool.release(server)
        assert all(len(urls) == 1 for urls in places.values())
        spread = Counter(next(iter(urls)) for urls in places.values())
        assert len(spread) == 4
        assert min(spread.values()) > 25

    asyncio.run(run())


def test_a_busy_preferred_server_gives_way_to_the_least_loaded() -> None:
    async def run() -> None:
        pool = pool_of(3)
        taken = Counter([(await pool.acquire("one reference")).url for _ in range(30)])
        assert max(taken.values()) - min(taken.values()) <= 5

    asyncio.run(run())


def test_a_lost_server_moves_only_its_own_references() -> None:
    async def run() -> None:
        pool = pool_of(4)

        async def places() -> dict[str, str]:
            found = {}
            for i in range(100):
                server = await pool.acquire(f"{i}")
                pool.release(server)
                found[f"{i}"] = server.url
            return found

        before = await places()
        pool.servers[0].up = False
        after = await places()
        for name, url in before.items():
            assert after[name] == url or url == pool.servers[0].url

    asyncio.run(run())


def test_a_server_that_dies_is_left_out_and_its_work_goes_to_the_others() -> None:
    async def run() -> None:
        lines: list[str] = []
        patience = Patience(probe_longest=0.05, connect=20)
        async with AsyncExitStack() as stack:
            good = State()
            url = await stack.enter_async_context(serving(good))
            async with serving() as dead:
                port = int(dead.rsplit(":", 1)[1])
            urls = [f"{url}/ok/v1", f"{dead}/ok/v1"]
            async with client_of(urls, patience=patience, say=lines.append) as client:
                await asyncio.gather(*(client.ask(question(f"q{i}", image=str(i))) for i in range(60)))
                assert good.answered.total() == 60
                assert len(lines) == 1
                assert "1 other server(s) go on" in lines[0]
                revived = State()
                async with serving(revived, port=port):
                    while len(lines) < 2:
                        await asyncio.sleep(0.02)
                    more = (client.ask(question(f"more{i}", image=str(i))) for i in range(60))
                    await asyncio.gather(*more)
                    assert revived.answered.total() > 10

    asyncio.run(run())


@pytest.mark.parametrize("fault", ["http502", "http500", "html"])
def test_a_server_that_fails_at_once_does_not_draw_the_work_of_the_others(fault: str) -> None:
    """A gateway without a server answers in no time, so that it is always the least loaded."""

    async def run() -> None:
        async with AsyncExitStack() as stack:
            good, bad = State(delay=0.02), State()
            urls = [f"{await stack.enter_async_context(serving(good))}/ok/v1"]
            urls.append(f"{await stack.enter_async_context(serving(bad))}/{fault}/v1")
            async with client_of(urls, concurrency=16) as client:
                asks = (client.ask(question(f"q{i}", image=str(i))) for i in range(300))
                await asyncio.gather(*asks)
                assert good.answered.total() == 300
                assert max(bad.tries.values()) == 1, "it is asked again elsewhere"
                assert bad.tries.total() < 150, "and most are never sent there"

    asyncio.run(run())


def test_doubt_of_a_server_is_bounded_however_long_it_fails() -> None:
    server = Server("http://host/v1", 64)
    for _ in range(5_000):
        server.failed(now=100.0, many=5)
    assert server.doubted_until == 132.0
    server.speed_up()
    assert server.failures == 0


def test_refusals_lower_a_servers_limit_and_answers_raise_it_again() -> None:
    server = Server("http://host/v1", 64)
    server.slow_down(now=100.0)
    server.slow_down(now=100.5)  # the same full queue
    assert server.limit == pytest.approx(64 * 0.66)
    for second in range(101, 130):
        server.slow_down(now=float(second))
    assert server.limit == 1.0
    assert server.has_room
    for _ in range(10_000):
        server.speed_up()
    assert server.limit == 64.0


def test_a_full_queue_gets_fewer_requests_at_a_time() -> None:
    async def run() -> None:
        state = State(capacity=6, slow=0.02)
        async with serving(state) as url:
            client = TeacherClient(
                f"{url}/capacity/v1", "test", None, FakeImages(), 32, wait=tenacity.wait_fixed(0.02)
            )
            async with client:
                await asyncio.gather(*(client.ask(question(f"q{i}")) for i in range(200)))
                assert client.stats.answered == 200
                assert client.stats.refusals > 0
                assert client._pool is not None
                assert client._pool.servers[0].limit < 32

    asyncio.run(run())


def test_the_memory_of_images_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annotate.teacher.pool.IMAGES_REMEMBERED", 10)
    server = Server("http://host/v1", 4)
    for i in range(100):
        server.remember(str(i % 30))
    assert list(server.images) == [str(i % 30) for i in range(90, 100)]


def test_metrics_of_several_engines_are_added_up_and_others_are_no_metrics() -> None:
    assert parse_metrics(METRICS) == Load(running=40.0, waiting=96.0, kv_use=0.9, preemptions=3.0)
    assert parse_metrics("<html>no</html>") is None
    assert parse_metrics("process_cpu_seconds_total 1.0\n") is None


@pytest.mark.parametrize(
    ("load", "before", "limit"),
    [
        (Load(32, 0, 0.5, 0), None, 64.0),  # all is well
        (Load(32, 16, 0.5, 0), None, 64.0),  # a short queue keeps the engine busy
        (Load(32, 96, 0.5, 0), None, 64 * 48 / 128),  # three quarters wait: our share of a short queue
        (Load(2, 62, 0.5, 0), None, 64 * 6 / 64),
        (Load(0, 1000, 0.5, 0), None, 1.0),
        (Load(64, 0, 0.99, 7), Load(64, 0, 0.9, 5), 64 * 0.8),  # requests were thrown out
        (Load(64, 2, 0.99, 5), Load(64, 0, 0.9, 5), 64 * 0.8),  # the cache is full
        (Load(64, 0, 0.99, 5), Load(64, 0, 0.9, 5), 64.0),
    ],
)
def test_the_limit_follows_what_the_engine_reports(load: Load, before: Load | None, limit: float) -> None:
    assert limit_for(load, before, in_flight=64, limit=64.0) == pytest.approx(max(1.0, limit))


def test_a_long_queue_in_the_metrics_lowers_the_limit_during_a_run() -> None:
    async def run() -> None:
        state = State(slow=3.0, metrics=METRICS)
        async with serving(state) as url:
            patience = Patience(look_every=0.05)
            async with client_of([f"{url}/slow/v1"], concurrency=32, patience=patience) as client:
                asks = asyncio.gather(*(client.ask(question(f"q{i}")) for i in range(32)))
                assert client._pool is not None
                while client._pool.servers[0].limit >= 32:
                    assert not asks.done()
                    await asyncio.sleep(0.05)
                await asks

    asyncio.run(run())


def test_a_hanging_answer_near_the_end_is_asked_once_more() -> None:
    async def run() -> None:
        state = State()
        async with AsyncExitStack() as stack:
            url = await stack.enter_async_context(serving(state))
            async with client_of([f"{url}/ok/v1"], patience=Patience(hedge_after=0.2)) as client:
                await asyncio.gather(*(client.ask(question(f"q{i}")) for i in range(30)))
                assert client.stats.hedges == 0
                assert client._pool is not None
                client._pool.servers[0].url = f"{url}/hang~1/v1"
                assert await asyncio.wait_for(client.ask(question("the last one")), 60)
                assert client.stats.hedges == 1
                assert state.tries.total() == 32
                assert client._pool.in_flight == 0

    asyncio.run(run())


def test_hedged_gives_the_first_good_result_and_cancels_the_other() -> None:
    async def run() -> None:
        cancelled: list[int] = []
        started = 0

        async def attempt() -> int:
            nonlocal started
            started += 1
            mine = started
            try:
                await asyncio.sleep(60 if mine == 1 else 0.01)
            except asyncio.CancelledError:
                cancelled.append(mine)
                raise
            return mine

        assert await hedged(attempt, attempt, lambda: True, every=0.05) == 2
        assert cancelled == [1]

    asyncio.run(run())


def test_hedged_fails_only_when_both_have_and_then_as_the_first() -> None:
    async def run() -> None:
        started = 0

        async def attempt() -> int:
            nonlocal started
            started += 1
            mine = started
            await asyncio.sleep(0.3 if mine == 1 else 0.01)
            raise ValueError(mine)

        with pytest.raises(ValueError, match="1"):
            await hedged(attempt, attempt, lambda: True, every=0.02)
        assert started == 2

    asyncio.run(run())


def test_cancelling_hedged_cancels_its_attempts() -> None:
    async def run() -> None:
        cancelled = asyncio.Event()

        async def attempt() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.set()
                raise

        task = asyncio.ensure_future(hedged(attempt, attempt, lambda: False))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cancelled.is_set()

    asyncio.run(run())


def test_nothing_is_late_before_enough_answers_have_been_seen() -> None:
    durations = Durations()
    for _ in range(19):
        durations.add(0.1)
    assert durations.too_long(least=1.0) == float("inf")
    durations.add(10.0)
    assert durations.too_long(least=1.0) == pytest.approx(30.0)
    assert durations.too_long(least=60.0) == 60.0
