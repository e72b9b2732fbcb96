"""What the teacher has answered, by request digest: durable before anything depends on it, asked once.

SQLite in WAL mode, synchronous=FULL; one writer thread commits whatever has gathered (why: docs/journal.md).
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from annotate.errors import OutputError
from annotate.journal_file import COLUMNS, Stored, components_of, connect, prepare, reply_of, stored_row
from annotate.teacher.request import Ask, Reply, Request

T = TypeVar("T")

FILE_NAME = "answers.sqlite"
MOST_PER_COMMIT = 512

# Order in which a changed component is named: causes first, what follows from them last.
_CAUSES = ("model", "prompt", "schema", "choices", "sampling", "images", "image_turns", "conversation")


class Journal:
    """All answers of one OUT. `folder` is OUT/journal; the caller holds its lock (`annotate.locks`).

    `get` and `count` may be called from any thread; `put` from any event loop. Raises `OutputError` when
    the file cannot be opened, is no journal, or cannot be written (full disk, read-only OUT); what was
    stored stays.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = connect(self.path)
            prepare(self._writer)
            self._reader = connect(self.path)
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"{self.path}: cannot open the journal ({error}); mend its rights or move it away"
            ) from error
        self._reading = threading.Lock()
        self._damaged: set[bytes] = set()
        self._stages: set[str] = set()  # no index helps `explain` to know a stage: read once, then kept up
        self._stages_read = False
        self._waiting: queue.SimpleQueue[tuple[Stored, Future[None]] | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()
        self.in_flight: dict[str, Future[Reply]] = {}
        self.in_flight_lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what still waits, then close; calling it twice is fine."""
        if self._closed:
            return
        self._closed = True
        self._waiting.put(None)
        self._thread.join()
        with self._reading:
            self._reader.close()
        self._writer.close()

    def get(self, digest: str) -> Reply | None:
        """The stored answer. One whose checksum does not fit is not trusted: it counts as never asked."""
        key = bytes.fromhex(digest)
        found = self._read("SELECT reply, checksum FROM answers WHERE digest = ?", (key,))
        if not found:
            return None
        try:
            return reply_of(key, *found[0])
        except ValueError:
            self._damaged.add(key)
            return None

    async def put(self, request: Request, reply: Reply) -> None:
        """Store an answer; on return it survives a power cut. The first answer to a request stays."""
        if self._closed:
            raise RuntimeError("the journal is closed")
        stored: Future[None] = Future()
        self._waiting.put((stored_row(request, reply), stored))
        await _outcome(stored)
        self._stages.add(request.stage)

    @property
    def count(self) -> int:
        """Number of stored answers."""
        return int(self._read("SELECT count(*) FROM answers")[0][0])

    def explain(self, request: Request) -> tuple[str, ...]:
        """Components in which `request` differs from the nearest stored one of its stage and images.

        () when it is stored; ("images",) when nothing is stored about these images, ("stage",) when nothing
        at all of this stage. Order: causes first (a changed prompt changes the conversation, too).
        """
        components = {name: value[:16] for name, value in request.components().items()}
        known = self._read(
            "SELECT components FROM answers WHERE images = ? AND stage = ? ORDER BY id DESC LIMIT 64",
            (bytes.fromhex(components["images"]), request.stage),
        )
        if not known:
            if not self._stages_read:
                self._stages.update(stage for (stage,) in self._read("SELECT DISTINCT stage FROM answers"))
                self._stages_read = True
            return ("images",) if request.stage in self._stages else ("stage",)
        differs = min((_differing(components, text) for (text,) in known), key=len)
        return tuple(
            sorted(differs, key=lambda name: _CAUSES.index(name) if name in _CAUSES else len(_CAUSES))
        )

    def _read(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query. Raises `OutputError` for a file that is damaged where it looks."""
        try:
            with self._reading:
                return self._reader.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise OutputError(
                f"{self.path}: the journal cannot be read ({error}); save what can be read by `python -m "
                "annotate journal export`, then move it away and run again"
            ) from error

    def leave(self, digest: str) -> None:
        """The request is no longer in flight."""
        with self.in_flight_lock:
            self.in_flight.pop(digest, None)

    def _write(self) -> None:
        """The writer thread: all that waits goes into one transaction, then its callers are told."""
        open_ended = True
        while open_ended:
            first = self._waiting.get()
            if first is None:
                return
            batch = [first] if first[1].set_running_or_notify_cancel() else []
            while len(batch) < MOST_PER_COMMIT and not self._waiting.empty():
                item = self._waiting.get()
                if item is None:
                    open_ended = False
                    break
                if item[1].set_running_or_notify_cancel():
                    batch.append(item)
            failure = self._commit([row for row, _ in batch]) if batch else None
            for _, stored in batch:
                if failure is None:
                    stored.set_result(None)
                else:
                    stored.set_exception(failure)

    def _commit(self, rows: list[Stored]) -> OutputError | None:
        places = ", ".join("?" * len(rows[0]))
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                for row in rows:
                    if row[0] in self._damaged:
                        self._writer.execute("DELETE FROM answers WHERE digest = ?", (row[0],))
                        self._damaged.discard(row[0])
                self._writer.executemany(
                    f"INSERT OR IGNORE INTO answers ({', '.join(COLUMNS)}) VALUES ({places})", rows
                )
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
        except (sqlite3.Error, ValueError, OverflowError) as error:  # also what SQLite has no value for
            return OutputError(
                f"{self.path}: cannot store answers ({error}); make room or mend rights, then run again"
            )
        return None


class _AskerGone(Exception):
    """The one who asked was cancelled; those who waited for the answer ask themselves."""


def answered_ask(journal: Journal, ask: Ask) -> Ask:
    """`ask` behind the journal: stored answers are given back, new ones stored before they are given.

    Identical requests in flight on one journal share one answer, across shards, threads and event loops. An
    error reaches all who wait. When the one who asks is cancelled, the next of those who wait asks.
    """

    async def answered(request: Request) -> Reply:
        digest = request.digest()
        while True:
            with journal.in_flight_lock:
                shared = journal.in_flight.get(digest)
                mine = shared is None
                if shared is None:
                    stored = journal.get(digest)
                    if stored is not None:
                        return stored
                    shared = journal.in_flight[digest] = Future()
                    shared.set_running_or_notify_cancel()
            if not mine:
                try:
                    return await _outcome(shared)
                except _AskerGone:
                    continue
            try:
                reply = await ask(request)
                await journal.put(request, reply)
            except BaseException as error:
                journal.leave(digest)
                shared.set_exception(_AskerGone() if isinstance(error, asyncio.CancelledError) else error)
                raise
            journal.leave(digest)
            shared.set_result(reply)
            return reply

    return answered


async def _outcome(shared: Future[T]) -> T:
    """Wait for what others wait for, too: cancelling one waiter leaves it going on."""
    waiting = asyncio.wrap_future(shared)
    # a cancelled waiter does not look at the outcome, and asyncio would print that nobody did
    waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
    return await asyncio.shield(waiting)


def _differing(one: dict[str, str], stored: Any) -> tuple[str, ...]:
    """Names of what differs; everything does from components that are damaged."""
    try:
        other = components_of(stored)
    except ValueError:
        other = {}
    return tuple(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
