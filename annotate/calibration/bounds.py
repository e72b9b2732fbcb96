"""Finite-sample tests and bounds of the error among kept rows, from a plain or a stratified sample. Pure.

The error is R = sum(w wrong) / sum(w) over kept rows; R <= alpha says that the mean of w (wrong - alpha) is
at most 0. In a simple random sample the number of errors is binomial and its tail is the exact p-value
(Clopper and Pearson, 1934; with a split sample this is the test of "Learn then Test", Angelopoulos et al.,
2021). In a stratified one that is wrong, and the p-value is 1 / the capital of who bets against "R > alpha"
on every row and never risks more than he has (Waudby-Smith and Ramdas, "Estimating means of bounded random
variables by betting", JRSS B 2024). His expected capital is at most 1 when R > alpha: rows of a stratum are
drawn without replacement, so the expected product of their factors is at most that of the same number of
independent ones (Maclaurin), and with weights N_h / n_h the product over the strata is at most 1 (means). By
Markov's inequality it exceeds 1 / p with probability at most p. Only the capital after the last row counts:
its largest value on the way would need independent draws.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

Floats = NDArray[np.float64]

GRID = 60
"""Bets that are tried when one is chosen on other data."""


def p_value(wrong: Floats, weights: Floats, alpha: float, bet: float, plain: bool) -> float:
    """p-value of "the error is above alpha", small when the kept rows speak against it; 1 without rows.

    `weights` are at most 1, that of the heaviest stratum, whether a row of it was kept or not. `bet` is the
    share of the largest allowed bet, in (0, 1], chosen without these rows. `plain` says that they are of a
    simple random sample; what the kept ones look like may not decide it.
    """
    if not len(wrong):
        return 1.0
    if plain:
        return float(binom.cdf(round(float(wrong.sum())), len(wrong), alpha))
    steps = np.log1p(-bet / (1 - alpha) * weights * (wrong - alpha) * (1 - 1e-9))
    return float(min(1.0, math.exp(-max(0.0, float(steps.sum())))))


def best_bet(wrong: Floats, weights: Floats, alpha: float) -> float:
    """The bet that would have grown fastest on these rows; a cautious half without any."""
    if not len(wrong):
        return 0.5
    stakes = weights * (wrong - alpha)
    bets = np.linspace(1 / GRID, 1 - 1 / GRID, GRID)
    growth = [float(np.log1p(-bet / (1 - alpha) * stakes).mean()) for bet in bets]
    return float(bets[int(np.argmax(growth))])


def upper_error(wrong: Floats, weights: Floats, delta: float, bet: float, plain: bool) -> float:
    """Least alpha that is rejected at level delta: the error is below it with confidence 1 - delta; 1 when
    the rows do not say."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if 0 < middle < 1 and p_value(wrong, weights, middle, bet, plain) <= delta:
            high = middle
        else:
            low = middle
    return high


def lower_error(wrong: Floats, weights: Floats, delta: float, bet: float, plain: bool) -> float:
    """The error is above this with confidence 1 - delta: the same bound for the share of right rows."""
    return 1.0 - upper_error(1.0 - wrong, weights, delta, bet, plain)
