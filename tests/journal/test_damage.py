"""A damaged or foreign file in the journal's place: every command says so in one line, none overlooks it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annotate import journal_tools
from annotate.errors import OutputError
from annotate.journal import FILE_NAME, Journal
from annotate.journal_file import checksum, connect
from tests.faults.fakes import question
from tests.journal.replies import REPLY, reply_to

COUNT = 300
TOOLS = (journal_tools.stats, journal_tools.verify, journal_tools.export, journal_tools.compact)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A journal of `COUNT` answers."""

    async def fill(journal: Journal) -> None:
        requests = [question(f"q{number}") for number in range(COUNT)]
        await asyncio.gather(*(journal.put(request, reply_to(request)) for request in requests))

    with Journal(tmp_path / "journal") as journal:
        asyncio.run(fill(journal))
    return tmp_path / "journal"


def change(folder: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection, connection:
        connection.execute(statement, values)


def said(tool: Callable[[Path], str], folder: Path) -> str:
    """What a tool says, as a result or as its one line of refusal."""
    try:
        return tool(folder)
    except OutputError as error:
        return str(error)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("components", "{", "Expecting property name"),
        ("components", "[" * 100_000, "nested too deeply"),
        ("components", b"\xff", "components are no digests"),
        ("components", "{}", "stage does not fit"),
        ("created", "yesterday", "created is no time"),
        ("created", 1e300, "created is no time"),
        ("stage", b"\x00", "stage does not fit"),
        ("model", "another", "model does not fit"),
        ("prompt", 7.5, "prompt does not fit"),
        ("images", "text", "images do not fit"),
        ("reply", 5, "checksum does not fit"),
        ("reply", b"\xff\xfe", "checksum does not fit"),
        ("checksum", "many", "checksum does not fit"),
        ("digest", "text", "checksum does not fit"),
    ],
)
def test_one_damaged_value_is_found_left_out_and_dropped(
    folder: Path, column: str, value: object, words: str
) -> None:
    change(folder, f"UPDATE answers SET {column} = ? WHERE id = 8", value)
    assert "answer 8 (" in said(journal_tools.verify, folder) and words in said(journal_tools.verify, folder)
    assert f"{COUNT} answers" in journal_tools.stats(folder)
    assert f"{COUNT - 1} answers written" in journal_tools.export(folder)
    with Journal(folder) as journal:
        assert journal.get(question("q6").digest()) == reply_to(question("q6"))
        assert journal.get(question("q7").digest()) in (None, reply_to(question("q7")))
        journal.explain(replace(question("q7"), model="another"))
    journal_tools.compact(folder)
    assert journal_tools.verify(folder) == f"{COUNT - 1} answers, none damaged"


def test_a_reply_that_is_none_is_asked_again_though_its_checksum_fits(folder: Path) -> None:
    key = bytes.fromhex(question("q7").digest())
    for text in ("[]", '{"logprobs": 5}', "[" * 100_000, '{"text":5,"finish_reason":"stop","logprobs":[]}'):
        change(folder, "UPDATE answers SET reply = ?, checksum = ? WHERE id = 8", text, checksum(key, text))
        with Journal(folder) as journal:
            assert journal.get(key.hex()) is None
        assert "answer 8 (" in said(journal_tools.verify, folder)


def test_pages_full_of_something_else_are_one_line_everywhere(folder: Path) -> None:
    whole = (folder / FILE_NAME).read_bytes()
    for start in range(4096, len(whole), 4096 * 5):
        (folder / FILE_NAME).write_bytes(whole[:start] + b"\xa5" * 4096 + whole[start + 4096 :])
        for tool in TOOLS:
            assert said(tool, folder)
        try:
            with Journal(folder) as journal:
                for number in range(COUNT):
                    journal.get(question(f"q{number}").digest())
                assert journal.count <= COUNT
                asyncio.run(journal.put(question("new"), REPLY))
        except OutputError as error:
            assert FILE_NAME in str(error)
        for extra in folder.glob(f"{FILE_NAME}-*"):
            extra.unlink()


def test_a_damaged_page_is_named_by_verify_with_its_cure(folder: Path) -> None:
    whole = bytearray((folder / FILE_NAME).read_bytes())
    whole[4096 * 4 : 4096 * 6] = b"\xa5" * 8192
    (folder / FILE_NAME).write_bytes(whole)
    assert "the file is damaged" in said(journal_tools.verify, folder)
    assert "journal export" in said(journal_tools.verify, folder)


def foreign(folder: Path, *statements: str) -> bytes:
    folder.mkdir(exist_ok=True)
    (folder / FILE_NAME).unlink(missing_ok=True)
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return (folder / FILE_NAME).read_bytes()


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (["CREATE TABLE mails (text)"], "another program"),
        (["CREATE TABLE answers (id, reply)"], "another program"),
        (["CREATE TABLE answers (id, reply)", "PRAGMA user_version = 1"], "other columns"),
        (["CREATE TABLE mails (text)", "PRAGMA user_version = 1"], "other columns"),
        (["CREATE TABLE mails (text)", "PRAGMA user_version = 2"], "format 2"),
    ],
)
def test_a_file_of_another_format_is_refused_and_stays_as_it_was(
    tmp_path: Path, statements: list[str], words: str
) -> None:
    before = foreign(tmp_path, *statements)
    for tool in TOOLS:
        with pytest.raises(OutputError, match=words):
            tool(tmp_path)
    with pytest.raises(OutputError, match=words):
        Journal(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_what_sqlite_has_no_value_for_is_one_line_and_nobody_waits_for_ever(folder: Path) -> None:
    with Journal(folder) as journal:
        with pytest.raises(OutputError, match="cannot store answers"):
            asyncio.run(asyncio.wait_for(journal.put(replace(question(), model="\ud800"), REPLY), 20))
        asyncio.run(journal.put(question("still open"), REPLY))
        assert journal.get(question("still open").digest()) == REPLY


def test_an_export_that_cannot_be_written_is_one_line(folder: Path) -> None:
    (folder / "answers.jsonl").mkdir()
    with pytest.raises(OutputError, match=r"answers\.jsonl: cannot be written"):
        journal_tools.export(folder)


def damage_two(folder: Path) -> None:
    change(folder, "UPDATE answers SET reply = 'x' WHERE id IN (2, 3)")


def test_a_compaction_that_fails_while_it_drops_drops_nothing(folder: Path) -> None:
    damage_two(folder)
    change(
        folder,
        "CREATE TRIGGER full BEFORE DELETE ON answers WHEN OLD.id = 3 BEGIN SELECT RAISE(ABORT, 'full'); END",
    )
    with pytest.raises(OutputError, match=r"cannot compact .*full.*; the journal is as it was$"):
        journal_tools.compact(folder)
    with Journal(folder) as journal:
        assert journal.count == COUNT


def test_a_compaction_that_fails_after_it_dropped_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        """A connection with no room left to rewrite the file."""

        def __init__(self, inner: sqlite3.Connection) -> None:
            self.inner = inner

        def execute(self, statement: str) -> sqlite3.Cursor:
            if statement == "VACUUM":
                raise sqlite3.OperationalError("database or disk is full")
            return self.inner.execute(statement)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    damage_two(folder)
    monkeypatch.setattr(journal_tools, "connect", lambda path: Full(connect(path)))
    with pytest.raises(
        OutputError, match=r"2 damaged answer\(s\) were dropped, else the journal is as it was"
    ):
        journal_tools.compact(folder)
    with Journal(folder) as journal:
        assert journal.count == COUNT - 2
