"""Finite-sample tests and bounds of the error among kept rows, weighted or not. Pure.

The error is R = sum(w wrong) / sum(w) over kept rows; R <= alpha says that the mean of w (wrong - alpha) is
at most 0. With equal weights the number of errors is binomial and its tail is the exact p-value (Clopper and
Pearson, 1934; with a split sample this is the test of "Learn then Test", Angelopoulos et al., 2021). With
unequal weights that is wrong, and the p-value is that of a betting martingale (Waudby-Smith and Ramdas,
"Estimating means of bounded random variables by betting", JRSS B 2024), valid at any sample size by Ville's
inequality: who bets against "R > alpha" and never risks more than he has multiplies his capital by 1 / p with
probability at most p.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

Floats = NDArray[np.float64]

GRID = 60
"""Bets that are tried when one is chosen on other data."""


def p_value(wrong: Floats, weights: Floats, alpha: float, bet: float) -> float:
    """p-value of "the error is above alpha", small when the rows speak against it; 1 without rows.

    `bet` in (0, 1] is the share of the largest allowed bet; it must be chosen without these rows, whose order
    must be random. Equal weights need no bet.
    """
    if not len(wrong):
        return 1.0
    if _equal(weights):
        return float(binom.cdf(round(float(wrong.sum())), len(wrong), alpha))
    steps = np.log1p(-bet / (1 - alpha) * _stakes(wrong, weights, alpha) * (1 - 1e-9))
    return float(min(1.0, math.exp(-max(0.0, float(np.cumsum(steps).max())))))


def best_bet(wrong: Floats, weights: Floats, alpha: float) -> float:
    """The bet that would have grown fastest on these rows; a cautious half without any."""
    if not len(wrong):
        return 0.5
    stakes = _stakes(wrong, weights, alpha)
    bets = np.linspace(1 / GRID, 1 - 1 / GRID, GRID)
    growth = [float(np.log1p(-bet / (1 - alpha) * stakes).mean()) for bet in bets]
    return float(bets[int(np.argmax(growth))])


def upper_error(wrong: Floats, weights: Floats, delta: float, bet: float) -> float:
    """Least alpha that is rejected at level delta: the error is below it with confidence 1 - delta; 1 when
    the rows do not say."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if 0 < middle < 1 and p_value(wrong, weights, middle, bet) <= delta:
            high = middle
        else:
            low = middle
    return high


def lower_error(wrong: Floats, weights: Floats, delta: float, bet: float) -> float:
    """The error is above this with confidence 1 - delta: the same bound for the share of right rows."""
    return 1.0 - upper_error(1.0 - wrong, weights, delta, bet)


def labels_for(alpha: float, delta: float, error: float) -> int | None:
    """Kept labels after which a binomial test will likely promise alpha, if their share of errors stays
    `error`; None when that is not below alpha. 299 for .01 at 95 % without any error."""
    if error >= alpha:
        return None
    for errors in range(10_000):
        least = (
            math.ceil(math.log(delta) / math.log1p(-alpha)) if errors == 0 else _least(errors, alpha, delta)
        )
        if error * least <= errors:
            return least
    return None


def _least(errors: int, alpha: float, delta: float) -> int:
    """Smallest n with P(Bin(n, alpha) <= errors) <= delta."""
    low, high = errors, max(64, int(20 * (errors + 1) / alpha))
    while low < high:
        middle = (low + high) // 2
        if float(binom.cdf(errors, middle, alpha)) <= delta:
            high = middle
        else:
            low = middle + 1
    return low


def _stakes(wrong: Floats, weights: Floats, alpha: float) -> Floats:
    """w (wrong - alpha), scaled so that no weight exceeds 1."""
    return cast(Floats, weights / weights.max() * (wrong - alpha))


def _equal(weights: Floats) -> bool:
    return bool(np.ptp(weights) <= 1e-9 * weights.max())
