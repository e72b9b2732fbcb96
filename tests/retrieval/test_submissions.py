"""Submission files obey the servers' rules; each rule has a file that breaks it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from annotate.errors import InputError
from retrieval.submissions import (
    validate_circo,
    validate_cirr,
    write_circo_submission,
    write_cirr_submission,
)
from schemas.triplet import Triplet

GALLERY = tuple(f"test1-{i}-0-img0" for i in range(80))
REAL = os.environ.get("CIR_REAL_DATA", "")


def scene(index: int) -> Triplet:
    return Triplet(
        triplet_id=f"cirr/test1/{index}",
        dataset="cirr",
        split="test1",
        native_id=str(index),
        reference=GALLERY[index],
        target=None,
        modifications=("" if index == 1 else "more balls",),
        subset=GALLERY[index : index + 6],
    )


def photo(index: int) -> Triplet:
    return Triplet(
        triplet_id=f"circo/test/{index}",
        dataset="circo",
        split="test",
        native_id=str(index),
        reference=f"{index:012d}",
        target=None,
        modifications=("more balls",),
    )


def test_cirr_files_hold_every_query_and_the_best_names_without_the_reference(tmp_path: Path) -> None:
    triplets = [scene(i) for i in range(4)]
    scores = np.tile(-np.arange(80, dtype=np.float32), (4, 1))
    recall, subset = (
        json.loads(p.read_text()) for p in write_cirr_submission(tmp_path, scores, GALLERY, triplets)
    )
    assert {k: recall.pop(k) for k in ("version", "metric")} == {"version": "rc2", "metric": "recall"}
    assert {k: subset.pop(k) for k in ("version", "metric")} == {"version": "rc2", "metric": "recall_subset"}
    assert list(recall) == list(subset) == ["0", "1", "2", "3"], "the query with a blank text stays in"
    assert recall["2"] == [name for name in GALLERY if name != GALLERY[2]][:50]
    assert subset["2"] == list(GALLERY[3:6])


def test_tied_members_are_submitted_in_gallery_order(tmp_path: Path) -> None:
    triplet = replace(scene(0), subset=(GALLERY[0], *reversed(GALLERY[1:6])))
    _, subset = write_cirr_submission(tmp_path, np.zeros((1, 80), np.float32), GALLERY, [triplet])
    assert json.loads(subset.read_text())["0"] == list(GALLERY[1:4])


Lists = dict[str, list[str]]


def without_query(lists: Lists) -> None:
    del lists["1"]


def with_foreign_query(lists: Lists) -> None:
    lists["77"] = lists["1"]


def with_reference(lists: Lists) -> None:
    lists["1"][0] = GALLERY[1]


def with_repeat(lists: Lists) -> None:
    lists["1"][1] = lists["1"][0]


def too_short(lists: Lists) -> None:
    lists["1"].pop()


def with_extension(lists: Lists) -> None:
    lists["1"][0] += ".png"


@pytest.mark.parametrize("subset", [False, True])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_query, "query 1 is missing"),
        (with_foreign_query, "query 77 is not in the annotation file"),
        (with_reference, "the reference test1-1-0-img0 must not be"),
        (with_repeat, "different names"),
        (too_short, "different names"),
        (with_extension, r"test1-\d+-0-img0.png is not"),
    ],
)
def test_each_rule_of_the_cirr_server_is_checked(
    spoil: Callable[[Lists], None], words: str, subset: bool
) -> None:
    triplets = [scene(i) for i in range(4)]
    lists = {
        t.native_id: [n for n in (t.subset if subset else GALLERY) if n != t.reference][: 3 if subset else 50]
        for t in triplets
    }
    validate_cirr(lists, triplets, GALLERY, subset)
    spoil(lists)
    with pytest.raises(InputError, match=words):
        validate_cirr(lists, triplets, GALLERY, subset)


def test_subset_answers_must_come_from_the_members() -> None:
    lists = {"0": [GALLERY[1], GALLERY[2], GALLERY[70]]}
    with pytest.raises(InputError, match="is not a member of its subset"):
        validate_cirr(lists, [scene(0)], GALLERY, subset=True)


def test_circo_file_holds_image_ids_and_keeps_the_reference(tmp_path: Path) -> None:
    gallery = [f"{i:012d}" for i in range(60)]
    triplets = [photo(i) for i in range(5)]
    scores = np.tile(-np.arange(60, dtype=np.float32), (5, 1))
    path = write_circo_submission(tmp_path / "test.json", scores, gallery, triplets, n_queries=5)
    assert json.loads(path.read_text()) == {str(i): list(range(50)) for i in range(5)}
    with pytest.raises(InputError, match=r"queries 0 to 799"):
        write_circo_submission(tmp_path / "short.json", scores, gallery, triplets)
    assert not (tmp_path / "short.json").exists()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (list(range(49)), "50 different ids"),
        ([*range(49), 0], "50 different ids"),
        ([*range(49), 99], "99 is not the id of a gallery image"),
        ([*range(49), "49"], "'49' is not the id"),
    ],
)
def test_each_rule_of_the_circo_server_is_checked(answer: list[int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        validate_circo({"0": answer}, [photo(0)], set(range(60)), n_queries=1)


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="CIR_REAL_DATA does not name the real annotation files")
def test_the_real_cirr_test1_split_makes_a_valid_submission_under_5_mb(tmp_path: Path) -> None:
    root = Path(REAL) / "cirr"
    gallery = list(json.loads((root / "image_splits/split.rc2.test1.json").read_text()))
    triplets = [
        Triplet(
            triplet_id=f"cirr/test1/{record['pairid']}",
            dataset="cirr",
            split="test1",
            native_id=str(record["pairid"]),
            reference=record["reference"],
            target=None,
            modifications=(record["caption"],),
            subset=tuple(record["img_set"]["members"]),
        )
        for record in json.loads((root / "captions/cap.rc2.test1.json").read_text())
    ]
    scores = np.random.default_rng(0).standard_normal((4148, 2315)).astype(np.float32)
    recall, subset = write_cirr_submission(tmp_path, scores, gallery, triplets)
    assert len(json.loads(recall.read_text())) == len(json.loads(subset.read_text())) == 4150
    assert "27098" in json.loads(recall.read_text())
