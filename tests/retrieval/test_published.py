from __future__ import annotations

from retrieval.published import COLUMNS, PUBLISHED, published_table


def test_published_numbers_are_marked_as_on_real_data_and_have_all_columns() -> None:
    for row in PUBLISHED:
        assert len(row.numbers) == len(COLUMNS[row.protocol]), row
    table = published_table()
    assert table.count("on real data") == 1 + len(COLUMNS)
    assert "| ReCALL (CVPR'26) (reference excluded) | 57.04 | 76.42 |" in table
