"""On the real annotation files: equal to the official evaluation codes (re-told naively, full sort) to 1e-6.

Random scores with many ties; their unstable sort is replaced by the stable one. CIRCO's golden values.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.protocols import Result, circo_map, cirr_recall, fashioniq_recall
from retrieval.queries import fashioniq_gallery
from retrieval.ranking import Scores
from schemas.triplet import Triplet

REAL = os.environ.get("CIR_REAL_DATA", "")
pytestmark = pytest.mark.skipif(not REAL, reason="CIR_REAL_DATA does not name the real annotation files")


def load(path: str) -> Any:
    return json.loads((Path(REAL) / path).read_text())


def tied(seed: int, n_queries: int, n_gallery: int) -> Scores:
    """Half of the rows with few distinct values (ties everywhere), half without."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((n_queries, n_gallery)).astype(np.float32)
    scores[::2] = np.round(scores[::2] * 20) / 20
    return scores


def fashioniq(category: str) -> list[Triplet]:
    return [
        Triplet(
            triplet_id=f"fashioniq/val/{category}/{index:06d}",
            dataset="fashioniq",
            split="val",
            category=category,
            native_id=str(index),
            reference=record["candidate"],
            target=record["target"],
            modifications=tuple(record["captions"]),
        )
        for index, record in enumerate(load(f"fashioniq/captions/cap.{category}.val.json"))
    ]


def official_fashioniq(records: Any, names: list[str], scores: Scores, drop: bool) -> dict[str, float]:
    """CLIP4Cir's computation: sort all, compare names, any hit among the first k."""
    hits: dict[int, list[bool]] = {10: [], 50: []}
    for record, row in zip(records, scores, strict=True):
        ordered = [names[i] for i in np.argsort(1 - row, kind="stable")] if not drop else None
        if ordered is None:
            ordered = [names[i] for i in np.argsort(-row, kind="stable") if names[i] != record["candidate"]]
        labels = [name == record["target"] for name in ordered]
        assert sum(labels) == 1
        for k in hits:
            hits[k].append(any(labels[:k]))
    return {f"R@{k}": sum(found) / len(found) for k, found in hits.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("category", "n_queries", "n_original", "n_union"),
    [("dress", 2017, 3817, 2628), ("shirt", 2038, 6346, 3089), ("toptee", 1961, 5373, 2902)],
)
def test_fashioniq_recall_equals_the_official_code_on_both_galleries(
    category: str, n_queries: int, n_original: int, n_union: int
) -> None:
    triplets = fashioniq(category)
    records = load(f"fashioniq/captions/cap.{category}.val.json")
    names = load(f"fashioniq/image_splits/split.{category}.val.json")
    original = fashioniq_gallery(names, triplets, "original")
    union = fashioniq_gallery(names, triplets, "val_union")
    assert (len(triplets), len(original), len(union)) == (n_queries, n_original, n_union)
    for gallery, drop in ((original, False), (union, True)):
        # multiples of 1/64: 1 - score, which the official code sorts, is exact in float32, ties stay ties
        scores = np.round(tied(3, n_queries, len(gallery)) * 64) / np.float32(64)
        target_column = [gallery.index(str(t.target)) for t in triplets]
        scores[np.arange(n_queries), target_column] += np.float32(2)  # so that recall is neither 0 nor 1
        result = fashioniq_recall(scores, gallery, triplets, exclude_reference=drop)
        assert_equal(result, official_fashioniq(records, list(gallery), scores, drop))
        assert 0.05 < result["R@10"] < 0.95


@pytest.mark.slow
def test_cirr_recall_equals_the_official_code() -> None:
    records = load("cirr/captions/cap.rc2.val.json")
    gallery = list(load("cirr/image_splits/split.rc2.val.json"))
    triplets = [cirr(record, "val") for record in records]
    assert (len(triplets), len(gallery)) == (4181, 2297)
    scores = np.round(tied(4, 4181, 2297) * 64) / np.float32(64)
    scores[np.arange(4181), [gallery.index(str(t.target)) for t in triplets]] += np.float32(2)
    hits: dict[str, list[bool]] = {
        name: [] for name in ("R@1", "R@5", "R@10", "R@50", "Rs@1", "Rs@2", "Rs@3")
    }
    for record, row in zip(records, scores, strict=True):
        ordered = [gallery[i] for i in np.argsort(-row, kind="stable")]
        ordered.remove(record["reference"])
        group = [name for name in ordered if name in record["img_set"]["members"]]
        assert len(ordered) == 2296 and len(group) == 5
        for k in (1, 5, 10, 50):
            hits[f"R@{k}"].append(record["target_hard"] in ordered[:k])
        for k in (1, 2, 3):
            hits[f"Rs@{k}"].append(record["target_hard"] in group[:k])
    expected = {name: sum(found) / 4181 for name, found in hits.items()}
    result = cirr_recall(scores, gallery, triplets)
    assert_equal(result, expected | {"mean": (expected["R@5"] + expected["Rs@1"]) / 2})


