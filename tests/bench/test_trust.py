"""bench.trust counts broken promises on rows that did not calibrate."""

from __future__ import annotations

import numpy as np

from annotate.calibration.calibrate import Labelled
from bench.trust import resample


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
