"""Candidate thresholds from labelled rows: a path from keeping all to keeping the surest. Pure.

Greedy: the cut that removes most wrong weight for the right weight it costs is made first. When no wrong row
is left, further points keep smaller and smaller shares of the right rows: wrong rows that these labels lack
may lie there. Chosen on one part of the labels and tested on another, so nothing here has to be exact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from annotate.calibration.bounds import Floats

CUTS = 24
"""Cuts that are tried of one score."""
STEPS = 120
SURER = (0.99, 0.97, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
"""Shares of the right rows that the strictest points keep."""


def threshold_path(scores: Floats, wrong: Floats, weights: Floats) -> list[Floats]:
    """Thresholds a score (columns of `scores`, unmeasured ones below 0), loosest first."""
    least = np.zeros(scores.shape[1])
    path = [least.copy()]
    kept = keeps(scores, least)
    for _ in range(STEPS):
        if not (wrong[kept] > 0).any():
            break
        found = _best_cut(scores, wrong, weights, kept)
        if found is None:
            break
        column, value = found
        least[column] = value
        kept = keeps(scores, least)
        path.append(least.copy())
    return path + _stricter(scores[kept & (wrong == 0)], least)


def keeps(scores: Floats, least: Floats) -> NDArray[np.bool_]:
    """Rows all of whose scores reach their thresholds."""
    reached: NDArray[np.bool_] = np.all(scores >= least, axis=1)
    return reached


def _best_cut(
    scores: Floats, wrong: Floats, weights: Floats, kept: NDArray[np.bool_]
) -> tuple[int, float] | None:
    """The score and its new threshold; halfway between the last row removed and the next one kept, so that it
    fits neither too closely."""
    best, chosen = 0.0, None
    unit = float(weights[kept].mean())
    for column in range(scores.shape[1]):
        values = scores[kept, column]
        bad = np.unique(values[wrong[kept] > 0])
        for value in bad[np.linspace(0, len(bad) - 1, min(CUTS, len(bad))).astype(int)]:
            removed = values <= value
            if removed.all():
                continue
            spoilt = float((weights[kept] * wrong[kept])[removed].sum())
            cost = float((weights[kept] * (1 - wrong[kept]))[removed].sum())
            worth = spoilt / (cost + unit)
            if worth > best:
                following = float(values[~removed].min())
                best, chosen = worth, (column, round((float(value) + following) / 2, 6))
                if not value < chosen[1] <= following:
                    chosen = (column, following)
    return chosen


def _stricter(right: Floats, least: Floats) -> list[Floats]:
    """Every threshold raised together until about a given share of the right rows is left."""
    if not len(right):
        return []
    points = []
    lowest = _lowest_rank(right)
    for share in SURER:
        surest = right[lowest >= np.quantile(lowest, 1 - share)]
        points.append(np.maximum(least, np.round(surest.min(axis=0) - 5e-7, 6)))
    return points


def _lowest_rank(right: Floats) -> Floats:
    """Of each row the least share, over the scores, of rows that it equals or exceeds."""
    ranks = np.empty_like(right)
    for column in range(right.shape[1]):
        ordered = np.sort(right[:, column])
        ranks[:, column] = np.searchsorted(ordered, right[:, column], side="right") / len(right)
    lowest: Floats = ranks.min(axis=1)
    return lowest
