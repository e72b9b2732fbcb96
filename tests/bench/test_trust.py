"""bench.trust counts broken promises on rows that did not calibrate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from annotate.calibration.calibrate import Labelled
from annotate.errors import UsageError
from bench.trust import leaks, main, resample, stratified
from tests.tables.rows import make_row


def rows(count: int, wrong_share: float, telling: bool) -> Labelled:
    """Rows with one score that tells right from wrong, or nothing."""
    draws = np.random.default_rng(5)
    wrong = (draws.random(count) < wrong_share).astype(np.float64)
    score = draws.random(count)
    score = np.where(wrong > 0, score * 0.4, 0.6 + score * 0.4) if telling else score
    return Labelled(("p_edits",), score[:, None], wrong, np.ones(count))


def test_a_score_that_tells_right_from_wrong_is_certified_and_keeps_its_promise() -> None:
    said = resample(rows(3000, 0.2, telling=True), 0.99, 1000, 5)
    assert said.startswith("5 of 5 calibrations on 1000 rows certified 0.99")
    assert "on the other 2000 rows 0 erred more than promised" in said


def test_a_score_that_tells_nothing_is_certified_for_nothing() -> None:
    assert resample(rows(2000, 0.2, telling=False), 0.99, 1000, 5).startswith("0 of 5")


def untold(accepted: int, rejected: int, right: bool) -> Labelled:
    """No score tells anything; all rows of a kind are equal: the accepted right, the rejected as said."""
    wrong = np.repeat([0.0, 0.0 if right else 1.0], [accepted, rejected])
    plain = Labelled(("a",), np.ones((accepted + rejected, 1)), wrong, np.ones(accepted + rejected))
    return stratified(plain, [True] * accepted + [False] * rejected)


def test_a_stratified_draw_is_weighed_by_its_strata_and_so_are_the_rows_it_is_measured_on() -> None:
    """3,000 of 10,000 rows are wrong, and 540 of a draw of 1,800: all are kept, or nothing is certified."""
    assert resample(untold(7_000, 3_000, right=False), 0.69, 1_800, 3).startswith("0 of 3")
    said = resample(untold(9_000, 1_000, right=False), 0.85, 1_800, 3)  # 30 % of the labels are wrong
    assert said.startswith("3 of 3 calibrations on 1800 rows certified 0.85")
    assert "on the other 8200 rows 0 erred more than promised (mean error 10.00 %, most 10.00 %)" in said
    assert said.endswith("100.0 % of rows kept")


def test_a_draw_that_uses_a_kind_up_measures_nothing() -> None:
    with pytest.raises(UsageError, match="leaves none of a kind"):
        resample(untold(900, 100, right=True), 0.9, 600, 1)


def test_leaks_are_counted_by_row_and_by_claim_of_the_conclusion() -> None:
    found = [
        make_row(1, conclusion_claims=("red ball", "a star"), leak_claims=("a star",)),
        make_row(2, conclusion_claims=("red ball", "a moon"), leak_claims=("of the rationale",)),
        make_row(3, conclusion_claims=("red ball",), leak_claims=()),
    ]
    said = leaks(found)
    assert said.startswith("2 of 3 rows have a claim or phrase that leaks (66.7 %), 1 of 5 claims")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "nothing: "),
        (["--precision", "1"], "precision 1 cannot be promised"),
        (["--precision", "nan"], "precision nan cannot be promised"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    flags: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "--truth", str(tmp_path / "nothing"), *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line
