"""Images that evaluated splits have, too: of every category, of queries and galleries, noted and no more."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from annotate.datasets import evaluated_images
from annotate.errors import InputError
from annotate.preparing import prepare
from annotate.settings import resolve

MakeRoot = Callable[..., Path]


def query(reference: str, target: str) -> dict[str, object]:
    return {"target": target, "candidate": reference, "captions": ["is red", "has no belt"]}


def evaluated_elsewhere(make_root: MakeRoot) -> Path:
    """In FashionIQ's val B02 is only a target of shirt, B03 only in the gallery of toptee."""
    root = make_root("fashioniq")
    for category, records, gallery in (
        ("dress", [query("V0", "V1")], ["V0", "V1"]),
        ("shirt", [query("V2", "B02")], ["V2"]),
        ("toptee", [query("V3", "V4")], ["V3", "V4", "B03"]),
    ):
        (root / f"captions/cap.{category}.val.json").write_text(json.dumps(records))
        (root / f"image_splits/split.{category}.val.json").write_text(json.dumps(gallery))
    return root


def test_one_category_is_compared_with_queries_and_galleries_of_all(
    make_root: MakeRoot, tmp_path: Path
) -> None:
    flags = {"dataset": "fashioniq", "root": str(evaluated_elsewhere(make_root)), "category": "dress"}
    planned = prepare(resolve({**flags, "allow_missing": "1"}, {}, tmp_path)).plan.triplets
    assert {(t.reference, t.target): t.notes for t in planned} == {
        ("B01", "B00"): (),
        ("B01", "B02"): ("target_in_val",),
        ("B02", "B03"): ("reference_in_val", "target_in_val"),
    }
    assert all(t.problem is None for t in planned)


def test_a_category_whose_files_are_missing_or_empty_hides_no_other(make_root: MakeRoot) -> None:
    root = evaluated_elsewhere(make_root)
    (root / "captions/cap.dress.val.json").unlink()
    (root / "image_splits/split.toptee.val.json").unlink()
    (root / "captions/cap.toptee.val.json").write_text("[]")
    expected = {"V0", "V1", "V2", "B02"}
    assert evaluated_images("fashioniq", "train", root) == {"val": expected, "test": set()}
    assert evaluated_images("fashioniq", "val", root) == {"test": set()}


@pytest.mark.parametrize("name", ["captions/cap.toptee.val.json", "image_splits/split.dress.val.json"])
def test_a_broken_file_of_another_split_is_no_absent_one(make_root: MakeRoot, name: str) -> None:
    root = evaluated_elsewhere(make_root)
    (root / name).write_text("broken")
    with pytest.raises(InputError, match=name):
        evaluated_images("fashioniq", "train", root)
    assert evaluated_images("fashioniq", "val", root) == {"test": set()}


def test_a_gallery_that_all_splits_search_says_nothing(make_root: MakeRoot) -> None:
    root = make_root("circo")
    records = [{"reference_img_id": 9, "relative_caption": "at night", "shared_concept": "a boat", "id": 0}]
    (root / "annotations/test.json").write_text(json.dumps(records))
    assert evaluated_images("circo", "val", root) == {"test": {"000000000009"}}
    cirr = make_root("cirr")
    (cirr / "image_splits/split.rc2.val.json").write_text(json.dumps({"dev-1-0-img0": "./dev/x.png"}))
    assert evaluated_images("cirr", "train", cirr) == {"val": {"dev-1-0-img0"}, "test1": set()}
