"""The tests behind a promise: exact where labels are equal, valid where weighted, honest when few."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from annotate.calibration.bounds import best_bet, lower_error, p_value, upper_error


def labels(errors: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    wrong = np.zeros(rows)
    wrong[:errors] = 1.0
    return wrong, np.ones(rows)


def test_a_promise_of_99_percent_needs_299_kept_labels_without_an_error() -> None:
    assert p_value(*labels(0, 298), 0.01, 0.5, True) > 0.05 >= p_value(*labels(0, 299), 0.01, 0.5, True)


@pytest.mark.parametrize(("errors", "rows"), [(0, 100), (3, 200), (20, 400)])
def test_in_a_simple_random_sample_the_bounds_are_those_of_clopper_and_pearson(
    errors: int, rows: int
) -> None:
    wrong, weights = labels(errors, rows)
    assert upper_error(wrong, weights, 0.05, 0.5, True) == pytest.approx(
        beta.ppf(0.95, errors + 1, rows - errors), abs=1e-9
    )
    expected = beta.ppf(0.05, errors, rows - errors + 1) if errors else 0.0
    assert lower_error(wrong, weights, 0.05, 0.5, True) == pytest.approx(expected, abs=1e-9)


def stratified(
    rng: np.random.Generator, rows: int, rates: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Draws of a population half of which is a stratum that is drawn four times as often as the other."""
    second = rng.permutation(rows) < rows // 5
    wrong = rng.random(rows) < np.where(second, rates[1], rates[0])
    return wrong.astype(float), np.where(second, 1.0, 0.25)


def test_with_weights_a_false_promise_is_rare_where_the_binomial_one_would_be_common() -> None:
    rng = np.random.default_rng(4)
    rates, alpha = (0.02, 0.08), 0.05  # the error is exactly alpha: every promise is a false one
    betting = ignoring = 0
    for _ in range(400):
        wrong, weights = stratified(rng, 500, rates)
        bet = best_bet(*stratified(rng, 250, rates), alpha)
        betting += p_value(wrong, weights, alpha, bet, False) <= 0.05
        ignoring += p_value(wrong, weights, alpha, bet, True) <= 0.05
    assert betting <= 0.05 * 400 + 3 * np.sqrt(400 * 0.05 * 0.95)
    assert ignoring > 0.3 * 400


def test_with_weights_a_true_promise_is_made_from_enough_labels() -> None:
    rng = np.random.default_rng(5)
    wrong, weights = stratified(rng, 1_500, (0.002, 0.002))
    bet = best_bet(*stratified(rng, 500, (0.002, 0.002)), 0.02)
    assert p_value(wrong, weights, 0.02, bet, False) <= 0.05


def test_a_heavy_stratum_that_happens_not_to_be_kept_is_no_reason_to_bet_more() -> None:
    """Rows of it may be kept that were not drawn: of light rows alone no count of errors is binomial."""
    light = np.full(299, 0.25)
    assert p_value(np.zeros(299), light, 0.01, 0.9, False) > 0.05
    assert p_value(np.zeros(299), np.ones(299), 0.01, 0.9, True) <= 0.05


def test_no_rows_promise_nothing() -> None:
    empty = np.zeros(0)
    for plain in (True, False):
        assert p_value(empty, empty, 0.01, 0.5, plain) == 1.0
        assert upper_error(empty, empty, 0.05, 0.5, plain) == 1.0
        assert lower_error(empty, empty, 0.05, 0.5, plain) == 0.0
