"""A stratified random sample of rows to label: more of the accepted, with weights that undo it. Pure.

Each draw picks a stratum by its share and then a row of it, so draws are independent and the weight
(rows of the stratum / all rows) / share makes weighted means unbiased; rows are not drawn twice. A draw ends
where a stratum has run dry: more rows of the other would break the shares that the weights undo, and certify
what is not so. Only a draw of all rows goes on; it has equal weights.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SHARES: Mapping[str, float] = {"accepted": 0.7, "rejected": 0.3}
"""Of draws: the promise is about the accepted rows; thresholds that accept more need some of the others."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A row to label, its stratum and its weight."""

    triplet_id: str
    stratum: str
    weight: float


def draw_rows(strata: Mapping[str, Sequence[str]], count: int, seed: int) -> list[Drawn]:
    """Up to `count` rows in random order, fewer where a stratum runs dry; all rows, each of weight 1, where
    `count` reaches them. Otherwise the first n of a larger draw are the draw of n. Deterministic in its
    arguments, whatever the order of the ids."""
    there = {name: sorted(ids, key=lambda one: _order(seed, one)) for name, ids in strata.items() if ids}
    total = sum(map(len, there.values()))
    shares = {name: SHARES[name] for name in sorted(there)}
    scale = sum(shares.values())
    rng = random.Random(f"{seed}-strata")
    drawn: list[Drawn] = []
    taken = dict.fromkeys(shares, 0)
    while len(drawn) < min(count, total):
        stratum = rng.choices(list(shares), weights=list(shares.values()))[0]
        if taken[stratum] < len(there[stratum]):
            share = shares[stratum] / scale
            weight = 1.0 if count >= total else round(len(there[stratum]) / total / share, 9)
            drawn.append(Drawn(there[stratum][taken[stratum]], stratum, weight))
            taken[stratum] += 1
        elif count < total:
            break
    return drawn


def _order(seed: int, triplet_id: str) -> str:
    return hashlib.sha256(f"{seed}/{triplet_id}".encode("utf-8", "replace")).hexdigest()
