"""Chosen thresholds keep their promise on unseen rows, keep most right ones, and say when labels are few."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from annotate.calibration.calibrate import Labelled, as_thresholds, choose_thresholds, curve, labelled
from annotate.calibration.path import keeps, threshold_path

NAMES = ("a", "b", "c", "d")


def population(rows: int, seed: int, blind: float = 0.01) -> Labelled:
    """Three of four rows are right; each wrong one has one low score, save for a share that no score sees."""
    rng = np.random.default_rng(seed)
    wrong = (rng.random(rows) < 0.25).astype(float)
    scores = 1 - rng.beta(1, 25, (rows, len(NAMES)))
    seen = (wrong > 0) & (rng.random(rows) >= blind)
    scores[seen, rng.integers(0, len(NAMES), int(seen.sum()))] = rng.beta(1, 6, int(seen.sum()))
    return Labelled(NAMES, scores, wrong, np.ones(rows))


ALL = population(24_000, 1)


def sample(seed: int, rows: int) -> Labelled:
    return ALL.part(np.random.default_rng(seed).choice(12_000, rows, replace=False))


def unseen(thresholds: dict[str, float]) -> tuple[float, float]:
    """Error among the kept and share of right rows kept, on the half that is never labelled."""
    rest = ALL.part(np.arange(12_000, 24_000))
    kept = keeps(rest.scores, np.array([thresholds.get(name, 0.0) for name in NAMES]))
    return float(rest.wrong[kept].mean()), float((kept & (rest.wrong == 0)).sum() / (rest.wrong == 0).sum())


@pytest.mark.slow
def test_the_error_on_unseen_rows_is_within_the_promise_in_95_percent_of_resamples() -> None:
    broken, kept, promised = 0, [], 0
    for seed in range(40):
        choice = choose_thresholds(sample(seed, 500), 0.98, seed)
        if choice.certified:
            error, share = unseen(dict(choice.thresholds))
            promised += 1
            broken += error > 0.02
            kept.append(share)
    assert broken <= 0.05 * 40 + 2
    assert promised >= 20 and float(np.mean(kept)) >= 0.9


def test_one_choice_keeps_its_promise_and_most_right_rows() -> None:
    choice = choose_thresholds(sample(3, 1_500), 0.98)
    error, share = unseen(dict(choice.thresholds))
    assert choice.certified and choice.needed is None
    assert error <= 0.02 and share >= 0.9
    assert choice.low >= 0.98 and choice.low <= choice.estimate <= choice.high


def test_too_few_labels_say_how_many_more_are_needed() -> None:
    choice = choose_thresholds(sample(1, 120), 0.99)
    assert not choice.certified
    assert choice.needed is None or choice.needed > 299


def test_errors_that_no_score_tells_are_not_promised_away() -> None:
    hopeless = population(1_000, 7, blind=0.9)
    choice = choose_thresholds(hopeless, 0.99)
    assert (choice.certified, choice.needed) == (False, None)


def test_the_path_goes_from_keeping_all_to_keeping_the_surest() -> None:
    data = sample(2, 400)
    path = threshold_path(data.scores, data.wrong, data.weights)
    kept = [keeps(data.scores, least) for least in path]
    assert kept[0].all()
    for looser, stricter in pairwise(kept):
        assert (looser | ~stricter).all(), "a row once lost does not come back"
    points = curve(data)
    assert points[0][1] == 1.0 and points[0][2] == pytest.approx(data.wrong.mean())
    assert points[-1][2] <= points[0][2]


def test_an_unmeasured_score_reaches_no_threshold_and_zero_means_measured() -> None:
    data = labelled([({"a": 0.5, "b": None}, True, 1.0), ({"a": 0.9, "b": 0.2}, False, 2.0)], ("a", "b"))
    assert data.scores.tolist() == [[0.5, -1.0], [0.9, 0.2]]
    assert keeps(data.scores, np.zeros(2)).tolist() == [False, True]
    assert as_thresholds(("a", "b"), np.array([0.0, 0.5])) == {"a": 0.0, "b": 0.5}


def test_the_choice_depends_on_labels_and_seed_alone() -> None:
    data = sample(4, 600)
    assert choose_thresholds(data, 0.97, 1) == choose_thresholds(data, 0.97, 1)
