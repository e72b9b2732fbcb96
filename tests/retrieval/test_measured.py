"""Lines of the table against each other: ours minus theirs, each category and metric for itself."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from retrieval.encode import EncodedQueries
from retrieval.evaluate import EvalSet, Evaluation
from retrieval.measured import Measured, comparisons, line
from retrieval.protocols import Expected, Protocol, Result
from retrieval.results import TableRow
from schemas.triplet import Dataset

Hits = Mapping[str, list[float]]


def result(dataset: Dataset, category: str | None, hits: Hits) -> Result:
    """A result of the queries whose values of each metric are `hits`."""
    each = {name: np.array(values, dtype=np.float64) for name, values in hits.items()}
    count = len(next(iter(each.values())))
    return Result(
        protocol=Protocol(dataset=dataset, split="val", category=category),
        values={name: float(values.mean()) for name, values in each.items()},
        n_queries=count,
        n_expected=count,
        n_gallery=9,
        n_gallery_expected=9,
        per_query=each,
    )


def measured(label: str, results: tuple[Result, ...], chain: str = "generated", seed: int = 0) -> Measured:
    row = TableRow(label=label, results=results, chain=chain, seed=seed, data_digest="")
    return Measured(row, ((),) * len(results))


def told(lines: list[dict[str, object]]) -> dict[tuple[object, ...], Any]:
    return {(each["against"], each["category"], each["metric"]): each for each in lines}


def test_a_difference_is_ours_minus_theirs_in_each_category() -> None:
    ours = measured(
        "ours",
        (
            result("fashioniq", "dress", {"R@10": [1, 1, 1, 1], "R@50": [0, 0, 0, 0]}),
            result("fashioniq", "shirt", {"R@10": [0, 0, 1, 1], "R@50": [0, 0, 0, 0]}),
        ),
    )
    theirs = measured(
        "theirs",
        (
            result("fashioniq", "dress", {"R@10": [0, 0, 0, 0], "R@50": [1, 1, 1, 1]}),
            result("fashioniq", "shirt", {"R@10": [0, 1, 1, 1], "R@50": [1, 1, 1, 1]}),
        ),
    )
    found = told(comparisons([theirs, ours], "ours"))
    assert set(found) == {("theirs", "dress", "R@10"), ("theirs", "shirt", "R@10")}
    dress, shirt = (found["theirs", category, "R@10"] for category in ("dress", "shirt"))
    assert (dress["mean"], dress["low"], dress["high"], dress["clear"]) == (1, 1, 1, True)
    assert shirt["mean"] == -0.25 and shirt["low"] < shirt["high"] == 0 and not shirt["clear"]
    assert {each["dataset"] for each in found.values()} == {"fashioniq"}


def test_seeds_are_pooled_and_each_metric_of_a_dataset_is_compared() -> None:
    def cirr(
        label: str, r: list[float], rs: list[float], chain: str = "generated", seed: int = 0
    ) -> Measured:
        return measured(label, (result("cirr", None, {"R@1": r, "Rs@1": rs}),), chain, seed)

    lines = [
        cirr("ours", [1, 0], [0, 0], seed=0),
        cirr("ours", [1, 1], [0, 0], seed=1),
        cirr("ours", [0, 0], [1, 1], chain="gold"),
        cirr("theirs", [0, 0], [1, 1], chain="none", seed=0),
        cirr("theirs", [0, 0], [1, 0], chain="none", seed=1),
    ]
    found = told(comparisons(lines, "ours"))
    assert {key: each["mean"] for key, each in found.items()} == {
        ("theirs", None, "R@1"): 0.75,
        ("theirs", None, "Rs@1"): -0.75,
    }


def test_milliseconds_are_of_a_query_also_where_it_is_asked_in_two_texts() -> None:
    eval_set = EvalSet("fashioniq", "val", "dress", (), (), {}, Expected(), "digest")
    texts = EncodedQueries(np.zeros((4, 2), dtype=np.float32), (None,) * 4, 0.2, 0.4)
    done = Evaluation(result("fashioniq", "dress", {"R@10": [1, 0]}), np.zeros((2, 9), np.float32), texts)
    row = line("ours", (eval_set,), [done], "none").row
    assert (row.ms_per_query, row.ms_writing) == pytest.approx((300, 100))


def test_a_line_keeps_no_scores() -> None:
    """A study keeps all its lines until it ends: 123,403 columns a query would be gigabytes."""
    scores = np.zeros((2, 9), dtype=np.float32)
    gone = weakref.ref(scores)
    eval_set = EvalSet("cirr", "val", None, (), (), {}, Expected(), "digest")
    kept = line(
        "ours", (eval_set,), [Evaluation(result("cirr", None, {"R@1": [1, 0]}), scores, None)], "none"
    )
    del scores
    gc.collect()
    assert gone() is None and kept.row.results[0]["R@1"] == pytest.approx(0.5)
