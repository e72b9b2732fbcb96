"""A score's distribution as bars for an inline SVG: plain numbers, drawn by the template."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

BINS = 20
WIDTH, HEIGHT = 640, 150
GAP = 2.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One bin: its place in SVG units, the rows in it, and whether most of them lie below the threshold."""

    x: float
    y: float
    width: float
    height: float
    low: float
    high: float
    rows: int
    below: bool


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bars over 0..1 of a score; heights grow with the square root, so that rare values stay visible."""

    name: str
    meaning: str
    bars: tuple[Bar, ...]
    rows: int
    threshold: float | None
    threshold_x: float | None
    rows_below: int


def histogram(name: str, meaning: str, values: Sequence[float], threshold: float | None) -> Histogram:
    """Counts of `values` (each in 0..1) in `BINS` equal bins, the last one closed. `rows_below` is exact."""
    counts, below = [0] * BINS, [0] * BINS
    for value in values:
        place = min(max(int(value * BINS), 0), BINS - 1)
        counts[place] += 1
        below[place] += threshold is not None and value < threshold
    highest = max(counts)
    step = WIDTH / BINS
    bars = []
    for index, rows in enumerate(counts):
        height = HEIGHT * math.sqrt(rows / highest) if highest else 0.0
        bars.append(
            Bar(
                x=round(index * step + GAP / 2, 2),
                y=round(HEIGHT - height, 2),
                width=round(step - GAP, 2),
                height=round(height, 2),
                low=index / BINS,
                high=(index + 1) / BINS,
                rows=rows,
                below=2 * below[index] > rows,
            )
        )
    return Histogram(
        name=name,
        meaning=meaning,
        bars=tuple(bars),
        rows=len(values),
        threshold=threshold,
        threshold_x=None if threshold is None else round(threshold * WIDTH, 2),
        rows_below=sum(below),
    )
