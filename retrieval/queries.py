"""FashionIQ's caption modes as query expansion, and its two galleries: what is asked, of which images.

Two captions a triplet, five published ways to ask them: one query a text, or the mean of two, or two queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from annotate.errors import InputError, UsageError
from schemas.triplet import CaptionMode, Triplet

QueryMode = Literal["and", "clip4cir", "searle", "cosmo", "val"]
GalleryMode = Literal["original", "val_union"]
CircoText = Literal["relative", "concept+relative"]

# Outer tuple: queries of a triplet, each a row of scores. Inner: texts whose unit embeddings are averaged.
EXPANSIONS: dict[QueryMode, tuple[tuple[CaptionMode, ...], ...]] = {
    "and": (("and",),),  # FashionIQ starter kit
    "clip4cir": (("clip4cir",),),  # CLIP4Cir
    "searle": (("clip4cir", "reversed"),),  # SEARLE: both orders averaged
    "cosmo": (("clip4cir",), ("reversed",)),  # CoSMo: each order a query
    "val": (("first",), ("second",)),  # VAL: each caption a query
}


@dataclass(frozen=True, slots=True)
class Query:
    """One row of scores: the triplet and the ways its captions are joined (several: embeddings averaged)."""

    triplet: Triplet
    joins: tuple[CaptionMode, ...]


def rows_per_triplet(caption_mode: QueryMode) -> int:
    """How many rows of scores a triplet has: 2 when each caption or order is a query of its own, else 1."""
    if caption_mode not in EXPANSIONS:
        raise UsageError(f"caption mode {caption_mode!r} is unknown; use one of {', '.join(EXPANSIONS)}")
    return len(EXPANSIONS[caption_mode])


def expand(triplets: Sequence[Triplet], caption_mode: QueryMode) -> tuple[Query, ...]:
    """The queries of `triplets` in the order in which `fashioniq_recall` expects rows: triplet by triplet."""
    rows_per_triplet(caption_mode)
    return tuple(Query(triplet, joins) for triplet in triplets for joins in EXPANSIONS[caption_mode])


def fashioniq_gallery(
    names: Sequence[str], triplets: Sequence[Triplet], mode: GalleryMode
) -> tuple[str, ...]:
    """The gallery of a category: `names` of the split file, or only those that the captions use, in that
    order.

    Raises `InputError` when a reference or target is not in the split file.
    """
    if mode not in get_args(GalleryMode):
        raise UsageError(f"gallery {mode!r} is unknown; use original or val_union")
    used = {name: t.triplet_id for t in triplets for name in (t.reference, t.target) if name is not None}
    known = set(names)
    for name, triplet_id in used.items():
        if name not in known:
            raise InputError(
                f"image {name} of {triplet_id} is not in the split file; check that both are of one split"
            )
    return tuple(names) if mode == "original" else tuple(name for name in names if name in used)
