"""`journal stats | verify | export | compact | forget`: looking at a journal from outside a run.

The five functions of these names return what a person reads; the typed ones behind them are for programs.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotate.answers import Fault, read_answer
from annotate.checks.question import LETTERS, MEANINGS, letter_probability
from annotate.errors import OutputError
from annotate.files import atomic_path
from annotate.journal import FILE_NAME
from annotate.journal_file import COLUMNS, LATEST, Stored, connect, reply_of, row_problem
from annotate.locks import hold_lock
from annotate.stages import stage_schema
from annotate.teacher.retry import Unanswered
from annotate.text import parse_json, plain
from schemas.answers import Answer, CaptionAnswer, ConclusionAnswer, ReasoningAnswer

_FILE = "the file is damaged"
_OF_STAGE: Mapping[str, type[Answer]] = {
    "caption": CaptionAnswer,
    "reasoning": ReasoningAnswer,
    "conclusion": ConclusionAnswer,
}


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
    """One line when all is well. Raises `OutputError` naming the first problem, how many, and the cure."""
    problems = problems_of(folder)
    if problems:
        cure = "`journal compact` drops damaged answers, and the next run asks them again"
        if any(problem.startswith(_FILE) for problem in problems):
            cure = "`journal export` saves what can be read; then move it away"
        found = f"{len(problems)} problem(s), the first: {plain(problems[0], 300)}"
        raise OutputError(f"{folder / FILE_NAME}: {found}; {cure}")
    return f"{read_stats(folder).answers} answers, none damaged"


def export(folder: Path) -> str:
    """All answers to OUT/journal/answers.jsonl; says how many are damaged and left out."""
    path = folder / "answers.jsonl"
    written, damaged, problem = export_to(folder, path)
    lines = [f"{written} answers written to {path}"]
    lines += [f"{damaged} damaged ones left out"] if damaged else []
    lines += [f"the rest cannot be read: {problem}"] if problem else []
    return "\n".join(plain(line) for line in lines)


def compact(folder: Path) -> str:
    """Rewrite without gaps; says what it saved."""
    before, after = rewrite(folder)
    return f"{before / 1e6:.1f} MB before, {after / 1e6:.1f} MB now"


def forget(folder: Path) -> str:
    """Drop answers that no stage can use, and repairs, whose question hangs on such an answer: a mended
    teacher is asked again. Takes OUT's lock. Raises `OutputError`."""
    if not (folder / FILE_NAME).is_file():
        raise _none(folder)
    with hold_lock(folder / "lock"):
        try:
            with closing(connect(folder / FILE_NAME)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                rows = connection.execute(f"SELECT id, {', '.join(COLUMNS)} FROM answers")
                useless = [(row_id,) for row_id, *row in rows if row_problem(row) or _is_useless(row)]
                connection.executemany("DELETE FROM answers WHERE id = ?", useless)
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            path = folder / FILE_NAME
            raise OutputError(f"{path}: cannot forget ({error}); the journal is as it was") from error
    return f"{len(useless)} unusable answers and repairs dropped; the same command asks again"


def _is_useless(row: Sequence[Any]) -> bool:
    """Of a one-letter answer: neither letter was likely. Of a stage's: cut off, or not the form of any."""
    stored = dict(zip(COLUMNS, row, strict=True))
    asked = str(stored["stage"]).removesuffix("_again")
    if asked.endswith("_repair"):
        return True
    answer = reply_of(stored["digest"], stored["reply"], stored["checksum"])
    if asked in MEANINGS:
        try:
            letter_probability(answer, LETTERS[0])
        except Unanswered:
            return True
    model = _OF_STAGE.get(asked)
    return model is not None and isinstance(read_answer(answer, model, stage_schema(model, ())), Fault)


def read_stats(folder: Path) -> JournalStats:
    """What OUT/journal holds; may be called during a run. Raises `OutputError` when there is none."""
    with _reading(folder) as connection:

        def per(column: str) -> dict[str, int]:
            query = f"SELECT {column}, count(*) FROM answers GROUP BY 1 ORDER BY 1"
            return {str(name): int(count) for name, count in connection.execute(query)}

        span = f"SELECT min(created), max(created) FROM answers WHERE created BETWEEN 0 AND {LATEST}"
        first, last = connection.execute(span).fetchone()
        by_stage, by_model = per("stage"), per("model")
    return JournalStats(sum(by_stage.values()), by_stage, by_model, _size(folder), _utc(first), _utc(last))


def problems_of(folder: Path) -> list[str]:
    """Everything wrong with OUT/journal, a line each: its pages, its indexes, every column of each answer."""
    problems: list[str] = []
    with _reading(folder) as connection:
        try:
            lines = connection.execute("PRAGMA integrity_check(20)")
            problems += [f"{_FILE}: {line}" for (line,) in lines if line != "ok"]
            for row_id, key, problem in _judged(connection):
                if problem:
                    name = key.hex()[:16] if isinstance(key, bytes) else "without a digest"
                    problems.append(f"answer {row_id} ({name}): {problem}")
        except sqlite3.Error as error:
            problems.append(f"{_FILE}: {error}")
    return problems


def export_to(folder: Path, path: Path) -> tuple[int, int, str]:
    """Write all answers as JSON lines, oldest first, to `path` (whole or not at all).

    Returns how many, how many are damaged and left out, and what the file's damage is where it ends the
    reading. Raises `OutputError`.
    """
    count = damaged = 0
    problem = ""
    query = f"SELECT {', '.join(COLUMNS)} FROM answers ORDER BY id"
    try:
        with _reading(folder) as connection, atomic_path(path) as temporary, temporary.open("w") as lines:
            try:
                for row in connection.execute(query):
                    if row_problem(row):
                        damaged += 1
                    else:
                        lines.write(_line(row) + "\n")
                        count += 1
            except sqlite3.Error as error:
                problem = str(error)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); make room or mend rights"
        ) from error
    return count, damaged, problem


