"""What a durable answer costs in SQLite (WAL, synchronous=FULL) and in an append-only file, by group size.

    python -m bench.journal_store [--folder .]

Each group is committed (SQLite) or written and fdatasync'ed (file) before the next; 1,100 bytes an answer.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

GROUPS = (1, 8, 64, 256)
ANSWERS = 2048
BODY = "x" * 1068


def into_sqlite(folder: Path, group: int) -> None:
    """All answers, `group` a transaction."""
    with closing(sqlite3.connect(folder / f"{group}.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE answers (id INTEGER PRIMARY KEY, digest BLOB UNIQUE, body TEXT)")
        for _ in range(ANSWERS // group):
            connection.execute("BEGIN IMMEDIATE")
            rows = [(os.urandom(32), BODY) for _ in range(group)]
            connection.executemany("INSERT INTO answers (digest, body) VALUES (?, ?)", rows)
            connection.execute("COMMIT")


def into_file(folder: Path, group: int) -> None:
    """All answers, `group` between two calls of fdatasync."""
    with (folder / f"{group}.log").open("wb") as log:
        for _ in range(ANSWERS // group):
            for _ in range(group):
                log.write(os.urandom(32) + BODY.encode())
            log.flush()
            os.fdatasync(log.fileno())


def main() -> None:
    """Print CPU and wall milliseconds an answer."""
    parser = argparse.ArgumentParser(description="durable writes, by group size")
    parser.add_argument("--folder", type=Path, default=Path(), help="a folder on the disk in question")
    given = parser.parse_args()
    stores: dict[str, Callable[[Path, int], None]] = {"sqlite": into_sqlite, "file": into_file}
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for group in GROUPS:
            for name, write in stores.items():
                cpu, wall = time.process_time(), time.perf_counter()
                write(Path(folder), group)
                scale = 1000 / ANSWERS
                cpu, wall = scale * (time.process_time() - cpu), scale * (time.perf_counter() - wall)
                print(f"{name:7s} group {group:3d}: {cpu:6.3f} ms CPU  {wall:6.3f} ms wall an answer")


if __name__ == "__main__":
    main()
