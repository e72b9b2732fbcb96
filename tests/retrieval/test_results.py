"""The table: rows of one protocol stand in one block under it, rows of another protocol never do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from retrieval.protocols import Result, fashioniq_recall
from retrieval.results import TableRow, markdown, write_results
from schemas.triplet import Triplet

GALLERY = [f"g{i}" for i in range(60)]


def result(category: str, rank: int, exclude: bool = False) -> Result:
    triplet = Triplet(
        triplet_id=f"fashioniq/val/{category}/000000",
        dataset="fashioniq",
        split="val",
        category=category,
        native_id="0",
        reference="g59",
        target=f"g{rank - 1}",
        modifications=("is red", "no belt"),
    )
    scores = -np.arange(60, dtype=np.float32)[None]
    return fashioniq_recall(scores, GALLERY, [triplet], exclude_reference=exclude)


def row(label: str, ranks: tuple[int, int, int], exclude: bool = False) -> TableRow:
    categories = ("dress", "shirt", "toptee")
    results = tuple(result(c, r, exclude) for c, r in zip(categories, ranks, strict=True))
    return TableRow(label=label, results=results, chain="none", seed=3, data_digest="d")


def test_fashioniq_has_a_column_a_category_and_the_mean_under_its_protocol_and_counts() -> None:
    table = markdown([row("one", (1, 20, 55)), row("two", (1, 1, 1))])
    assert table.count("fashioniq/val/dress(gallery=original, exclude_reference=false") == 1
    assert "queries 1/1; gallery 60/60" in table
    assert (
        "| one | none | 3 |  | d | 100.00 | 100.00 | 0.00 | 100.00 | 0.00 | 0.00 | 33.33 | 66.67 |  |"
        in table
    )


def test_rows_of_different_protocols_stand_in_different_blocks() -> None:
    table = markdown([row("one", (1, 1, 1)), row("other", (1, 1, 1), exclude=True)])
    first, second = table.split("exclude_reference=true", 1)
    assert "| one |" in first and "| other |" not in first and "| other |" in second


def test_every_json_row_has_protocol_counts_seed_and_digest(tmp_path: Path) -> None:
    path, _ = write_results(tmp_path, [row("one", (1, 20, 55))])
    rows = json.loads(path.read_text())["rows"]
    assert [r["category"] for r in rows] == ["dress", "shirt", "toptee", "mean"]
    for each in rows:
        assert each["protocol"] and each["seed"] == 3 and each["data_digest"] == "d"
        assert each["n_queries"] == each["n_expected"] and each["n_gallery"] == each["n_gallery_expected"]
    assert rows[-1]["metrics"]["R@10"] == pytest.approx(1 / 3)
