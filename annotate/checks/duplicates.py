"""Near-equal triplets, and triplets whose images are evaluated on elsewhere. From names and texts alone.

Detects: the same pair of images asked for in nearly the same words (`near_repeat`), and a reference or target
of another split (`target_in_val`, `reference_in_test1`, ...): contamination. Both are notes and never reject
a row by default: published numbers train on those rows. Cannot detect: one picture under two names. Gallery
images that fit a conclusion as well are found by `hard_negatives` (`also_matches`). Source: FashionIQ shares
811 images between train and val when its categories are pooled (counted on the files).
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from annotate.checks.words import words
from schemas.triplet import Triplet

NEAR = 0.8
"""Least Jaccard share of words of two texts that ask for nearly the same."""
LOOKED_BACK = 64
"""Earlier texts of a pair that are compared: the real datasets have a few a pair, and a file that asks a
hundred thousand times about one pair must not take hours."""


_CONTAMINATION = re.compile(r"(reference|target)_in_\w+")


def is_contamination(note: str) -> bool:
    """Whether a note says that an evaluated split has the reference or target, too."""
    return _CONTAMINATION.fullmatch(note) is not None


def with_notes(triplets: Sequence[Triplet], images: Mapping[str, Collection[str]]) -> list[Triplet]:
    """The same triplets in the same order, with what is found here added to `notes`. `images` are those of
    further splits, by the split's name."""
    near = near_repeats(triplets)
    noted = []
    for triplet in triplets:
        found = ["near_repeat"] if triplet.triplet_id in near else []
        for role, name in (("reference", triplet.reference), ("target", triplet.target)):
            found += [f"{role}_in_{split}" for split, names in sorted(images.items()) if name in names]
        noted.append(replace(triplet, notes=(*triplet.notes, *found)) if found else triplet)
    return noted


def near_repeats(triplets: Iterable[Triplet]) -> frozenset[str]:
    """Ids of triplets that ask for an earlier pair of images in nearly the same words as one of the last
    `LOOKED_BACK` of them."""
    earlier: dict[tuple[str | None, str, str | None], deque[frozenset[str]]] = defaultdict(
        lambda: deque(maxlen=LOOKED_BACK)
    )
    found = set()
    for triplet in triplets:
        if triplet.problem is not None:
            continue
        asked = words(" ".join(triplet.modifications))
        same_pair = earlier[(triplet.category, triplet.reference, triplet.target)]
        if any(_jaccard(asked, other) >= NEAR for other in same_pair):
            found.add(triplet.triplet_id)
        same_pair.append(asked)
    return frozenset(found)


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0
