"""`journal stats | verify | export | compact`: looking at a journal from outside a run.

The four functions of these names return what a person reads; the typed ones behind them are for programs.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from annotate.errors import OutputError
from annotate.files import atomic_path
from annotate.journal import FILE_NAME, answer_of, checksum
from annotate.locks import hold_lock
from annotate.text import plain


@dataclass(frozen=True, slots=True)
class JournalStats:
    """Counts of a journal; `size` in bytes with its write-ahead log, times as UTC text ("" when empty)."""

    answers: int
    by_stage: dict[str, int]
    by_model: dict[str, int]
    size: int
    first: str
    last: str


def stats(folder: Path) -> str:
    """Answers by stage and model, size and time span."""
    seen = read_stats(folder)
    span = f"from {seen.first or '-'} to {seen.last or '-'} UTC"
    lines = [f"{seen.answers} answers, {seen.size / 1e6:.1f} MB, {span}"]
    lines += [f"stage {name}: {count}" for name, count in seen.by_stage.items()]
    lines += [f"model {name}: {count}" for name, count in seen.by_model.items()]
    return "\n".join(plain(line) for line in lines)


def verify(folder: Path) -> str:
    """One line when all is well. Raises `OutputError` naming the first problem and how many there are."""
    problems = problems_of(folder)
    if problems:
        raise OutputError(f"{folder / FILE_NAME}: {len(problems)} problem(s), the first: {problems[0]}")
    return f"{read_stats(folder).answers} answers, none damaged"


def export(folder: Path) -> str:
    """All answers to OUT/journal/answers.jsonl."""
    path = folder / "answers.jsonl"
    return f"{export_to(folder, path)} answers written to {path}"


def compact(folder: Path) -> str:
    """Rewrite without gaps; says what it saved."""
    before, after = rewrite(folder)
    return f"{before / 1e6:.1f} MB before, {after / 1e6:.1f} MB now"


def read_stats(folder: Path) -> JournalStats:
    """What OUT/journal holds; may be called during a run. Raises `OutputError` when there is none."""
    with _reading(folder) as connection:

        def per(column: str) -> dict[str, int]:
            query = f"SELECT {column}, count(*) FROM answers GROUP BY 1 ORDER BY 1"
            return {str(name): int(count) for name, count in connection.execute(query)}

        first, last = connection.execute("SELECT min(created), max(created) FROM answers").fetchone()
        by_stage, by_model = per("stage"), per("model")
    return JournalStats(sum(by_stage.values()), by_stage, by_model, _size(folder), _utc(first), _utc(last))


def problems_of(folder: Path) -> list[str]:
    """Everything wrong with OUT/journal, a line each: its pages, its indexes, each answer's checksum."""
    problems: list[str] = []
    with _reading(folder) as connection:
        try:
            lines = connection.execute("PRAGMA integrity_check(20)")
            problems += [f"the file is damaged: {line}" for (line,) in lines if line != "ok"]
            rows = connection.execute("SELECT id, digest, reply, checksum FROM answers")
            for row_id, key, text, stored in rows:
                name = f"answer {row_id} ({key.hex()[:16]})"
                if checksum(key, text) != stored:
                    problems.append(f"{name}: checksum does not fit; it will be asked again")
                    continue
                try:
                    answer_of(text)
                except (ValueError, TypeError, KeyError) as error:
                    problems.append(f"{name}: cannot be read ({error})")
        except sqlite3.DatabaseError as error:
            problems.append(f"the file is damaged: {error}; export what can be read, then move it away")
    return problems


def export_to(folder: Path, path: Path) -> int:
    """Write all answers as JSON lines, oldest first, to `path` (whole or not at all); returns how many."""
    count = 0
    with _reading(folder) as connection, atomic_path(path) as temporary, temporary.open("w") as lines:
        rows = connection.execute(
            "SELECT digest, stage, model, prompt, components, reply, created FROM answers ORDER BY id"
        )
        for digest, stage, model, prompt, components, reply, created in rows:
            line = {
                "digest": digest.hex(),
                "stage": stage,
                "model": model,
                "prompt": prompt,
                "components": json.loads(components),
                "reply": json.loads(reply),
                "created": created,
            }
            lines.write(json.dumps(line) + "\n")
            count += 1
    return count


def rewrite(folder: Path) -> tuple[int, int]:
    """Drop damaged answers, rewrite the file without gaps; returns its size in bytes before and after.

    Takes OUT's lock. SQLite does this in one transaction, so a kill at any instant leaves the old or the new
    state. Needs free room of twice the journal. Raises `OutputError`.
    """
    if not (folder / FILE_NAME).is_file():
        raise _none(folder)
    with hold_lock(folder / "lock"):
        before = _size(folder)
        try:
            with closing(sqlite3.connect(folder / FILE_NAME, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous = FULL")
                damaged = [
                    (row_id,)
                    for row_id, key, text, stored in connection.execute(
                        "SELECT id, digest, reply, checksum FROM answers"
                    )
                    if checksum(key, text) != stored
                ]
                connection.executemany("DELETE FROM answers WHERE id = ?", damaged)
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            path = folder / FILE_NAME
            raise OutputError(f"{path}: cannot compact ({error}); the journal is as it was") from error
        return before, _size(folder)


@contextmanager
def _reading(folder: Path) -> Iterator[sqlite3.Connection]:
    path = folder / FILE_NAME
    if not path.is_file():
        raise _none(folder)
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            yield connection
    except sqlite3.Error as error:
        raise OutputError(f"{path}: cannot read the journal ({error})") from error


def _none(folder: Path) -> OutputError:
    return OutputError(f"no journal in {folder}; give the OUT of an annotation run")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob(f"{FILE_NAME}*"))


def _utc(seconds: float | None) -> str:
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
