"""One question in flight is one request, however many wait for it."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from pathlib import Path

import pytest

from annotate.errors import OutputError
from annotate.journal import Journal, answered_ask
from annotate.teacher.request import Ask, Reply, Request
from annotate.teacher.retry import Unanswered
from tests.faults.fakes import question
from tests.journal.replies import reply_to


class Teacher:
    """Counts what it is asked; answers when told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.go = asyncio.Event()
        self.failure: Exception | None = None

    async def ask(self, request: Request) -> Reply:
        self.asked += 1
        await self.go.wait()
        if self.failure is not None:
            raise self.failure
        return reply_to(request)


def test_an_answer_is_asked_for_once_and_then_given_from_the_journal(tmp_path: Path) -> None:
    async def run() -> None:
        teacher = Teacher()
        teacher.go.set()
        with Journal(tmp_path) as journal:
            ask = answered_ask(journal, teacher.ask)
            assert await ask(question()) == await ask(question()) == reply_to(question())
            assert teacher.asked == 1
        with Journal(tmp_path) as journal:
            assert await answered_ask(journal, teacher.ask)(question()) == reply_to(question())
            assert teacher.asked == 1

    asyncio.run(run())


def test_identical_requests_in_flight_share_one_answer(tmp_path: Path) -> None:
    async def run() -> None:
        teacher = Teacher()
        with Journal(tmp_path) as journal:
            one, two = answered_ask(journal, teacher.ask), answered_ask(journal, teacher.ask)
            waiting = [asyncio.ensure_future(ask(question())) for ask in (one, two, one)]
            await asyncio.sleep(0.05)
            teacher.go.set()
            assert await asyncio.gather(*waiting) == [reply_to(question())] * 3
            assert teacher.asked == 1
            assert journal.in_flight == {}

    asyncio.run(run())


def test_an_error_reaches_all_who_wait_and_is_not_stored(tmp_path: Path) -> None:
    async def run() -> None:
        teacher = Teacher()
        teacher.failure = Unanswered("no_answer", "gone")
        with Journal(tmp_path) as journal:
            ask = answered_ask(journal, teacher.ask)
            waiting = [asyncio.ensure_future(ask(question())) for _ in range(3)]
            await asyncio.sleep(0.05)
            teacher.go.set()
            results = await asyncio.gather(*waiting, return_exceptions=True)
            assert [type(result) for result in results] == [Unanswered] * 3
            assert (teacher.asked, journal.count) == (1, 0)
            teacher.failure = None
            assert await ask(question()) == reply_to(question())

    asyncio.run(run())


@pytest.mark.parametrize("cancelled", [0, 1])
def test_cancelling_one_waiter_leaves_the_others_their_answer(tmp_path: Path, cancelled: int) -> None:
    async def run() -> None:
        teacher = Teacher()
        with Journal(tmp_path) as journal:
            ask = answered_ask(journal, teacher.ask)
            waiting = [asyncio.ensure_future(ask(question())) for _ in range(3)]
            await asyncio.sleep(0.05)
            waiting[cancelled].cancel()
            await asyncio.sleep(0.05)
            teacher.go.set()
            results = await asyncio.gather(*waiting, return_exceptions=True)
            assert isinstance(results.pop(cancelled), asyncio.CancelledError)
            assert results == [reply_to(question())] * 2
            assert teacher.asked == (
                2 if cancelled == 0 else 1
            )  # the first one asks; gone, the next one does

    asyncio.run(run())


def test_event_loops_in_different_threads_share_one_answer(tmp_path: Path) -> None:
    asked: list[str] = []
    started = threading.Barrier(4)

    async def slow(request: Request) -> Reply:
        asked.append(request.stage)
        await asyncio.sleep(0.3)
        return reply_to(request)

    with Journal(tmp_path) as journal:
        got: list[Reply] = []

        def shard() -> None:
            started.wait()
            got.append(asyncio.run(_plain(answered_ask(journal, slow), question())))

        threads = [threading.Thread(target=shard) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert asked == ["caption"]
    assert got == [reply_to(question())] * 4


async def _plain(ask: Ask, request: Request) -> Reply:
    return await ask(request)


def test_a_failure_that_comes_after_all_have_left_is_not_printed_by_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(rows: object) -> OutputError:
        time.sleep(0.2)
        return OutputError("disk full")

    async def run() -> list[dict[str, object]]:
        printed: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: printed.append(context))
        with Journal(tmp_path) as journal:
            monkeypatch.setattr(journal, "_commit", failing)
            storing = asyncio.create_task(journal.put(question(), reply_to(question())))
            await asyncio.sleep(0.05)
            storing.cancel()
            await asyncio.sleep(0.4)
        del storing
        gc.collect()
        await asyncio.sleep(0)
        return printed

    assert asyncio.run(run()) == []
