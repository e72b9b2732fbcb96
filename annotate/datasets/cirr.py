"""CIRR rc2: `captions/cap.rc2.{split}.json`, `image_splits/split.rc2.{split}.json` (image name -> path).

A record is `{pairid, reference, target_hard, target_soft: {name: weight}, caption, img_set: {id, members,
…}}`; test1 has no targets. `target_soft` is no list of positives: weights of -1 occur, and the reference
itself. A train file without `img_set` (`cap.rc2.train.partial.json`, in circulation) is read when the
official one is absent; its subsets are unknown.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field

from annotate.datasets.records import (
    ImageName,
    Record,
    RecordId,
    read_name_map,
    read_records,
    refuse_other_split,
)
from annotate.datasets.roots import need_files
from annotate.errors import InputError
from schemas.triplet import Triplet

SPLITS = ("train", "val", "test1")
DEFAULT_SPLIT = "train"

# Official image names say which split they belong to.
_OFFICIAL_NAME = re.compile(r"(train|dev|test1)-\d+-\d+-img\d+")
_PREFIX = {"train": "train", "val": "dev", "test1": "test1"}


class ImageSet(Record):
    """The subset of look-alikes; the record's two ranks are no indices into `members` and are not read."""

    members: Annotated[list[ImageName], Field(min_length=2, max_length=100)]


class Query(Record):
    """A test1 record."""

    pairid: RecordId
    reference: ImageName
    caption: str
    img_set: ImageSet
    target_hard: ImageName | None = None
    target_soft: dict[ImageName, float] = Field(default_factory=dict)


class Annotation(Query):
    """A train or val record."""

    target_hard: ImageName
    target_soft: dict[ImageName, float]


class PartialAnnotation(Annotation):
    """A record of the partial train file."""

    img_set: ImageSet | None = None  # type: ignore[assignment]  # the partial file may lack it
    target_soft: dict[ImageName, float] = Field(default_factory=dict)


def base(root: Path) -> Path:
    """Where the annotations lie: in `root`, or in `root`/cirr beside the folders of pictures, as CLIP4Cir and
    what descends from it want them."""
    nested = root / "cirr"
    return nested if (nested / "captions").is_dir() and not (root / "captions").is_dir() else root


def annotation_files(split: str, root: Path, category: str | None = None) -> list[Path]:
    """The one caption file of the split."""
    captions = base(root) / "captions"
    official = captions / f"cap.rc2.{split}.json"
    partial = captions / f"cap.rc2.{split}.partial.json"
    path = partial if partial.is_file() and not official.is_file() else official
    need_files("cirr", split, root, [path])
    return [path]


def load_triplets(split: str, root: Path, category: str | None = None) -> list[Triplet]:
    """All triplets of a split, dirt not yet marked."""
    (path,) = annotation_files(split, root)
    model: type[Query] = Query if split == "test1" else Annotation
    if path.name.endswith(".partial.json"):
        model = PartialAnnotation
    records = read_records(path, model, "pairid")
    _refuse_other_prefix(path, split, records)
    split_file = _split_file(split, root)
    if split_file.is_file():
        used = (image for record in records for image in (record.reference, record.target_hard) if image)
        refuse_other_split(path, split_file, used, read_name_map(split_file))
    return [_triplet(record, split) for record in records]


def load_gallery(split: str, root: Path, category: str | None = None) -> list[str]:
    """All image names of the split, in file order."""
    return list(image_paths(split, root))


def image_paths(split: str, root: Path) -> dict[str, str]:
    """Image name -> path below the image root, of the split file (`./train/34/….png`), `./` stripped."""
    path = _split_file(split, root)
    need_files("cirr", split, root, [path])
    return read_name_map(path)


def _split_file(split: str, root: Path) -> Path:
    return base(root) / "image_splits" / f"split.rc2.{split}.json"


def _refuse_other_prefix(path: Path, split: str, records: list[Query]) -> None:
    for index, record in enumerate(records):
        match = _OFFICIAL_NAME.fullmatch(record.reference)
        if match and match[1] != _PREFIX[split]:
            raise InputError(
                f"{path}: record {index} (pairid {record.pairid}) has reference {record.reference}, "
                f"an image of another split than {split}; put the annotation file of {split} in its place"
            )


def _triplet(record: Query, split: str) -> Triplet:
    known = (record.reference, record.target_hard)
    return Triplet(
        triplet_id=f"cirr/{split}/{record.pairid}",
        dataset="cirr",
        split=split,
        native_id=str(record.pairid),
        reference=record.reference,
        target=record.target_hard,
        modifications=(record.caption,),
        subset=tuple(record.img_set.members) if record.img_set else (),
        positives=tuple(n for n, weight in record.target_soft.items() if weight > 0 and n not in known),
    )
