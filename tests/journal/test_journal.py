"""The journal keeps what it took, takes a thing once, and says why it does not have another."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annotate import journal_tools
from annotate.errors import OutputError
from annotate.journal import FILE_NAME, Journal
from annotate.locks import hold_lock
from annotate.teacher.request import Request, Sampling
from tests.faults.fakes import question, verdict
from tests.journal.replies import REPLY, reply_to


def put_all(journal: Journal, requests: list[Request]) -> None:
    async def run() -> None:
        await asyncio.gather(*(journal.put(request, reply_to(request)) for request in requests))

    asyncio.run(run())


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


def test_stages_are_looked_up_once_however_many_misses_are_explained(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        put_all(journal, [question()])
    with Journal(tmp_path) as journal:
        queries: list[str] = []
        journal._reader.set_trace_callback(queries.append)
        for number in range(5):
            assert journal.explain(question(image=f"new {number}")) == ("images",)
        assert journal.explain(question(image="new", stage="conclusion")) == ("stage",)
        put_all(journal, [question(stage="conclusion")])
        assert journal.explain(question(image="new", stage="conclusion")) == ("images",)
        assert sum("images = " not in query for query in queries) == 1, queries


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


def test_somebody_else_s_journal_is_read_without_writing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(tmp_path) as journal:
        put_all(journal, [question()])
    before = sorted(tmp_path.iterdir())
    made: list[list[Path]] = []
    real = sqlite3.connect

    def connect(address: str, **how: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = real(address, **how)
        connection.execute("SELECT count(*) FROM answers").fetchone()
        made.append(sorted(tmp_path.iterdir()))
        return connection

    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(sqlite3, "connect", connect)
    assert journal_tools.read_stats(tmp_path).answers == 1
    assert made == [before], "on a folder that we may not write to it would have failed"


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
    assert journal_tools.export(folder) == (
        f"79 answers written to {folder / 'answers.jsonl'}\n1 damaged ones left out"
    )
    lines = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    assert [line["reply"]["text"] for line in lines[:2]] == ["q0", "q1"]
    assert lines[0]["digest"] == question("q0").digest()
    assert len(lines) == 79
    assert journal_tools.compact(folder)
    assert journal_tools.verify(folder) == "79 answers, none damaged"


def test_a_mended_teacher_is_asked_again_after_forget(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    good = replace(REPLY, text='{"claims":["red dress"]}', finish_reason="stop")
    stored = {
        question("good"): good,
        question("damaged"): good,
        question("cut"): replace(good, finish_reason="length"),
        question("prose"): replace(good, text="A red dress."),
        replace(question("repair"), stage="caption_repair"): good,
        verdict("sure"): replace(REPLY, logprobs=(("A", -0.1), ("B", -3.0))),
        verdict("neither"): replace(REPLY, logprobs=(("A", -9.0), ("B", -9.0))),
    }
    with Journal(folder) as journal:
        for request, reply in stored.items():
            asyncio.run(journal.put(request, reply))
    with hold_lock(folder / "lock"), pytest.raises(OutputError, match="in use"):
        journal_tools.forget(folder)
    _damage(folder, question("damaged"))
    assert journal_tools.forget(folder).startswith("5 unusable answers and repairs dropped")
    with Journal(folder) as journal:
        kept = [request for request in stored if journal.get(request.digest()) is not None]
    assert kept == [question("good"), verdict("sure")]


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


def test_memory_does_not_grow_with_what_is_stored(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        put_all(journal, [question(f"warm{i}") for i in range(1000)])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for start in range(0, 3000, 1000):
            put_all(journal, [question(f"q{start + i}") for i in range(1000)])
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 20, f"{grown:.0f} MB"
