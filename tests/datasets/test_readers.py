"""Records become triplets: names, ids, order, positives, subsets, splits without targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from annotate.datasets import (
    annotation_digest,
    annotation_files,
    categories,
    default_split,
    load_gallery,
    load_triplets,
    splits,
)
from annotate.errors import UsageError

MakeRoot = Callable[..., Path]
RecordsOf = Callable[[str], list[dict[str, Any]]]


def test_fashioniq_rows_are_named_by_category_and_row_in_dress_shirt_toptee_order(
    make_root: MakeRoot,
) -> None:
    triplets = load_triplets("fashioniq", "train", make_root("fashioniq"))
    assert [t.triplet_id for t in triplets][:4] == [
        "fashioniq/train/dress/000000",
        "fashioniq/train/dress/000001",
        "fashioniq/train/dress/000002",
        "fashioniq/train/shirt/000000",
    ]
    assert [t.category for t in triplets] == ["dress"] * 3 + ["shirt"] * 3 + ["toptee"] * 3
    first = triplets[0]
    assert (first.reference, first.target, first.native_id) == ("B01", "B00", "0")
    assert first.modifications == ("is red", "has no belt")


def test_fashioniq_category_reads_that_file_only(make_root: MakeRoot) -> None:
    root = make_root("fashioniq")
    (root / "captions/cap.dress.train.json").write_text("broken")
    assert {t.category for t in load_triplets("fashioniq", "train", root, "shirt")} == {"shirt"}


def test_fashioniq_test_split_has_no_targets(make_root: MakeRoot, records_of: RecordsOf) -> None:
    queries = [{k: v for k, v in r.items() if k != "target"} for r in records_of("fashioniq")]
    root = make_root("fashioniq", queries, "test")
    assert [t.target for t in load_triplets("fashioniq", "test", root, "dress")] == [None] * 3


def test_fashioniq_gallery_holds_each_name_once(make_root: MakeRoot) -> None:
    assert load_gallery("fashioniq", "train", make_root("fashioniq")) == ["B00", "B01", "B02", "B03"]


def test_cirr_records_keep_pairid_subset_and_gallery_order(make_root: MakeRoot) -> None:
    root = make_root("cirr")
    first = load_triplets("cirr", "train", root)[0]
    assert (first.triplet_id, first.native_id) == ("cirr/train/10", "10")
    assert first.subset == tuple(f"train-{n}-0-img0" for n in range(6))
    assert load_gallery("cirr", "train", root) == list(first.subset)


def test_cirr_positives_weigh_more_than_zero_and_are_neither_reference_nor_target(
    make_root: MakeRoot, records_of: RecordsOf
) -> None:
    records = records_of("cirr")
    reference, target = records[0]["reference"], records[0]["target_hard"]
    records[0]["target_soft"] = {
        target: 1.0,
        reference: 1.0,
        "train-3-0-img0": 0.5,
        "train-4-0-img0": -1.0,
        "train-5-0-img0": 0.0,
    }
    root = make_root("cirr", records)
    assert load_triplets("cirr", "train", root)[0].positives == ("train-3-0-img0",)


def test_cirr_partial_file_without_img_set_is_read_when_the_official_one_is_absent(
    make_root: MakeRoot, records_of: RecordsOf
) -> None:
    kept = ("pairid", "reference", "target_hard", "caption")
    root = make_root("cirr", [{k: r[k] for k in kept} for r in records_of("cirr")])
    official = root / "captions/cap.rc2.train.json"
    official.rename(root / "captions/cap.rc2.train.partial.json")
    triplets = load_triplets("cirr", "train", root)
    assert [t.triplet_id for t in triplets] == ["cirr/train/10", "cirr/train/11", "cirr/train/12"]
    assert {(t.subset, t.positives) for t in triplets} == {((), ())}
    make_root("cirr")
    assert annotation_files("cirr", "train", root) == [official]


def test_cirr_test1_has_subset_but_no_target(make_root: MakeRoot, records_of: RecordsOf) -> None:
    queries = records_of("cirr")
    for record in queries:
        del record["target_hard"], record["target_soft"]
        record["reference"] = record["reference"].replace("train", "test1")
        record["img_set"]["members"] = [m.replace("train", "test1") for m in record["img_set"]["members"]]
    root = make_root("cirr", queries, "test1")
    (root / "image_splits/split.rc2.test1.json").unlink()
    triplet = load_triplets("cirr", "test1", root)[0]
    assert triplet.target is None
    assert len(triplet.subset) == 6


def test_circo_names_are_twelve_digits_and_positives_leave_out_the_target(make_root: MakeRoot) -> None:
    root = make_root("circo")
    first = load_triplets("circo", "val", root)[0]
    assert (first.triplet_id, first.reference, first.target) == (
        "circo/val/0",
        "000000000007",
        "000000000008",
    )
    assert first.positives == ("000000000009", "000000000010")
    assert (first.shared_concept, first.semantic_aspects) == ("a boat", ("addition",))
    assert load_gallery("circo", "val", root) == [f"{n:012d}" for n in range(7, 11)]


def test_circo_test_split_has_no_targets(make_root: MakeRoot, records_of: RecordsOf) -> None:
    kept = ("reference_img_id", "relative_caption", "shared_concept", "id")
    root = make_root("circo", [{k: r[k] for k in kept} for r in records_of("circo")], "test")
    assert [(t.target, t.positives) for t in load_triplets("circo", "test", root)] == [(None, ())] * 2


def test_triplets_are_frozen(make_root: MakeRoot) -> None:
    triplet = load_triplets("circo", "val", make_root("circo"))[0]
    with pytest.raises(FrozenInstanceError):
        triplet.reference = "another"  # type: ignore[misc]


def test_splits_defaults_and_categories_are_the_datasets_own() -> None:
    assert {d: (splits(d), default_split(d), categories(d)) for d in ("fashioniq", "cirr", "circo")} == {
        "fashioniq": (("train", "val", "test"), "train", ("dress", "shirt", "toptee")),
        "cirr": (("train", "val", "test1"), "train", ()),
        "circo": (("val", "test"), "val", ()),
    }


@pytest.mark.parametrize(
    ("dataset", "split", "category", "named"),
    [
        ("cirrr", "train", None, "'cirrr' is unknown; use one of fashioniq, cirr, circo"),
        ("cirr", "test", None, "'test' is unknown for cirr; use one of train, val, test1"),
        ("circo", "train", None, "use one of val, test"),
        ("fashioniq", "train", "shoes", "use one of dress, shirt, toptee"),
        ("cirr", "train", "dress", "leave it out"),
    ],
)
def test_unknown_dataset_split_or_category_is_a_usage_error_that_lists_the_known_ones(
    dataset: str, split: str, category: str | None, named: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        load_triplets(dataset, split, tmp_path, category)
    assert named in str(caught.value)


def test_annotation_digest_changes_with_a_byte_of_the_captions_only(make_root: MakeRoot) -> None:
    root = make_root("cirr")
    before = annotation_digest("cirr", "train", root)
    assert annotation_digest("cirr", "train", make_root("cirr")) == before
    path = root / "captions/cap.rc2.train.json"
    path.write_text(path.read_text().replace("change number 0", "change number 1"))
    assert annotation_digest("cirr", "train", root) != before


def test_a_byte_order_mark_and_unknown_fields_are_harmless(
    make_root: MakeRoot, records_of: RecordsOf
) -> None:
    records = records_of("circo")
    records[0]["reference_imd_id"] = 3
    root = make_root("circo", records)
    path = root / "annotations/val.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(load_triplets("circo", "val", root)) == 2
