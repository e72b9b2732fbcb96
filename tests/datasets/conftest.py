"""Tiny but complete dataset folders in the real layouts; tests damage a copy of one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MakeRoot = Callable[..., Path]

MEMBERS = [f"train-{n}-0-img0" for n in range(6)]


def fashioniq_records() -> list[dict[str, Any]]:
    return [
        {"target": "B00", "candidate": "B01", "captions": ["is red", "has no belt"]},
        {"target": "B02", "candidate": "B01", "captions": ["is longer", "and blue"]},
        {"target": "B03", "candidate": "B02", "captions": ["is striped", "is darker"]},
    ]


def cirr_records() -> list[dict[str, Any]]:
    return [
        {
            "pairid": 10 + n,
            "reference": MEMBERS[n],
            "target_hard": MEMBERS[n + 1],
            "target_soft": {MEMBERS[n + 1]: 1.0},
            "caption": f"change number {n}",
            "img_set": {"id": 1, "members": MEMBERS, "reference_rank": 3, "target_rank": 9},
        }
        for n in range(3)
    ]


def circo_records() -> list[dict[str, Any]]:
    return [
        {
            "reference_img_id": 7,
            "target_img_id": 8,
            "relative_caption": "is at night",
            "shared_concept": "a boat",
            "gt_img_ids": [8, 9, 10],
            "id": n,
            "semantic_aspects": ["addition"],
        }
        | ({"relative_caption": "has two sails"} if n else {})
        for n in range(2)
    ]


@pytest.fixture
def make_root(tmp_path: Path) -> MakeRoot:
    """`make_root("cirr", records)` writes a train (CIRCO: val) split with these records, else sound."""

    def write(path: Path, value: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")

    def make(dataset: str, records: Any = None, split: str | None = None) -> Path:
        root = tmp_path / dataset
        if dataset == "fashioniq":
            split = split or "train"
            for category in ("dress", "shirt", "toptee"):
                chosen = records if category == "dress" and records is not None else fashioniq_records()
                write(root / f"captions/cap.{category}.{split}.json", chosen)
                write(root / f"image_splits/split.{category}.{split}.json", ["B00", "B01", "B02", "B03"])
        elif dataset == "cirr":
            split = split or "train"
            write(root / f"captions/cap.rc2.{split}.json", cirr_records() if records is None else records)
            paths = {name: f"./train/34/{name}.png" for name in MEMBERS}
            write(root / f"image_splits/split.rc2.{split}.json", paths)
        else:
            split = split or "val"
            write(root / f"annotations/{split}.json", circo_records() if records is None else records)
            info = {"images": [{"id": n, "file_name": f"{n:012d}.jpg"} for n in range(7, 11)]}
            write(root / "COCO2017_unlabeled/annotations/image_info_unlabeled2017.json", info)
        return root

    return make


@pytest.fixture
def records_of() -> Callable[[str], list[dict[str, Any]]]:
    """Fresh valid records of a dataset."""
    builders = {"fashioniq": fashioniq_records, "cirr": cirr_records, "circo": circo_records}
    return lambda dataset: builders[dataset]()