def cirr(record: Any, split: str) -> Triplet:
    return Triplet(
        triplet_id=f"cirr/{split}/{record['pairid']}",
        dataset="cirr",
        split=split,
        native_id=str(record["pairid"]),
        reference=record["reference"],
        target=record.get("target_hard"),
        modifications=(record["caption"],),
        subset=tuple(record["img_set"]["members"]),
    )


def circo() -> list[Triplet]:
    return [
        Triplet(
            triplet_id=f"circo/val/{record['id']}",
            dataset="circo",
            split="val",
            native_id=str(record["id"]),
            reference=str(record["reference_img_id"]),
            target=str(record["target_img_id"]),
            modifications=(record["relative_caption"],),
            positives=tuple(map(str, record["gt_img_ids"][1:])),
            semantic_aspects=tuple(record["semantic_aspects"]),
        )
        for record in load("circo/annotations/val.json")
    ]


def official_circo(predictions: dict[str, list[int]]) -> dict[str, float]:
    """CIRCO's computation: labels by membership, cumulative precision, sum over the first k."""
    values: dict[str, list[float]] = {}
    for record in load("circo/annotations/val.json"):
        predicted = np.array(predictions[str(record["id"])])
        labels = np.isin(predicted, record["gt_img_ids"])
        precisions = np.cumsum(labels) * labels / np.arange(1, len(predicted) + 1)
        for k in (5, 10, 25, 50):
            ap = float(precisions[:k].sum() / min(len(record["gt_img_ids"]), k))
            values.setdefault(f"mAP@{k}", []).append(ap)
            values.setdefault(f"R@{k}", []).append(float(np.any(predicted[:k] == record["target_img_id"])))
        for aspect in record["semantic_aspects"]:
            values.setdefault(f"mAP@10/{aspect}", []).append(values["mAP@10"][-1])
    return {name: float(np.mean(found)) for name, found in values.items()}


def test_circo_golden_values_of_the_official_submission_example() -> None:
    predictions = load("circo/submission_examples/submission_val.json")
    triplets = circo()
    truths = {name for t in triplets for name in (str(t.target), *t.positives)}
    gallery = sorted(truths | {str(image) for answer in predictions.values() for image in answer})
    column = {name: index for index, name in enumerate(gallery)}
    scores = np.full((220, len(gallery)), -np.inf, dtype=np.float32)
    for query, triplet in enumerate(triplets):
        for place, image in enumerate(predictions[triplet.native_id]):
            scores[query, column[str(image)]] = -place
    # images that the submission does not name are tied at the very end, behind its 50
    result = circo_map(scores, gallery, triplets)
    percent = {name: round(100 * value, 4) for name, value in result.values.items()}
    golden = {"mAP@5": 0.4861, "mAP@10": 0.5178, "mAP@25": 0.5400, "mAP@50": 0.6020}
    golden |= {"R@5": 0.9091, "R@10": 0.9091, "R@25": 1.3636, "R@50": 3.6364}
    assert {name: percent[name] for name in golden} == golden
    assert_equal(result, official_circo(predictions))


def test_circo_map_equals_the_official_code_on_tied_random_scores() -> None:
    triplets = circo()
    truths = sorted({name for t in triplets for name in (str(t.target), *t.positives)})
    gallery = truths + [str(10**7 + i) for i in range(3000)]
    scores = tied(5, 220, len(gallery))
    for query, triplet in enumerate(triplets):
        for name in (str(triplet.target), *triplet.positives):
            scores[query, gallery.index(name)] += np.float32(2)
    orders = np.argsort(-scores, axis=1, kind="stable")[:, :50]
    predictions = {
        t.native_id: [int(gallery[i]) for i in row] for t, row in zip(triplets, orders, strict=True)
    }
    result = circo_map(scores, gallery, triplets)
    assert_equal(result, official_circo(predictions))
    assert 0.05 < result["mAP@10"] < 0.95


def assert_equal(result: Result, expected: dict[str, float]) -> None:
    assert result.values.keys() == expected.keys()
    for name, value in expected.items():
        assert result[name] == pytest.approx(value, abs=1e-6), name
