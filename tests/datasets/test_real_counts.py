"""The readers give the datasets' true numbers on the real annotation files (CIR_REAL_DATA)."""

from __future__ import annotations

import json
import os
import string
import time
from collections import Counter
from pathlib import Path

import pytest

from annotate.datasets import categories, load_gallery, load_triplets, splits
from annotate.datasets.captions import join_captions
from schemas.triplet import Triplet

REAL = os.environ.get("CIR_REAL_DATA")
pytestmark = pytest.mark.skipif(
    REAL is None, reason="CIR_REAL_DATA names no folder with the real annotations"
)
ROOT = Path(REAL or ".")


def load(dataset: str, split: str, category: str | None = None) -> list[Triplet]:
    return load_triplets(dataset, split, ROOT / dataset, category)


@pytest.mark.parametrize(
    ("split", "triplets", "summed", "distinct", "shared"),
    [
        ("train", 18_000, 46_609, 45_429, 1_180),
        ("val", 6_016, 15_536, 15_415, 121),
        ("test", 6_118, 15_538, 15_417, 121),
    ],
)
def test_fashioniq_triplets_and_images(
    split: str, triplets: int, summed: int, distinct: int, shared: int
) -> None:
    root = ROOT / "fashioniq"
    per_category = {c: load_gallery("fashioniq", split, root, c) for c in categories("fashioniq")}
    assert len(load("fashioniq", split)) == triplets
    assert sum(map(len, per_category.values())) == summed
    assert len(load_gallery("fashioniq", split, root)) == distinct
    assert len(set(per_category["shirt"]) & set(per_category["toptee"])) == shared
    assert not set(per_category["dress"]) & {*per_category["shirt"], *per_category["toptee"]}


@pytest.mark.parametrize(
    ("category", "queries", "gallery", "val_union"),
    [("dress", 2_017, 3_817, 2_628), ("shirt", 2_038, 6_346, 3_089), ("toptee", 1_961, 5_373, 2_902)],
)
def test_fashioniq_val_per_category(category: str, queries: int, gallery: int, val_union: int) -> None:
    triplets = load("fashioniq", "val", category)
    assert len(triplets) == queries
    assert len(load_gallery("fashioniq", "val", ROOT / "fashioniq", category)) == gallery
    assert len({name for t in triplets for name in (t.reference, t.target)}) == val_union


@pytest.mark.parametrize(
    ("split", "empty", "equal", "equal_lowercase", "blanks", "repeats"),
    [("train", 12, 112, 129, 942, 0), ("val", 3, 17, 22, 346, 0), ("test", 1, 25, 29, 345, 12)],
)
def test_fashioniq_known_dirt(
    split: str, empty: int, equal: int, equal_lowercase: int, blanks: int, repeats: int
) -> None:
    triplets = load("fashioniq", split)
    notes = Counter(note for t in triplets for note in t.notes)
    texts = [[text.strip() for text in t.modifications] for t in triplets]
    assert sum("" in pair for pair in texts) == empty
    # One more train caption is empty once punctuation is stripped.
    assert notes["one_empty_caption"] == empty + (split == "train")
    assert notes["equal_captions"] == equal
    assert sum(first.lower() == second.lower() for first, second in texts) == equal_lowercase
    assert notes["stray_blanks"] == blanks
    assert Counter(t.problem for t in triplets) == {None: len(triplets) - repeats} | (
        {"exact_repeat": repeats} if repeats else {}
    )


def test_fashioniq_images_gone_from_the_web_touch_the_known_triplets() -> None:
    gone = {
        name for path in (ROOT / "fashioniq").glob("known_missing_*.txt") for name in path.read_text().split()
    }
    touched = {
        s: sum(bool({t.reference, t.target} & gone) for t in load("fashioniq", s))
        for s in splits("fashioniq")
    }
    assert touched == {"train": 1_083, "val": 330, "test": 211}


