"""A stratified random sample of rows to label: more of the accepted. Pure.

How many rows of each stratum are drawn is decided up front: its share, or all of it where it has fewer. Which
ones, and in which order, is a random permutation of the stratum, and the strata are interleaved at random. So
the first rows that somebody labels of a stratum are a simple random sample of it, wherever he stops, and each
stands for (rows of the stratum / labelled ones of it) rows: a weight that is known when labels are counted,
and not before.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

ACCEPTED, REJECTED = "accepted", "rejected"
SHARE = 0.7
"""Of the accepted: the promise is about them; thresholds that accept more need some of the others."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A row to label, and its stratum."""

    triplet_id: str
    stratum: str


def draw_rows(accepted: Sequence[str], rejected: Sequence[str], count: int, seed: int) -> list[Drawn]:
    """`count` rows in random order, or all where there are fewer. Deterministic in its arguments, whatever
    the order of the ids; a larger draw with the same seed holds every row of a smaller one."""
    numbers = draw_numbers(len(accepted), len(rejected), count)
    slots = [name for name, number in numbers.items() for _ in range(number)]
    random.Random(f"{seed}-strata").shuffle(slots)
    permuted = {
        name: iter(sorted(ids, key=lambda one: _order(seed, one)))
        for name, ids in ((ACCEPTED, accepted), (REJECTED, rejected))
    }
    return [Drawn(next(permuted[name]), name) for name in slots]


def draw_numbers(accepted: int, rejected: int, count: int) -> dict[str, int]:
    """How many rows of each stratum a draw of `count` has; what one lacks of its share the other gives."""
    count = min(count, accepted + rejected)
    first = min(accepted, max(round(SHARE * count), count - rejected))
    return {ACCEPTED: first, REJECTED: count - first}


def _order(seed: int, triplet_id: str) -> str:
    return hashlib.sha256(f"{seed}/{triplet_id}".encode("utf-8", "replace")).hexdigest()