def rewrite(folder: Path) -> tuple[int, int]:
    """Drop damaged answers, rewrite the file without gaps; returns its size in bytes before and after.

    Takes OUT's lock. Dropping is one transaction of SQLite's and rewriting another, so a kill at any instant
    leaves the state before, between or after. Needs free room of twice the journal. Raises `OutputError`,
    also for a file that is no journal.
    """
    if not (folder / FILE_NAME).is_file():
        raise _none(folder)
    with hold_lock(folder / "lock"):
        before, dropped = _size(folder), 0
        try:
            with closing(connect(folder / FILE_NAME)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                damaged = [(row_id,) for row_id, _, problem in _judged(connection) if problem]
                connection.executemany("DELETE FROM answers WHERE id = ?", damaged)
                connection.execute("COMMIT")
                dropped = len(damaged)
                connection.execute("VACUUM")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            path = folder / FILE_NAME
            done = f"{dropped} damaged answer(s) were dropped, else " if dropped else ""
            raise OutputError(f"{path}: cannot compact ({error}); {done}the journal is as it was") from error
        return before, _size(folder)


def _judged(connection: sqlite3.Connection) -> Iterator[tuple[int, Any, str]]:
    """Of every answer its id, its digest, and what is wrong with it."""
    for row_id, *row in connection.execute(f"SELECT id, {', '.join(COLUMNS)} FROM answers"):
        yield row_id, row[0], row_problem(row)


def _line(row: Stored) -> str:
    digest, stage, model, prompt, _, components, reply, _, created = row
    answer = {
        "digest": digest.hex(),
        "stage": stage,
        "model": model,
        "prompt": prompt,
        "components": parse_json(components),
        "reply": parse_json(reply),
        "created": created,
    }
    return json.dumps(answer)


@contextmanager
def _reading(folder: Path) -> Iterator[sqlite3.Connection]:
    path = folder / FILE_NAME
    if not path.is_file():
        raise _none(folder)
    try:
        with closing(connect(path, read_only=True)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise _none(folder)
            yield connection
    except sqlite3.Error as error:
        raise OutputError(f"{path}: cannot read the journal ({error}); give another OUT") from error


def _none(folder: Path) -> OutputError:
    return OutputError(f"no journal in {folder}; give the OUT of an annotation run")


def _size(folder: Path) -> int:
    total = 0
    for path in folder.glob(f"{FILE_NAME}*"):
        with suppress(FileNotFoundError):  # a run that ends takes its log away
            total += path.stat().st_size
    return total


def _utc(seconds: float | None) -> str:
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
