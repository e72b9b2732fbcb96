from __future__ import annotations

import numpy as np
import pytest

from annotate.errors import UsageError
from retrieval.bootstrap import paired_difference


def test_the_interval_of_paired_differences_matches_the_normal_one_and_is_narrower_than_unpaired() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(1000)
    theirs = [(rng.random(1000) > hard).astype(float)]
    ours = [np.maximum(theirs[0], rng.random(1000) < 0.1)]
    found = paired_difference(ours, theirs)
    gains = ours[0] - theirs[0]
    half = 1.96 * gains.std() / np.sqrt(1000)
    assert found.mean == pytest.approx(gains.mean())
    assert (found.low, found.high) == pytest.approx((gains.mean() - half, gains.mean() + half), abs=0.003)
    unpaired = 1.96 * np.sqrt((ours[0].var() + theirs[0].var()) / 1000)
    assert found.high - found.low < unpaired, "half as wide as one of other queries for each"
    assert found.clear and found == paired_difference(ours, theirs)


def test_equal_models_are_not_told_apart_and_seeds_are_pooled_per_query() -> None:
    rng = np.random.default_rng(1)
    one, two = (rng.integers(0, 2, 400).astype(float) for _ in range(2))
    assert not paired_difference([one], [one[::-1]]).clear
    pooled = paired_difference([one, two], [two, one])
    assert (pooled.mean, pooled.low, pooled.high) == (0, 0, 0)


def test_different_queries_cannot_be_compared() -> None:
    with pytest.raises(UsageError, match="only results on the same queries"):
        paired_difference([np.zeros(3)], [np.zeros(4)])
