"""The client against real sockets: how it lives through outages, and what it never does meanwhile."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
import tenacity

from annotate.errors import RunIncomplete
from annotate.journal import Journal, answered_ask
from annotate.teacher.client import TeacherClient
from annotate.teacher.pool import Patience
from annotate.teacher.request import Reply
from annotate.teacher.retry import Unanswered
from tests.faults.fakes import FakeImages, question
from tests.faults.server import State, serving
from tests.teacher.clients import client_of, no_sleep, set_state


def test_a_model_that_changes_under_way_stops_the_run() -> None:
    async def run() -> None:
        async with serving() as url, client_of(f"{url}/ok/v1") as client:
            await client.ask(question("first"))
            await set_state(f"{url}/ok/v1", model="another/model")
            with pytest.raises(RunIncomplete, match="another/model"):
                await client.ask(question("second"))
            with pytest.raises(RunIncomplete):  # and stays stopped
                await client.ask(question("third"))

    asyncio.run(run())


def test_after_a_fatal_failure_nothing_more_is_sent() -> None:
    async def run() -> None:
        state = State()
        async with serving(state) as url, client_of(f"{url}/http401/v1", concurrency=2) as client:
            asks = [client.ask(question(f"q{i}")) for i in range(50)]
            results = await asyncio.gather(*asks, return_exceptions=True)
            assert all(isinstance(result, RunIncomplete) for result in results)
            assert state.tries.total() <= 2

    asyncio.run(run())


def test_a_server_that_answers_everything_wrongly_stops_the_run_early() -> None:
    async def run() -> None:
        state = State()
        async with serving(state) as url, client_of(f"{url}/html/v1", concurrency=4) as client:
            results = []
            for i in range(100):
                try:
                    results.append(await client.ask(question(f"q{i}")))
                except Unanswered as failure:
                    assert failure.code == "no_answer"
                except RunIncomplete as stop:
                    assert "answers wrongly" in str(stop)
                    assert i == 49
                    break
            else:
                pytest.fail("never stopped")
            assert state.tries.total() == 50 * Patience().tries

    asyncio.run(run())


def test_rows_that_are_to_blame_themselves_do_not_stop_the_run() -> None:
    async def run() -> None:
        async with serving() as url, client_of(f"{url}/context_too_long/v1") as client:
            for i in range(60):
                with pytest.raises(Unanswered) as failure:
                    await client.ask(question(f"q{i}"))
                assert failure.value.code == "context_too_long"

    asyncio.run(run())


def test_a_dead_server_pauses_the_run_which_goes_on_by_itself() -> None:
    async def run() -> None:
        lines: list[str] = []
        patience = Patience(give_up_after=60, probe_longest=0.05)
        async with serving() as url:
            port = int(url.rsplit(":", 1)[1])
        async with client_of(f"{url}/ok/v1", say=lines.append, patience=patience) as client:
            waiting = [asyncio.ensure_future(client.ask(question(f"q{i}"))) for i in range(20)]
            while not lines:
                await asyncio.sleep(0.01)
            assert "not reachable" in lines[0]
            assert "goes on by itself" in lines[0]
            await asyncio.sleep(0.2)
            assert not any(task.done() for task in waiting)
            attempts = client.stats.attempts
            await asyncio.sleep(0.2)
            assert client.stats.attempts == attempts  # paused: nothing is sent
            async with serving(port=port):
                await asyncio.gather(*waiting)
        assert len(lines) == 2
        assert "is back" in lines[1]

    asyncio.run(run())


def test_a_server_that_stays_away_ends_the_run_with_one_line() -> None:
    async def run() -> None:
        async with serving() as url:
            pass
        patience = Patience(give_up_after=0.2, probe_longest=0.05)
        async with client_of(f"{url}/ok/v1", patience=patience) as client:
            asks = [client.ask(question(f"q{i}")) for i in range(20)]
            results = await asyncio.gather(*asks, return_exceptions=True)
        assert {type(result) for result in results} == {RunIncomplete}
        assert "run the same command again" in str(results[0])

    asyncio.run(run())


def test_retry_after_is_waited_for() -> None:
    async def run() -> None:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)
            await asyncio.sleep(0)

        async with serving() as url:
            client = TeacherClient(f"{url}/retry_after~2/v1", "test", None, FakeImages(), sleep=sleep)
            async with client:
                await client.ask(question())
        assert waits == [1.0, 1.0]

    asyncio.run(run())


def test_waits_grow_and_vary() -> None:
    async def run() -> list[float]:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)
            await asyncio.sleep(0)

        async with serving() as url:
            client = TeacherClient(f"{url}/http500/v1", "test", None, FakeImages(), sleep=sleep)
            async with client:
                with pytest.raises(Unanswered):
                    await client.ask(question())
        return waits

    one, two = asyncio.run(run()), asyncio.run(run())
    assert len(one) == Patience().tries - 1
    assert all(wait <= 0.5 * 2**i for i, wait in enumerate(one))
    assert one != two


def test_never_more_than_concurrency_in_flight() -> None:
    async def run() -> None:
        state = State(slow=0.01)
        async with serving(state) as url, client_of(f"{url}/slow/v1", concurrency=5) as client:
            await asyncio.gather(*(client.ask(question(f"q{i}")) for i in range(60)))
            assert state.most_in_flight <= 5

    asyncio.run(run())


def test_a_cancelled_ask_leaves_its_place_to_the_next() -> None:
    async def run() -> None:
        async with serving() as url, client_of(f"{url}/hang/v1", concurrency=1) as client:
            hanging = asyncio.ensure_future(client.ask(question("first")))
            queued = asyncio.ensure_future(client.ask(question("second")))
            await asyncio.sleep(0.2)
            hanging.cancel()
            queued.cancel()
            results = await asyncio.gather(hanging, queued, return_exceptions=True)
            assert all(isinstance(result, asyncio.CancelledError) for result in results)
            client._pool.servers[0].url = f"{url}/ok/v1"  # type: ignore[union-attr]
            assert await asyncio.wait_for(client.ask(question("third")), 20)

    asyncio.run(run())


def test_the_key_is_in_no_message_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> list[str]:
        said: list[str] = []
        async with serving() as url:
            for fault in ("http401", "http500", "reset", "redirect", "html"):
                client = TeacherClient(
                    f"{url}/{fault}/v1",
                    "test",
                    "sk-very-secret",
                    FakeImages(),
                    say=said.append,
                    wait=tenacity.wait_none(),
                    sleep=no_sleep,
                    patience=Patience(give_up_after=0.1, probe_longest=0.05),
                )
                async with client:
                    try:
                        await client.ask(question())
                    except (Unanswered, RunIncomplete) as failure:
                        said.append(f"{failure!r} {failure.__cause__!r} {failure.__context__!r} {client!r}")
        return said

    with caplog.at_level(logging.DEBUG):
        said = asyncio.run(run())
    assert said
    assert "very-secret" not in " ".join(said) + caplog.text


def test_through_the_mixed_server_the_journal_holds_what_a_faultless_run_gives(tmp_path: Path) -> None:
    rates = {
        "http500": 0.05,
        "reset": 0.03,
        "truncated": 0.03,
        "html": 0.03,
        "queue_full": 0.05,
        "uuid_miss": 0.03,
    }
    requests = [question(f"q{i}", image=str(i // 5)) for i in range(300)]

    async def run(path: str, state: State, folder: Path) -> dict[str, Reply | None]:
        with Journal(folder) as journal:
            patience = Patience(hedge_after=3600)
            async with serving(state) as url, client_of(f"{url}/{path}/v1", 16, patience=patience) as client:
                ask = answered_ask(journal, client.ask)
                await asyncio.gather(*(ask(request) for request in requests + requests))
            assert journal.count == len(requests)
            assert state.answered.total() == len(requests), client.stats  # nothing was answered twice
            return {request.digest(): journal.get(request.digest()) for request in requests}

    state = State(seed=3, rates=rates)
    assert asyncio.run(run("mixed", state, tmp_path / "mixed")) == asyncio.run(
        run("ok", State(), tmp_path / "ok")
    )
    assert state.faults.keys() >= rates.keys()
