"""SIGTERM and Ctrl-C: what is in flight is kept, finished shards are published, the second leaves at once."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from annotate import job
from annotate.errors import RunIncomplete
from annotate.preparing import prepare
from annotate.settings import resolve
from annotate.shards.run import ShardResult
from annotate.stopping import SAME_SIGNAL_SECONDS, Drain
from annotate.teacher.client import Stats
from annotate.teacher.opening import OpenServer
from annotate.teacher.request import Ask, Reply, Request
from annotate.telling import Watch
from bench.driving import (
    REPEATED_BY_CANARY,
    fault_server,
    finish,
    kill_group,
    published,
    run_command,
    start,
    stats,
    write_world,
)
from tests.faults.fakes import question


def command(world: Path, out: Path, url: str, **more: object) -> list[str]:
    asked = {"teacher_url": f"{url}/ok/v1", "teacher_model": "test", "shard_size": 8, "concurrency": 8}
    return run_command(world, out, **(asked | more))


def wait_for(process: subprocess.Popen[bytes], happened: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_keeps_what_is_in_flight_and_publishes_finished_shards(
    tmp_path: Path, number: signal.Signals
) -> None:
    world, out, log = write_world(tmp_path / "world", 120), tmp_path / "out", tmp_path / "log"
    with fault_server("--delay", "0.1") as url:
        finish(command(world, tmp_path / "whole", url), log)
        before = stats(url)["answered_twice"]
    with fault_server("--delay", "0.1") as url:
        run = start(command(world, out, url), log)
        try:
            wait_for(run, lambda: len(list((out / "journal" / "shards").glob("*.parquet"))) >= 3)
            run.send_signal(number)
            assert run.wait(13) == 1
        finally:
            kill_group(run)
        said = log.read_text()
        assert f"stopped by {number.name}" in said and "published as incomplete" in said
        assert "Traceback" not in said
        manifest = json.loads((out / "manifest.json").read_text())
        assert manifest["status"] == "incomplete"
        assert 24 <= sum(manifest["counts"][name] for name in ("accepted", "rejected", "quarantined")) < 120
        finish(command(world, out, url), log)
        assert stats(url)["answered_twice"] - before <= REPEATED_BY_CANARY
    assert published(out) == published(tmp_path / "whole")


@pytest.mark.slow
def test_a_run_through_prefect_drains_too(tmp_path: Path) -> None:
    world, out, log = write_world(tmp_path / "world", 120), tmp_path / "out", tmp_path / "log"
    with fault_server("--delay", "0.1") as url:
        run = start(command(world, out, url, runner="prefect"), log)
        try:
            wait_for(run, lambda: len(list((out / "journal" / "shards").glob("*.parquet"))) >= 3, 300)
            run.send_signal(signal.SIGTERM)
            assert run.wait(60) == 1
        finally:
            kill_group(run)
        assert "published as incomplete" in log.read_text()
        assert "Traceback" not in log.read_text()
        before = stats(url)["answered_twice"]
        finish(command(world, out, url), log)
        assert stats(url)["answered_twice"] - before <= REPEATED_BY_CANARY


@pytest.mark.slow
def test_a_signal_that_comes_twice_at_once_is_one(tmp_path: Path) -> None:
    """As from `make`, which hands on what a scheduler has sent to all processes of the job."""
    world, out, log = write_world(tmp_path / "world", 120), tmp_path / "out", tmp_path / "log"
    with fault_server("--delay", "0.1") as url:
        run = start(command(world, out, url), log)
        try:
            wait_for(run, lambda: len(list((out / "journal" / "shards").glob("*.parquet"))) >= 3)
            for _ in range(3):
                run.send_signal(signal.SIGTERM)
                time.sleep(0.05)
            assert run.wait(13) == 1
        finally:
            kill_group(run)
    assert "published as incomplete" in log.read_text() and "left at once" not in log.read_text()


def test_the_second_signal_leaves_at_once(tmp_path: Path) -> None:
    world, out, log = write_world(tmp_path / "world", 20), tmp_path / "out", tmp_path / "log"
    with fault_server() as url:
        run = start(command(world, out, url), log)
        try:
            wait_for(run, lambda: b"canary:" in log.read_bytes())
            hang(url)
            wait_for(run, lambda: stats(url)["in_flight"] > 0)
            run.send_signal(signal.SIGINT)
            wait_for(run, lambda: b"SIGINT: finishing" in log.read_bytes())
            time.sleep(SAME_SIGNAL_SECONDS)
            began = time.monotonic()
            run.send_signal(signal.SIGINT)
            assert run.wait(5) == 1
            assert time.monotonic() - began < 2
        finally:
            kill_group(run)
    assert "left at once" in log.read_text() and "Traceback" not in log.read_text()


def test_ctrl_c_before_anything_is_asked_interrupts(tmp_path: Path) -> None:
    world, log = write_world(tmp_path / "world", 20), tmp_path / "log"
    with fault_server() as url:
        hang(url)
        run = start(command(world, tmp_path / "out", url), log)
        try:
            wait_for(run, lambda: stats(url)["in_flight"] > 0)
            run.send_signal(signal.SIGINT)
            assert run.wait(10) == 1
        finally:
            kill_group(run)
    assert "interrupted" in log.read_text() and "Traceback" not in log.read_text()


def hang(url: str) -> None:
    body = json.dumps({"delay": 3600}).encode()
    urllib.request.urlopen(
        urllib.request.Request(f"{url}/control/set", body, {"Content-Type": "application/json"})
    ).close()


def drained(seconds: float, answer_after: float) -> tuple[list[str], list[str], str]:
    """(questions answered, what was said, error) of a run that is stopped while one question is in flight."""
    answered: list[str] = []
    said: list[str] = []

    async def ask(request: Request) -> Reply:
        await asyncio.sleep(answer_after)
        answered.append(request.stage)
        return Reply("{}", "stop")

    async def main() -> str:
        drain = Drain(said.append, seconds)
        gated = drain.gate(ask, lambda: None)

        async def work() -> None:
            await gated(question(stage="first"))
            await gated(question(stage="second"))

        asyncio.get_running_loop().call_later(0.05, drain.begin, "SIGTERM")
        with pytest.raises(RunIncomplete) as stopped:
            await drain.until_done(work())
        return str(stopped.value)

    return answered, said, asyncio.run(main())


def test_an_answer_in_flight_is_waited_for_and_nothing_new_is_sent() -> None:
    answered, said, error = drained(seconds=5, answer_after=0.2)
    assert answered == ["first"]
    assert "finishing the requests in flight" in said[0]
    assert "stopped by SIGTERM" in error


def test_an_answer_that_does_not_come_is_not_waited_for_longer_than_agreed() -> None:
    answered, said, _ = drained(seconds=0.2, answer_after=60)
    assert answered == []
    assert "did not end in time" in said[-1]


def test_what_is_done_before_the_signal_is_the_result() -> None:
    async def main() -> int:
        async def work() -> int:
            return 7

        return await Drain(lambda line: None).until_done(work())

    assert asyncio.run(main()) == 7


def test_teacher_and_encoder_both_stop_sending() -> None:
    stopped: list[str] = []

    async def ask(request: Request) -> Reply:
        return Reply("{}", "stop")

    async def main() -> None:
        drain = Drain(lambda line: None, 1)
        gated = [drain.gate(ask, partial(stopped.append, name)) for name in ("teacher", "encoder")]
        drain.begin("SIGTERM")
        late = [asyncio.ensure_future(each(question())) for each in gated]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in late), "nobody gets through, and nobody is told before the end"
        for task in late:
            task.cancel()

    asyncio.run(main())
    assert stopped == ["teacher", "encoder"]


def test_a_run_asks_its_encoder_behind_the_drain_as_its_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gated: list[str] = []

    class Noted(Drain):
        """Keeps whom it may stop."""

        def gate(self, ask: Ask, stop_sending: Callable[[], None]) -> Ask:
            stop_sending()
            return super().gate(ask, stop_sending)

    def opened(name: str) -> Callable[..., AbstractAsyncContextManager[OpenServer]]:
        @asynccontextmanager
        async def open_it(*_: object) -> AsyncIterator[OpenServer]:
            yield OpenServer(job._never_asked, Stats(), lambda: gated.append(name))

        return open_it

    async def no_shards(*_: object) -> list[ShardResult]:
        return []

    monkeypatch.setattr(job, "Drain", Noted)
    monkeypatch.setattr(job, "encoder_model", lambda *_: "clip")
    monkeypatch.setattr(job, "open_encoder", opened("encoder"))
    monkeypatch.setattr(job, "open_teacher", opened("teacher"))
    server = "http://127.0.0.1:9/v1"
    flags = {"root": str(write_world(tmp_path / "world", 8)), "out": str(tmp_path / "out")}
    flags |= {"teacher_url": server, "teacher_model": "test", "encoder_url": server}
    prepared = prepare(resolve(flags, {}, tmp_path))
    with pytest.raises(RunIncomplete):
        asyncio.run(job.annotate(prepared, None, no_shards, Watch(lambda line: None, lambda snapshot: None)))
    assert gated == ["teacher", "encoder"]
