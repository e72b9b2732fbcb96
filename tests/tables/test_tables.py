"""Arrow schema from the row model, texts made harmless, equal rows to equal bytes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from annotate.card import columns_page
from annotate.errors import OutputError
from annotate.tables import (
    MAX_TEXT,
    ROW_GROUP,
    ROW_SCHEMA,
    arrow_schema,
    publishable_text,
    read_rows,
    read_table,
    to_table,
    write_table,
)
from schemas.answers import Edit
from schemas.row import Row
from tests.tables.rows import make_row

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_schema_has_the_columns_of_the_row_in_order_and_nulls_only_where_optional() -> None:
    assert ROW_SCHEMA.names == list(Row.model_fields)
    nullable = {field.name for field in ROW_SCHEMA if field.nullable}
    assert nullable == {
        name
        for name, info in Row.model_fields.items()
        if type(None) in getattr(info.annotation, "__args__", ())
    }
    assert ROW_SCHEMA.field("p_match").type == pa.float64()
    edit = ROW_SCHEMA.field("edits").type.value_type
    assert [edit.field(index).name for index in range(edit.num_fields)] == ["aspect", "from", "to"]


def test_a_type_without_an_arrow_type_is_named() -> None:
    class Strange(BaseModel):
        column: dict[str, int]

    with pytest.raises(TypeError, match="column"):
        arrow_schema(Strange)


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    edits = (Edit(aspect="ball", from_="red", to="blue"), Edit(aspect="box", from_="none", to="green"))
    rows = [make_row(1, edits=edits, p_match=0.1 + 0.2), make_row(2, verdict="quarantined", detail="why")]
    write_table(to_table(rows), tmp_path / "rows.parquet")
    assert list(read_rows([tmp_path / "rows.parquet"])) == rows


@settings(deadline=None)
@given(st.text(st.characters()))
def test_any_text_becomes_writable_and_harmless(text: str) -> None:
    clean = publishable_text(text)
    clean.encode()
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or 0x202A <= ord(c) <= 0x202E for c in clean)
    assert publishable_text(clean) == clean
    if text.isascii() and text.isprintable():
        assert clean == text


def test_texts_are_bounded_visibly_and_lists_too() -> None:
    long = "x" * 10_000
    (row,) = to_table([make_row(1, detail=long, modifications=(long, "b\x07l"))]).to_pylist()
    assert len(row["detail"]) == len(row["modifications"][0]) == MAX_TEXT
    assert row["detail"].endswith(" ...")
    assert row["modifications"][1] == "b l"


def test_other_scripts_and_signs_are_kept() -> None:
    text = "größer, 赤いボール, red → blue, 👩\u200d🚀, =1+1"
    assert publishable_text(text) == text


def written(path: Path, table: pa.Table) -> bytes:
    write_table(table, path)
    return path.read_bytes()


@pytest.mark.parametrize("sizes", [[30], [1] * 30, [7, 0, 23]])
def test_equal_rows_give_equal_bytes_however_the_table_was_made(tmp_path: Path, sizes: list[int]) -> None:
    rows = [
        make_row(number, kept=("a",) * (number % 3), category=None if number % 2 else "dress")
        for number in range(30)
    ]
    expected = written(tmp_path / "expected.parquet", to_table(rows))
    pieces, start = [], 0
    for size in sizes:
        pieces.append(to_table(rows[start : start + size]))
        start += size
    assert written(tmp_path / "pieces.parquet", pa.concat_tables(pieces)) == expected
    sliced = to_table([make_row(99), *rows, make_row(98)]).slice(1, 30)
    assert written(tmp_path / "sliced.parquet", sliced) == expected
    again = read_table(tmp_path / "expected.parquet")
    assert written(tmp_path / "again.parquet", again) == expected
    shuffled = again.take(pa.array(list(reversed(range(30))))).take(pa.array(list(reversed(range(30)))))
    assert written(tmp_path / "shuffled.parquet", shuffled) == expected


def test_row_groups_are_fixed_and_the_file_is_zstd(tmp_path: Path) -> None:
    table = pa.concat_tables([to_table([make_row(number) for number in range(1_000)])] * 5)
    write_table(table, tmp_path / "rows.parquet")
    facts = pq.ParquetFile(tmp_path / "rows.parquet").metadata
    assert [facts.row_group(index).num_rows for index in range(facts.num_row_groups)] == [
        ROW_GROUP,
        5_000 - ROW_GROUP,
    ]
    assert facts.row_group(0).column(0).compression == "ZSTD"


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet" * 10])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rows.parquet").write_bytes(content)
    with pytest.raises(OutputError, match=r"rows\.parquet"):
        read_table(tmp_path / "rows.parquet")


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"triplet_id": ["a"]}), tmp_path / "rows.parquet")
    with pytest.raises(OutputError, match="other columns"):
        read_table(tmp_path / "rows.parquet")


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_table(to_table([make_row(1)]), path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="field names"):
        write_table(pa.table({"triplet_id": [math.pi]}), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["rows.parquet"]


def test_every_column_has_a_description_and_the_columns_page_is_current() -> None:
    fields: dict[str, Any] = dict(Row.model_fields)
    assert [name for name, info in fields.items() if not info.description] == []
    assert (DOCS / "columns.md").read_text(encoding="utf-8") == columns_page()
