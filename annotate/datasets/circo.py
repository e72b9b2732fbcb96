"""CIRCO: `annotations/{val,test}.json` over COCO's unlabeled2017 images.

A record is `{reference_img_id, target_img_id, relative_caption, shared_concept, gt_img_ids, id,
semantic_aspects}`; test lacks `target_img_id`, `gt_img_ids` and `semantic_aspects`. An image is named by its
id in 12 digits, as COCO names it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from annotate.datasets.records import Record, RecordId, read_records
from annotate.datasets.roots import need_files
from annotate.errors import InputError
from schemas.triplet import Triplet

SPLITS = ("val", "test")
DEFAULT_SPLIT = "val"
IMAGE_INFO = "image_info_unlabeled2017.json"
IMAGE_FOLDER = "COCO2017_unlabeled"

ImageId = Annotated[int, Field(ge=0, lt=10**12)]


class Query(Record):
    """A test record."""

    id: RecordId
    reference_img_id: ImageId
    relative_caption: str
    shared_concept: str
    target_img_id: ImageId | None = None
    gt_img_ids: list[ImageId] = Field(default_factory=list)
    semantic_aspects: list[str] = Field(default_factory=list)


class Annotation(Query):
    """A val record."""

    target_img_id: ImageId
    gt_img_ids: Annotated[list[ImageId], Field(min_length=1)]
    semantic_aspects: list[str]


class ImageFacts(Record):
    """One image of COCO's `image_info` file."""

    id: ImageId


def annotation_files(split: str, root: Path, category: str | None = None) -> list[Path]:
    """The one annotation file of the split."""
    path = root / "annotations" / f"{split}.json"
    need_files("circo", split, root, [path])
    return [path]


def load_triplets(split: str, root: Path, category: str | None = None) -> list[Triplet]:
    """All triplets of a split, dirt not yet marked."""
    (path,) = annotation_files(split, root)
    records = read_records(path, Query if split == "test" else Annotation, "id")
    if split == "test" and records[0].target_img_id is not None:
        raise InputError(
            f"{path}: record 0 (id {records[0].id}) has a target, so it is the file of split val; "
            f"put the annotation file of test in its place"
        )
    return [_triplet(record, split) for record in records]


def load_gallery(split: str, root: Path, category: str | None = None) -> list[str]:
    """All 123,403 images of COCO unlabeled2017, which both splits search, in the order of image_info."""
    candidates = [
        root / IMAGE_FOLDER / "annotations" / IMAGE_INFO,
        root / "annotations" / IMAGE_INFO,
        root / IMAGE_INFO,
    ]
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        annotation_files(split, root)
        raise InputError(
            f"ROOT {root} has no {candidates[0].relative_to(root)}, which lists the gallery; "
            f"get image_info_unlabeled2017.zip from cocodataset.org and unpack it into {root / IMAGE_FOLDER}"
        )
    return [image_name(facts.id) for facts in read_records(path, ImageFacts, "id", under="images")]


def image_name(image_id: int) -> str:
    """COCO's file name without its extension."""
    return f"{image_id:012d}"


def _triplet(record: Query, split: str) -> Triplet:
    known = (record.reference_img_id, record.target_img_id)
    return Triplet(
        triplet_id=f"circo/{split}/{record.id}",
        dataset="circo",
        split=split,
        native_id=str(record.id),
        reference=image_name(record.reference_img_id),
        target=None if record.target_img_id is None else image_name(record.target_img_id),
        modifications=(record.relative_caption,),
        positives=tuple(image_name(n) for n in dict.fromkeys(record.gt_img_ids) if n not in known),
        shared_concept=record.shared_concept,
        semantic_aspects=tuple(record.semantic_aspects),
    )
