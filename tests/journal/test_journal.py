"""The journal keeps what it took, takes a thing once, and says why it does not have another."""

from __future__ import annotations

import asyncio
import json
import resource
import sqlite3
import subprocess
import sys
import textwrap
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from annotate import journal_tools
from annotate.errors import OutputError
from annotate.journal import FILE_NAME, Journal, answered_ask
from annotate.locks import hold_lock
from annotate.teacher.request import Reply, Request, Sampling
from annotate.teacher.retry import Unanswered
from tests.faults.fakes import question, verdict

REPLY = Reply('{"claims":["red dress"]}', "stop", (("A", -0.1), ("B", -2.3025850929940455)), 100, 7, 64)


def put_all(journal: Journal, requests: list[Request]) -> None:
    async def run() -> None:
        await asyncio.gather(*(journal.put(request, reply_to(request)) for request in requests))

    asyncio.run(run())


def reply_to(request: Request) -> Reply:
    return replace(REPLY, text=request.turns[-1].text)


def test_a_stored_reply_comes_back_as_it_was_also_after_reopening(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        assert journal.get(question().digest()) is None
        asyncio.run(journal.put(question(), REPLY))
        assert journal.get(question().digest()) == REPLY
    with Journal(tmp_path) as journal:
        assert journal.get(question().digest()) == REPLY
        assert journal.count == 1


def test_odd_text_comes_back_as_it_was(tmp_path: Path) -> None:
    odd = replace(REPLY, text="\x00 \ud800 \u2028 é 猫 \\ \" '); DROP TABLE answers; --")
    with Journal(tmp_path) as journal:
        asyncio.run(journal.put(question(), odd))
        assert journal.get(question().digest()) == odd


def test_the_first_answer_stays(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        asyncio.run(journal.put(question(), REPLY))
        asyncio.run(journal.put(question(), replace(REPLY, text="another")))
        assert journal.get(question().digest()) == REPLY
        assert journal.count == 1


def test_many_at_once_are_all_stored(tmp_path: Path) -> None:
    requests = [question(f"q{i}") for i in range(600)]
    with Journal(tmp_path) as journal:
        put_all(journal, requests)
        assert journal.count == 600
        assert all(journal.get(request.digest()) == reply_to(request) for request in requests)


def test_what_put_has_returned_survives_a_sigkill(tmp_path: Path) -> None:
    program = """
        import asyncio, os, signal, sys
        from pathlib import Path
        from annotate.journal import Journal
        from annotate.teacher.request import Reply
        from tests.faults.fakes import question
        async def main():
            journal = Journal(Path(sys.argv[1]))
            async def one(i):
                await journal.put(question(f"q{i}"), Reply("a", "stop"))
                print(i, flush=True)
                if i == 150:
                    os.kill(os.getpid(), signal.SIGKILL)
            await asyncio.gather(*(one(i) for i in range(300)))
        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == -9, done.stderr
    told = [int(line) for line in done.stdout.split()]
    assert told
    with Journal(tmp_path) as journal:
        assert all(journal.get(question(f"q{i}").digest()) for i in told)
    assert journal_tools.problems_of(tmp_path) == []


def test_a_damaged_answer_is_not_trusted_and_can_be_stored_again(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        put_all(journal, [question("good"), question("bad")])
    _damage(tmp_path, question("bad"))
    problems = journal_tools.problems_of(tmp_path)
    assert len(problems) == 1
    assert question("bad").digest()[:16] in problems[0]
    with Journal(tmp_path) as journal:
        assert journal.get(question("bad").digest()) is None
        assert journal.get(question("good").digest()) == reply_to(question("good"))
        asyncio.run(journal.put(question("bad"), REPLY))
        assert journal.get(question("bad").digest()) == REPLY
    assert journal_tools.problems_of(tmp_path) == []


def _damage(folder: Path, request: Request) -> None:
    with sqlite3.connect(folder / FILE_NAME) as connection:
        connection.execute(
            "UPDATE answers SET reply = replace(reply, 'stop', 'spot') WHERE digest = ?",
            (bytes.fromhex(request.digest()),),
        )
    connection.close()


@pytest.mark.parametrize(
    ("change", "component"),
    [
        ({"prompt_digest": "p2"}, "prompt"),
        ({"schema_json": "{}"}, "schema"),
        ({"model": "another"}, "model"),
        ({"sampling": Sampling(temperature=0.7)}, "sampling"),
        ({"choices": ("A", "B")}, "choices"),
        ({"turns": question("other words").turns}, "conversation"),
        ({"turns": question(image="another").turns}, "images"),
        ({"stage": "conclusion"}, "stage"),
    ],
)
def test_a_miss_is_explained_by_the_component_that_differs(
    tmp_path: Path, change: dict[str, object], component: str
) -> None:
    with Journal(tmp_path) as journal:
        put_all(journal, [question()])
        assert journal.explain(question()) == ()
        assert journal.explain(replace(question(), **change)) == (component,)  # type: ignore[arg-type]


def test_the_nearest_stored_request_explains_and_causes_come_first(tmp_path: Path) -> None:
    near = replace(question("new words", prompt="p2"), sampling=Sampling(seed=1))
    with Journal(tmp_path) as journal:
        put_all(journal, [question("old words"), question("new words", prompt="p2")])
        assert journal.explain(near) == ("sampling",)
        assert journal.explain(question("newer words", prompt="p3")) == ("prompt", "conversation")


def test_a_full_disk_is_one_line_and_loses_nothing_stored(tmp_path: Path) -> None:
    program = """
        import asyncio, resource, signal, sys
        from pathlib import Path
        from annotate.errors import OutputError
        from annotate.journal import Journal
        from annotate.teacher.request import Reply
        from tests.faults.fakes import question
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
        async def main():
            with Journal(Path(sys.argv[1])) as journal:
                for i in range(10_000):
                    try:
                        await journal.put(question(f"q{i}"), Reply("a" * 1000, "stop"))
                    except OutputError as error:
                        print(i, error)
                        return
        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr
    stored, message = done.stdout.strip().split(" ", 1)
    assert int(stored) > 10
    assert "cannot store answers" in message
    assert "\n" not in message
    with Journal(tmp_path) as journal:
        assert journal.count >= int(stored)
        assert all(journal.get(question(f"q{i}").digest()) for i in range(int(stored)))


def test_something_else_in_place_of_the_journal_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database at all" * 100)
    with pytest.raises(OutputError, match="cannot open the journal"):
        Journal(tmp_path)


def test_a_journal_of_another_format_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(OutputError, match="format 99"):
        Journal(tmp_path)


def test_opening_a_journal_does_not_write_to_it(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        put_all(journal, [question()])
    before = (tmp_path / FILE_NAME).read_bytes()
    Journal(tmp_path).close()
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_stats_export_and_compact_agree(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    with Journal(folder) as journal:
        put_all(journal, [question(f"q{i}") for i in range(50)] + [verdict(f"v{i}") for i in range(30)])
    _damage(folder, question("q7"))
    seen = journal_tools.read_stats(folder)
    assert (seen.answers, seen.by_stage) == (80, {"caption": 50, "verify": 30})
    assert seen.by_model == {"test": 80}
    assert "80 answers" in journal_tools.stats(folder)
    with pytest.raises(OutputError, match=r"1 problem\(s\), the first: answer 8 "):
        journal_tools.verify(folder)
    assert journal_tools.export(folder) == f"80 answers written to {folder / 'answers.jsonl'}"
    lines = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    assert [line["reply"]["text"] for line in lines[:2]] == ["q0", "q1"]
    assert lines[0]["digest"] == question("q0").digest()
    assert len(lines) == 80
    assert journal_tools.compact(folder)
    assert journal_tools.verify(folder) == "79 answers, none damaged"


def test_a_journal_in_use_is_not_compacted_but_can_be_looked_at(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "lock"), Journal(tmp_path) as journal:
        put_all(journal, [question()])
        assert journal_tools.read_stats(tmp_path).answers == 1
        assert journal_tools.problems_of(tmp_path) == []
        with pytest.raises(OutputError, match="in use by pid"):
            journal_tools.compact(tmp_path)


def test_tools_refuse_a_folder_without_a_journal(tmp_path: Path) -> None:
    for tool in (journal_tools.stats, journal_tools.verify, journal_tools.compact):
        with pytest.raises(OutputError, match="no journal"):
            tool(tmp_path)


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


async def _plain(ask: object, request: Request) -> Reply:
    reply = await ask(request)  # type: ignore[operator]
    assert isinstance(reply, Reply)
    return reply


def test_memory_does_not_grow_with_what_is_stored(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        put_all(journal, [question(f"warm{i}") for i in range(1000)])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for start in range(0, 3000, 1000):
            put_all(journal, [question(f"q{start + i}") for i in range(1000)])
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 20, f"{grown:.0f} MB"
