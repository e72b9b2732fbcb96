"""FashionIQ: `captions/cap.{category}.{split}.json`, `image_splits/split.{category}.{split}.json`.

A record is `{target, candidate, captions: [c1, c2]}`; `candidate` is the reference; test has no `target`.
Records have no id of their own, so a triplet is named by its row, from 0, in its category's file:
`fashioniq/train/dress/000017`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from annotate.datasets.records import ImageName, Record, read_names, read_records, refuse_other_split
from annotate.datasets.roots import need_files
from schemas.triplet import Triplet

SPLITS = ("train", "val", "test")
DEFAULT_SPLIT = "train"
CATEGORIES = ("dress", "shirt", "toptee")


class Query(Record):
    """A test record."""

    candidate: ImageName
    captions: Annotated[list[str], Field(min_length=2, max_length=2)]
    target: ImageName | None = None


class Annotation(Query):
    """A train or val record."""

    target: ImageName


def annotation_files(split: str, root: Path, category: str | None) -> list[Path]:
    """The caption files, in the order of their triplets."""
    chosen = CATEGORIES if category is None else (category,)
    files = [root / "captions" / f"cap.{name}.{split}.json" for name in chosen]
    need_files("fashioniq", split, root, files)
    return files


def load_triplets(split: str, root: Path, category: str | None) -> list[Triplet]:
    """All triplets of a split (dress, shirt, toptee), dirt not yet marked."""
    triplets: list[Triplet] = []
    for path in annotation_files(split, root, category):
        name = path.name.split(".")[1]
        records = read_records(path, Query if split == "test" else Annotation)
        split_file = _split_file(split, root, name)
        if split_file.is_file():
            used = (image for record in records for image in (record.candidate, record.target) if image)
            refuse_other_split(path, split_file, used, read_names(split_file))
        triplets += (_triplet(record, row, split, name) for row, record in enumerate(records))
    return triplets


def load_gallery(split: str, root: Path, category: str | None) -> list[str]:
    """Distinct image names of the split file(s), in file order."""
    chosen = CATEGORIES if category is None else (category,)
    files = [_split_file(split, root, name) for name in chosen]
    need_files("fashioniq", split, root, files)
    return list(dict.fromkeys(name for path in files for name in read_names(path)))


def _split_file(split: str, root: Path, category: str) -> Path:
    return root / "image_splits" / f"split.{category}.{split}.json"


def _triplet(record: Query, row: int, split: str, category: str) -> Triplet:
    return Triplet(
        triplet_id=f"fashioniq/{split}/{category}/{row:06d}",
        dataset="fashioniq",
        split=split,
        category=category,
        native_id=str(row),
        reference=record.candidate,
        target=record.target,
        modifications=tuple(record.captions),
    )
