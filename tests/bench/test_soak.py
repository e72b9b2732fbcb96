"""`make soak` in small: rows are neither lost nor wrong under faults; and the comparison can fail."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from bench.driving import NotRun, finish, one_line
from bench.soak import compared, lost_to_quarantine, main


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


@pytest.mark.parametrize(("quarantined", "triplets"), [(0, 5_000), (12, 5_000), (50, 5_000), (3, 150)])
def test_few_rows_may_be_quarantined(quarantined: int, triplets: int) -> None:
    assert lost_to_quarantine(quarantined, triplets) == []


@pytest.mark.parametrize(("quarantined", "triplets"), [(51, 5_000), (5_000, 5_000), (4, 150)])
def test_a_run_that_gives_its_rows_up_is_wrong(quarantined: int, triplets: int) -> None:
    assert lost_to_quarantine(quarantined, triplets) == [
        f"{quarantined} of {triplets} rows are quarantined for faults, more than 1%"
    ]


FAILING = [sys.executable, "-c", "print('first'); raise SystemExit('error: it\\nends here')"]


def test_a_run_that_fails_is_named_with_its_status_its_last_line_and_its_log(tmp_path: Path) -> None:
    with pytest.raises(NotRun, match=r"ended with status 1: ends here \(all of it: .*run\.log\)"):
        finish(FAILING, tmp_path / "run.log")


def test_a_soak_whose_run_fails_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.soak.run_command", lambda *_, **__: FAILING)
    assert main(["--triplets", "2", "--work", str(tmp_path / "soak")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "status 1" in line


def test_ctrl_c_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def stopped() -> int:
        raise KeyboardInterrupt

    assert one_line(stopped) == 1
    assert capsys.readouterr().err == "stopped\n"
