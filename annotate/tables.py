"""Rows as Arrow and Parquet. The schema derives from `schemas.row.Row` and is never inferred; no pandas on
this path.

Equal rows give equal bytes under the locked pyarrow: one writer call a file, fixed row groups, zstd.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ValidationError

from annotate.errors import OutputError
from annotate.files import atomic_path
from annotate.text import plain
from schemas.row import Row

ROW_GROUP = 4_096
WRITER_OPTIONS: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 3,
    "write_batch_size": 1_024,
    "data_page_version": "1.0",
    "version": "2.6",
}
"""Spelt out, so that a default that changes in pyarrow changes no byte."""
MAX_TEXT = 4_000
"""Characters of any published text; a longer one ends in " ..."."""


def arrow_schema(model: type[BaseModel] = Row) -> pa.Schema:
    """Arrow schema of a model: str, bool, int, float, Literal, Optional, tuple[X, ...], nested models."""
    return pa.schema(_fields(model))


def to_table(rows: Iterable[Row]) -> pa.Table:
    """Rows as a table in the order given, texts made publishable (`publishable_text`)."""
    return pa.Table.from_pylist(
        [_publishable(row.model_dump(mode="python", by_alias=True)) for row in rows], schema=ROW_SCHEMA
    )


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table of `ROW_SCHEMA` whole or not at all; equal rows give equal bytes, however chunked."""
    whole = table.cast(ROW_SCHEMA).combine_chunks()
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, ROW_SCHEMA, **WRITER_OPTIONS) as writer:
        if whole.num_rows:  # an empty row group would stop `datasets` ("BatchSize must be greater than 0")
            writer.write_table(whole, row_group_size=ROW_GROUP)


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """One published or intermediate file. Raises `OutputError` when it is broken or of another version."""
    try:
        with pq.ParquetFile(path) as file:
            _refuse_other_columns(path, file)
            table = file.read(columns=list(columns) if columns is not None else None)
            table.validate(full=True)  # texts that are not UTF-8, lists that end elsewhere
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    return table


def read_batches(path: Path, size: int) -> Iterator[pa.RecordBatch]:
    """The rows of one file, `size` at a time. Raises like `read_table`."""
    try:
        with pq.ParquetFile(path) as file:
            _refuse_other_columns(path, file)
            for batch in file.iter_batches(batch_size=size):
                batch.validate(full=True)
                yield batch
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def as_row(values: dict[str, Any], path: Path) -> Row:
    """A row of a file as an object. Raises `OutputError` naming the row and the column that is no value."""
    try:
        return Row.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise OutputError(
            f"{path}: row {plain(str(values.get('triplet_id')), 80)} has no {where} of this version "
            f"({first['msg']}); run annotate again"
        ) from error


def read_rows(paths: Iterable[Path]) -> Iterator[Row]:
    """Rows of files one after the other, one row group in memory at a time."""
    for path in paths:
        for batch in read_batches(path, 1_024):
            for values in batch.to_pylist():
                yield as_row(values, path)


def parts(out: Path, folder: str) -> list[Path]:
    """The Parquet files of a published folder of OUT (train, rejected, quarantine, annotations), in order."""
    return sorted((out / folder).glob("part-*.parquet"))


_UNREADABLE = (OSError, ValueError, pa.ArrowException)


def _unreadable(path: Path, error: BaseException) -> OutputError:
    return OutputError(
        f"{path}: cannot be read as Parquet ({plain(str(error), 200)}); put it back or run annotate again"
    )


def _refuse_other_columns(path: Path, file: pq.ParquetFile) -> None:
    if not file.schema_arrow.equals(ROW_SCHEMA):
        raise OutputError(f"{path}: has other columns than this version writes; run annotate again")


def publishable_text(text: str, limit: int = MAX_TEXT) -> str:
    """Foreign text as data: control characters to blanks, broken surrogates to U+FFFD, bounded."""
    if not text.isprintable():
        text = "".join(_harmless(character) for character in text)
    return text if len(text) <= limit else text[: limit - 4] + " ..."


def _harmless(character: str) -> str:
    code = ord(character)
    if code < 32 or 127 <= code < 160 or code in _DIRECTION_MARKS:
        return " "
    return "\ufffd" if 0xD800 <= code < 0xE000 else character


_DIRECTION_MARKS = frozenset({0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)})
"""Line separators and bidirectional overrides, with which a text can show as another."""


def _publishable(value: Any) -> Any:
    if isinstance(value, str):
        return publishable_text(value)
    if isinstance(value, dict):
        return {key: _publishable(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_publishable(item) for item in value]
    return value


def _fields(model: type[BaseModel]) -> list[pa.Field]:
    return [_field(info.alias or name, info.annotation) for name, info in model.model_fields.items()]


def _field(name: str, annotation: Any) -> pa.Field:
    """Field of a column; `X | None` is nullable, anything else is not."""
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [part for part in get_args(annotation) if part is not types.NoneType]
        if len(inner) != 1 or len(inner) == len(get_args(annotation)):
            raise TypeError(f"column {name}: no Arrow type for {annotation}")
        return pa.field(name, _type(name, inner[0]), nullable=True)
    return pa.field(name, _type(name, annotation), nullable=False)


def _type(name: str, annotation: Any) -> pa.DataType:
    scalars = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    if annotation in scalars:
        return scalars[annotation]
    arguments = get_args(annotation)
    if get_origin(annotation) is Literal and all(isinstance(value, str) for value in arguments):
        return pa.string()
    if get_origin(annotation) is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return pa.list_(pa.field("item", _type(name, arguments[0]), nullable=False))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return pa.struct(_fields(annotation))
    raise TypeError(f"column {name}: no Arrow type for {annotation}")


ROW_SCHEMA = arrow_schema()
"""The published columns (last in the file, since it needs the functions above)."""
