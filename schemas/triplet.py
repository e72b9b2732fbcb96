"""A composed-image-retrieval triplet, the same for FashionIQ, CIRR and CIRCO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Dataset = Literal["fashioniq", "cirr", "circo"]
DATASETS: tuple[Dataset, ...] = ("fashioniq", "cirr", "circo")

CaptionMode = Literal["and", "clip4cir", "reversed", "first", "second"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Triplet:
    """One query of a dataset, as its annotation file has it; names of images, never pixels.

    `modifications` are the texts as in the file (two for FashionIQ, else one); `annotate.datasets.captions`
    joins them. `problem` is a quarantine code found while reading (docs/dirt.md), or None; `notes` are
    harmless oddities. `positives` are further true targets that a trainer masks (CIRR `target_soft` > 0,
    CIRCO's ground truths; never reference or target). `subset` are CIRR's six members, these two included.
    """

    triplet_id: str
    dataset: Dataset
    split: str
    native_id: str
    reference: str
    target: str | None
    modifications: tuple[str, ...]
    category: str | None = None
    subset: tuple[str, ...] = ()
    positives: tuple[str, ...] = ()
    shared_concept: str | None = None
    semantic_aspects: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str | None = None
