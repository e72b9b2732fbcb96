"""Foreign text cannot move a cursor, hide itself, or become a formula."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.text import MAX_DEPTH, csv_cell, parse_json, plain


def test_plain_keeps_ordinary_text_of_any_script() -> None:
    for text in ("a red dress, size 3–4", "größer & ‹anders›", "赤いドレス", "لباس أحمر", "👗", "क्‍ष"):
        assert plain(text) == text


def test_plain_shows_escapes_and_direction_marks_as_replacement() -> None:
    assert plain("\x1b[31mred\x07") == "�[31mred�"
    assert plain("abc\u202edef\x9b") == "abc�def�"
    assert plain(" two\n\tlines\u2028here ") == "two lines here"


def test_plain_bounds_length_and_marks_the_cut() -> None:
    assert plain("x" * 10_000_000, 10) == "x" * 9 + "…"
    assert plain("short", 10) == "short"


@given(st.text(), st.integers(1, 40))
def test_plain_is_always_one_safe_bounded_line(text: str, limit: int) -> None:
    shown = plain(text, limit)
    assert len(shown) <= limit
    assert all(unicodedata.category(c) not in {"Cc", "Cs", "Zl", "Zp"} for c in shown)


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =cmd|' /C calc'!A0", "＝1"]
)
def test_csv_cell_is_never_a_formula(text: str) -> None:
    assert csv_cell(text).startswith("'")


def test_csv_cell_leaves_other_text_alone() -> None:
    assert csv_cell("a long dress (not short) - blue") == "a long dress (not short) - blue"
    assert csv_cell("") == ""


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 100_000, "[" * 70 + "]" * 70, '{"a":' * 400 + "1" + "}" * 400, b"\xff", "9" * 5_000],
)
def test_whatever_is_wrong_with_json_is_one_kind_of_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(text)


def test_json_as_deep_as_any_of_ours_is_read() -> None:
    value = parse_json("[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH)
    for _ in range(MAX_DEPTH):
        (value,) = value
    assert value == 1
    assert parse_json('"[[[["') == "[[[["