def test_fashioniq_train_and_val_share_the_known_images() -> None:
    root = ROOT / "fashioniq"
    train, val = load("fashioniq", "train"), load("fashioniq", "val")
    assert (
        len(set(load_gallery("fashioniq", "train", root)) & set(load_gallery("fashioniq", "val", root)))
        == 811
    )
    trained = {name for t in train for name in (t.reference, t.target)}
    # 143 of the 6,003 distinct val targets occur in some train triplet.
    targets = {t.target for t in val}
    assert (len(targets & trained), len(targets)) == (143, 6_003)


@pytest.mark.parametrize(
    ("split", "triplets", "gallery"),
    [("train", 28_225, 16_939), ("val", 4_181, 2_297), ("test1", 4_148, 2_315)],
)
def test_cirr_triplets_and_galleries(split: str, triplets: int, gallery: int) -> None:
    assert len(load("cirr", split)) == triplets
    assert len(load_gallery("cirr", split, ROOT / "cirr")) == gallery


def test_cirr_train_without_img_set_has_unknown_subsets_and_row_numbers_for_ids() -> None:
    triplets = load("cirr", "train")
    assert {t.subset for t in triplets} == {()}
    assert [t.native_id for t in triplets] == [str(n) for n in range(28_225)]
    assert not any(t.problem for t in triplets)


def test_cirr_val_target_soft_is_read_as_positives_never_as_written() -> None:
    triplets = {t.native_id: t for t in load("cirr", "val")}
    raw = json.loads((ROOT / "cirr/captions/cap.rc2.val.json").read_text())
    weights = [(r, name, w) for r in raw for name, w in r["target_soft"].items()]
    assert sum(w == -1 for _, _, w in weights) == 807
    assert sum(w == -1 and name == r["target_hard"] for r, name, w in weights) == 3
    assert sum(w == 1 and name == r["reference"] for r, name, w in weights) == 37
    further = [(r, name, w) for r, name, w in weights if name in triplets[str(r["pairid"])].positives]
    assert Counter(w for _, _, w in further) == {1.0: 40, 0.5: 61, 0.2: 5}
    assert sum(len(t.positives) for t in triplets.values()) == len(further) == 106
    assert not any({t.reference, t.target} & set(t.positives) for t in triplets.values())
    assert {len(set(t.subset)) for t in triplets.values()} == {6}


def test_cirr_test1_keeps_its_blank_caption_and_its_four_identical_pairs() -> None:
    triplets = load("cirr", "test1")
    assert [t.native_id for t in triplets if t.problem == "empty_modification"] == ["27098"]
    assert [t.native_id for t in triplets if t.problem == "exact_repeat"] == [
        "12179",
        "27178",
        "27641",
        "37946",
    ]
    assert {t.target for t in triplets} == {None}
    assert {len(set(t.subset)) for t in triplets} == {6}


@pytest.mark.parametrize(("split", "queries"), [("val", 220), ("test", 800)])
def test_circo_queries(split: str, queries: int) -> None:
    triplets = load("circo", split)
    assert [t.native_id for t in triplets] == [str(n) for n in range(queries)]
    assert {len(t.reference) for t in triplets} == {12}


def test_circo_targets_are_the_first_ground_truth() -> None:
    raw = json.loads((ROOT / "circo/annotations/val.json").read_text())
    for triplet, record in zip(load("circo", "val"), raw, strict=True):
        assert [triplet.target, *triplet.positives] == [f"{n:012d}" for n in record["gt_img_ids"]]
    assert all(t.target is None and not t.positives for t in load("circo", "test"))


def test_every_usable_caption_survives_joining() -> None:
    for dataset in ("fashioniq", "cirr", "circo"):
        for split in splits(dataset):
            for triplet in load(dataset, split):
                joined = join_captions(triplet.modifications, "and")
                assert bool(joined.strip(string.whitespace + string.punctuation)) == (
                    triplet.problem != "empty_modification"
                ), triplet.triplet_id


def test_loading_all_cirr_train_triplets_takes_less_than_two_seconds_of_cpu() -> None:
    start = time.process_time()
    load("cirr", "train")
    assert time.process_time() - start < 2
