"""Paired bootstrap over queries: is one model better than another on the same questions?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annotate.errors import UsageError

RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean difference and its 95 % interval; `clear` when the interval excludes 0."""

    mean: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def paired_difference(
    ours: Sequence[NDArray[np.float64]], theirs: Sequence[NDArray[np.float64]], seed: int = 0
) -> Difference:
    """95 % percentile interval of mean(ours - theirs), queries resampled, seeds pooled (averaged per query).

    Each is a list over training seeds of per-query values [n_queries] of the same queries in the same order.
    """
    if len({each.shape for each in (*ours, *theirs)}) != 1:
        raise UsageError("only results on the same queries can be compared query by query")
    gains = np.mean(ours, axis=0) - np.mean(theirs, axis=0)
    gains = gains[~np.isnan(gains)]
    rng = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for index in range(RESAMPLES):
        means[index] = gains[rng.integers(0, len(gains), len(gains))].mean()
    low, high = np.percentile(means, [2.5, 97.5])
    return Difference(float(gains.mean()), float(low), float(high))
