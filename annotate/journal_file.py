"""How an answer lies in the journal's file: its table and columns, its checksum, and what is wrong with one.

SQLite keeps whatever is in a damaged file, of whatever type, so nothing that is read here is trusted.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from annotate.teacher.request import Reply, Request, canonical_json, component_digest
from annotate.text import parse_json

VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    stage TEXT NOT NULL,
    model TEXT NOT NULL,
    prompt TEXT NOT NULL,
    images BLOB NOT NULL,
    components TEXT NOT NULL,
    reply TEXT NOT NULL,
    checksum INTEGER NOT NULL,
    created REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS by_images ON answers (images);
"""
COLUMNS = ("digest", "stage", "model", "prompt", "images", "components", "reply", "checksum", "created")
Stored = tuple[bytes, str, str, str, bytes, str, str, int, float]
"""The values of `COLUMNS`."""
LATEST = 4_102_444_800.0
"""The year 2100: no answer was stored later."""


def connect(path: Path, read_only: bool = False) -> sqlite3.Connection:
    """Open a journal's file; nothing is written to one that is not ours. Raises `sqlite3.Error`."""
    mode = "ro" if read_only else "rwc"
    if read_only and not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists():
        mode = "ro&immutable=1"  # SQLite would make files beside it even to read; nobody writes one at rest
    address = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(
        address, uri=True, isolation_level=None, check_same_thread=False, timeout=30.0
    )
    connection.text_factory = _text
    try:
        problem = format_problem(connection)
        if problem:
            raise sqlite3.DatabaseError(problem)
        if not read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(connection: sqlite3.Connection) -> None:
    """Make the table in an empty file, in one transaction; an existing journal is not written to."""
    if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")


def format_problem(connection: sqlite3.Connection) -> str:
    """Why a file is no journal of this format; "" for one that is, or that is still empty."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if version == 0:
        return "it is a database of another program" if tables else ""
    if version != VERSION:
        return f"it has format {version}, this program writes {VERSION}"
    columns = [entry[1] for entry in connection.execute("PRAGMA table_info(answers)")]
    return "" if columns == ["id", *COLUMNS] else "its table of answers has other columns"


def stored_row(request: Request, reply: Reply) -> Stored:
    """An answer as it is stored."""
    components = {name: value[:16] for name, value in request.components().items()}
    key, text = bytes.fromhex(request.digest()), json.dumps(asdict(reply), separators=(",", ":"))
    return (
        key,
        request.stage,
        request.model,
        request.prompt_digest,
        bytes.fromhex(components["images"]),
        canonical_json(components),
        text,
        checksum(key, text),
        time.time(),
    )


def checksum(key: bytes, text: str) -> int:
    """CRC-32 over digest and stored reply; SQLite guards its log by checksums, but not its main file."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass"), zlib.crc32(key))


def answer_of(text: str) -> Reply:
    """The reply as it was stored; float by float the same. Raises `ValueError` for what is none."""
    try:
        values: dict[str, Any] = parse_json(text)
        values["logprobs"] = tuple((str(letter), float(value)) for letter, value in values["logprobs"])
        reply = Reply(**values)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"no stored reply: {error}") from error
    counts = (reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens)
    texts = (reply.text, reply.finish_reason)
    if not all(isinstance(one, str) for one in texts) or not all(isinstance(one, int) for one in counts):
        raise ValueError("no stored reply: a field of another type")
    return reply


def reply_of(key: Any, text: Any, stored: Any) -> Reply:
    """The reply of a row. Raises `ValueError` when its checksum does not fit or it is no reply."""
    if not (isinstance(key, bytes) and isinstance(text, str) and checksum(key, text) == stored):
        raise ValueError("checksum does not fit")
    return answer_of(text)


def components_of(text: Any) -> dict[str, str]:
    """Shortened digests of what a request consists of. Raises `ValueError` for what is not that."""
    found = parse_json(text) if isinstance(text, str) else None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError("components are no digests by name")
    return found


def row_problem(row: Any) -> str:
    """What is wrong with the values of `COLUMNS` in one row; "" when nothing is."""
    key, stage, model, prompt, images, components, text, stored, created = row
    try:
        reply_of(key, text, stored)
        known = components_of(components)
    except ValueError as error:
        return str(error)
    for name, value in (("stage", stage), ("model", model), ("prompt", prompt)):
        if not isinstance(value, str) or known.get(name) != component_digest(value)[:16]:
            return f"{name} does not fit its components"
    if not isinstance(images, bytes) or known.get("images") != images.hex():
        return "images do not fit its components"
    return "" if isinstance(created, float) and 0 < created < LATEST else "created is no time"


def _text(data: bytes) -> str:
    """A damaged text is read too: its checksum does not fit then, where SQLite would stop at it."""
    return data.decode("utf-8", "replace")
