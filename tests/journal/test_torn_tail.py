"""A power cut in the middle of a write: the log's tail is cut, or holds anything, at every byte of the
last answer."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from annotate import journal_tools
from annotate.journal import FILE_NAME, Journal
from annotate.journal_file import answer_of, checksum
from annotate.teacher.request import Reply, Request
from tests.faults.fakes import question

WAL = f"{FILE_NAME}-wal"
EARLIER = [question(f"q{i}") for i in range(2)]
LAST = question("the last one")


def reply_to(request: Request) -> Reply:
    return Reply(f"answer to {request.turns[-1].text}", "stop")


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, int]:
    """Main file and log of a journal that was never closed, and where the last answer starts in the log."""
    folder = tmp_path_factory.mktemp("crashed")

    async def fill() -> tuple[bytes, bytes, int]:
        with Journal(folder) as journal:
            for request in EARLIER:
                await journal.put(request, reply_to(request))
            start = (folder / WAL).stat().st_size
            await journal.put(LAST, reply_to(LAST))
            return (folder / FILE_NAME).read_bytes(), (folder / WAL).read_bytes(), start

    return asyncio.run(fill())


def check(folder: Path, main: bytes, log: bytes) -> bool:
    """Reopen after the crash: all earlier answers intact, the last whole (true) or absent; and it goes on."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / FILE_NAME).write_bytes(main)
    (folder / WAL).write_bytes(log)
    with Journal(folder) as journal:
        for request in EARLIER:
            assert journal.get(request.digest()) == reply_to(request)
        last = journal.get(LAST.digest())
        assert last in (None, reply_to(LAST))
        assert journal.count == len(EARLIER) + (last is not None)
    return last is not None


def whole(folder: Path, log: bytes) -> bool:
    """The same check by a reader alone, quick enough for every byte; the main file is there already."""
    (folder / f"{FILE_NAME}-shm").unlink(missing_ok=True)
    (folder / WAL).write_bytes(log)
    with closing(sqlite3.connect(f"{(folder / FILE_NAME).as_uri()}?mode=ro", uri=True)) as connection:
        stored = {
            key.hex(): answer_of(text)
            for key, text, crc in connection.execute("SELECT digest, reply, checksum FROM answers")
            if checksum(key, text) == crc
        }
    last = stored.pop(LAST.digest(), None)
    assert stored == {request.digest(): reply_to(request) for request in EARLIER}
    assert last in (None, reply_to(LAST))
    return last is not None


def cuts(log: bytes, start: int, step: int) -> Iterator[int]:
    """Positions in the last transaction: every `step`-th byte, and both sides of each frame's border."""
    page = int.from_bytes(log[8:12], "big")
    borders = {at + d for at in range(start, len(log) + 1, page + 24) for d in (-1, 0, 1, 23, 24, 25)}
    yield from sorted(at for at in borders | set(range(start, len(log), step)) if start <= at < len(log))


def test_the_undamaged_log_holds_everything(tmp_path: Path, crashed: tuple[bytes, bytes, int]) -> None:
    main, log, start = crashed
    assert 0 < start < len(log)
    assert check(tmp_path / "copy", main, log)


def torn(log: bytes, start: int, step: int) -> Iterator[tuple[str, bytes]]:
    """The log cut at, and with another byte at, each of the positions."""
    for at in cuts(log, start, step):
        yield f"cut at {at}", log[:at]
        yield f"corrupt at {at}", log[:at] + bytes([log[at] ^ 0xFF]) + log[at + 1 :]


def test_a_torn_or_corrupt_tail_is_dropped_and_nothing_else(
    tmp_path: Path, crashed: tuple[bytes, bytes, int]
) -> None:
    main, log, start = crashed
    for what, damaged in torn(log, start, step=997):
        assert not check(tmp_path / "copy", main, damaged), what


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_torn_or_corrupt_tail_is_dropped_at_every_byte(
    tmp_path: Path, crashed: tuple[bytes, bytes, int]
) -> None:
    main, log, start = crashed
    (tmp_path / FILE_NAME).write_bytes(main)
    assert whole(tmp_path, log)
    for what, damaged in torn(log, start, step=1):
        assert not whole(tmp_path, damaged), what


def test_a_lost_log_leaves_a_journal_that_goes_on(tmp_path: Path, crashed: tuple[bytes, bytes, int]) -> None:
    main, _, _ = crashed
    folder = tmp_path / "copy"
    folder.mkdir()
    (folder / FILE_NAME).write_bytes(main)
    with Journal(folder) as journal:
        asyncio.run(journal.put(LAST, reply_to(LAST)))
        assert journal.get(LAST.digest()) == reply_to(LAST)
    assert journal_tools.problems_of(folder) == []
