"""`make soak` in small: rows are neither lost nor wrong under faults; and the comparison can fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.soak import compared, main


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_wrong_under_twelve_percent_faults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["--triplets", "150", "--work", str(tmp_path / "soak"), "--timeout", "3"])
    assert status == 0, capsys.readouterr().out


GOOD: dict[str, dict[str, Any]] = {
    name: {"verdict": "accepted", "reasons": [], "detail": None, "caption": name} for name in ("a", "b")
}


def test_a_lost_row_is_wrong() -> None:
    assert compared(GOOD, {"a": GOOD["a"]}) == (["b has no row"], [])


def test_a_row_that_differs_is_wrong_unless_it_is_quarantined_with_its_reason() -> None:
    other = GOOD["b"] | {"caption": "x"}
    assert compared(GOOD, GOOD | {"b": other})[0] == [
        "b differs from the faultless run and is not quarantined"
    ]
    out = other | {"verdict": "quarantined", "reasons": ["no_answer"], "detail": "HTTP 500, 6 times"}
    assert compared(GOOD, GOOD | {"b": out}) == ([], ["b"])
    assert compared(GOOD, GOOD | {"b": out | {"reasons": []}})[0]
