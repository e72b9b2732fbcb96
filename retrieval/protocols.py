"""The field's evaluation protocols. A number never travels without the protocol that it was measured by.

Pure functions from a score matrix, gallery names and triplets to a `Result`; values are fractions, not
percent. Ties: score descending, then gallery order, in float32. Nothing is dropped silently: what is
expected but absent raises and is named, unless `Expected(allow_missing=True)` says otherwise, and then the
counts say so. Sources: FashionIQ as CLIP4Cir evaluates it, CIRR as its own starter kit, CIRCO as its own
evaluation code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotate.errors import InputError, UsageError
from retrieval.alignment import (
    checked_scores,
    column_of,
    no_repeats,
    reference_columns,
    subset_columns,
    target_columns,
)
from retrieval.queries import CircoText, GalleryMode, QueryMode, rows_per_triplet
from retrieval.ranking import Columns, Scores, ranks, ranks_within
from schemas.triplet import Dataset, Triplet

FASHIONIQ_KS = (10, 50)
CIRR_KS = (1, 5, 10, 50)
CIRR_SUBSET_KS = (1, 2, 3)
CIRCO_KS = (5, 10, 25, 50)


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """Every choice that moves a number. `str` is its identity and is printed with each number."""

    dataset: Dataset
    split: str
    category: str | None = None
    gallery: GalleryMode = "original"
    exclude_reference: bool = False
    caption_mode: QueryMode | None = None
    circo_text: CircoText | None = None

    def __str__(self) -> str:
        name = "/".join(part for part in (self.dataset, self.split, self.category) if part)
        choices = [f"gallery={self.gallery}", f"exclude_reference={str(self.exclude_reference).lower()}"]
        choices += [f"caption_mode={self.caption_mode}"] if self.caption_mode else []
        choices += [f"circo_text={self.circo_text}"] if self.circo_text else []
        return f"{name}({', '.join(choices)})"


@dataclass(frozen=True, slots=True)
class Expected:
    """What the annotation files ask for: all triplet ids and all gallery names.

    With `allow_missing`, absent ones are only counted (images that can no longer be had), else they raise.
    """

    triplet_ids: Sequence[str] = ()
    gallery: Sequence[str] = ()
    allow_missing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Metrics (fractions) with their protocol and counts.

    `values[m]` is the mean of `per_query[m]` [n_rows] over the queries that m concerns (NaN: m does not).
    """

    protocol: Protocol
    values: Mapping[str, float]
    n_queries: int
    n_expected: int
    n_gallery: int
    n_gallery_expected: int
    per_query: Mapping[str, NDArray[np.float64]] = field(repr=False, compare=False)

    def __getitem__(self, metric: str) -> float:
        return self.values[metric]

    def __str__(self) -> str:
        numbers = "  ".join(f"{name} {100 * value:.2f}" for name, value in self.values.items())
        return (
            f"{numbers}  [{self.protocol}; queries {self.n_queries:,}/{self.n_expected:,}; "
            f"gallery {self.n_gallery:,}/{self.n_gallery_expected:,}]"
        )

    def as_json(self) -> dict[str, Any]:
        """For results.json: the metrics, the protocol as printed, and the counts."""
        return {
            "protocol": str(self.protocol),
            "metrics": dict(self.values),
            "n_queries": self.n_queries,
            "n_expected": self.n_expected,
            "n_gallery": self.n_gallery,
            "n_gallery_expected": self.n_gallery_expected,
        }


def fashioniq_recall(
    scores: Scores,
    gallery: Sequence[str],
    triplets: Sequence[Triplet],
    exclude_reference: bool = False,
    *,
    gallery_mode: GalleryMode = "original",
    caption_mode: QueryMode = "clip4cir",
    expected: Expected | None = None,
) -> Result:
    """R@10 and R@50 of one FashionIQ category; `mean_of` averages the three.

    `scores` float32 [n_rows, n_gallery]; rows as `queries.expand(triplets, caption_mode)` orders them: one a
    triplet, two for "cosmo" and "val". Raises `InputError` naming the query or image that is missing or
    double.
    """
    each = rows_per_triplet(caption_mode)
    category = _only(triplets, "category", "call once per category and average with mean_of")
    rows = [triplet for triplet in triplets for _ in range(each)]
    protocol = Protocol(
        dataset="fashioniq",
        split=_split(triplets, "fashioniq"),
        category=category,
        gallery=gallery_mode,
        exclude_reference=exclude_reference,
        caption_mode=caption_mode,
    )
    no_repeats(triplets)
    scores, column = checked_scores(scores, gallery, [row.triplet_id for row in rows])
    targets = target_columns(rows, column)
    references = reference_columns(rows, column, targets) if exclude_reference else None
    found = ranks(scores, targets, references)
    return _result(protocol, _recalls("R", found, FASHIONIQ_KS), triplets, gallery, expected, each)


def cirr_recall(
    scores: Scores, gallery: Sequence[str], triplets: Sequence[Triplet], *, expected: Expected | None = None
) -> Result:
    """CIRR: R@1/5/10/50 without the reference, Rs@1/2/3 among the other five members, mean = (R@5 + Rs@1)/2.

    `scores` float32 [n_queries, n_gallery]; only the hard target counts. Raises `InputError` naming what is
    missing.
    """
    protocol = Protocol(dataset="cirr", split=_split(triplets, "cirr"), exclude_reference=True)
    no_repeats(triplets)
    scores, column = checked_scores(scores, gallery, [row.triplet_id for row in triplets])
    targets = target_columns(triplets, column)
    references = reference_columns(triplets, column, targets)
    per_query = _recalls("R", ranks(scores, targets, references), CIRR_KS)
    per_query |= _recalls(
        "Rs", ranks_within(scores, targets, subset_columns(triplets, column)), CIRR_SUBSET_KS
    )
    per_query["mean"] = (per_query["R@5"] + per_query["Rs@1"]) / 2
    return _result(protocol, per_query, triplets, gallery, expected)


def circo_map(
    scores: Scores,
    gallery: Sequence[str],
    triplets: Sequence[Triplet],
    *,
    circo_text: CircoText = "relative",
    expected: Expected | None = None,
) -> Result:
    """CIRCO: mAP@5/10/25/50 over all ground truths, R@K of the target, mAP@10 of each semantic aspect.

    AP@K = sum over ranks i <= K of precision_i * relevant_i / min(number of ground truths, K); the reference
    stays in. `scores` float32 [n_queries, n_gallery]. Raises `InputError` naming what is missing.
    """
    protocol = Protocol(dataset="circo", split=_split(triplets, "circo"), circo_text=circo_text)
    no_repeats(triplets)
    scores, column = checked_scores(scores, gallery, [row.triplet_id for row in triplets])
    targets = target_columns(triplets, column)
    per_query: dict[str, NDArray[np.float64]] = {f"mAP@{k}": np.zeros(len(triplets)) for k in CIRCO_KS}
    for query, triplet in enumerate(triplets):
        truths = [
            column_of(column, name, triplet)
            for name in dict.fromkeys((str(triplet.target), *triplet.positives))
        ]
        row = np.repeat(scores[query : query + 1], len(truths), axis=0)
        found = np.sort(ranks(row, np.array(truths, dtype=np.int64)))
        precisions = np.arange(1, len(truths) + 1) / found
        for k in CIRCO_KS:
            per_query[f"mAP@{k}"][query] = precisions[found <= k].sum() / min(len(truths), k)
    per_query |= _recalls("R", ranks(scores, targets), CIRCO_KS)
    for aspect in sorted({aspect for triplet in triplets for aspect in triplet.semantic_aspects}):
        concerned = np.array([aspect in triplet.semantic_aspects for triplet in triplets])
        per_query[f"mAP@10/{aspect}"] = np.where(concerned, per_query["mAP@10"], np.nan)
    return _result(protocol, per_query, triplets, gallery, expected)


def mean_of(results: Sequence[Result]) -> dict[str, float]:
    """Unweighted mean over categories, as FashionIQ is published; `UsageError` if protocols differ
    otherwise."""
    choices = {str(result.protocol).partition("(")[2] for result in results}
    categories = [result.protocol.category for result in results]
    if len(choices) != 1 or len(set(categories)) != len(categories):
        raise UsageError(f"no mean over different protocols: {'; '.join(str(r.protocol) for r in results)}")
    return {name: float(np.mean([result[name] for result in results])) for name in results[0].values}


def _recalls(prefix: str, found: Columns, ks: Sequence[int]) -> dict[str, NDArray[np.float64]]:
    return {f"{prefix}@{k}": (found <= k).astype(np.float64) for k in ks}


def _result(
    protocol: Protocol,
    per_query: Mapping[str, NDArray[np.float64]],
    triplets: Sequence[Triplet],
    gallery: Sequence[str],
    expected: Expected | None,
    rows_each: int = 1,
) -> Result:
    wanted = expected or Expected()
    n_expected = _counted("query", [t.triplet_id for t in triplets], wanted.triplet_ids, wanted.allow_missing)
    return Result(
        protocol=protocol,
        values=MappingProxyType({name: float(np.nanmean(hits)) for name, hits in per_query.items()}),
        n_queries=len(triplets) * rows_each,
        n_expected=n_expected * rows_each,
        n_gallery=len(gallery),
        n_gallery_expected=_counted("gallery image", gallery, wanted.gallery, wanted.allow_missing),
        per_query=MappingProxyType(dict(per_query)),
    )


def _counted(what: str, present: Sequence[str], expected: Sequence[str], allow_missing: bool) -> int:
    """How many were expected; raises naming the first missing one (unless allowed) or one nobody expects."""
    if not expected:
        return len(present)
    have, want = set(present), set(expected)
    missing = [name for name in expected if name not in have]
    if missing and not allow_missing:
        raise InputError(
            f"{what} {missing[0]} and {len(missing) - 1} more are missing; the number compares with nothing"
        )
    foreign = [name for name in present if name not in want]
    if foreign:
        raise InputError(
            f"{what} {foreign[0]} and {len(foreign) - 1} more are not of this split; take them out"
        )
    return len(want)


def _only(triplets: Sequence[Triplet], attribute: str, cure: str) -> str | None:
    if not triplets:
        raise InputError("no triplets to evaluate; check the split and the category")
    values = {getattr(triplet, attribute) for triplet in triplets}
    if len(values) != 1:
        raise InputError(f"triplets of several: {attribute} is {', '.join(sorted(map(str, values)))}; {cure}")
    value: str | None = values.pop()
    return value


def _split(triplets: Sequence[Triplet], dataset: Dataset) -> str:
    if _only(triplets, "dataset", "one dataset at a time") != dataset:
        raise InputError(
            f"{triplets[0].triplet_id} is not a {dataset} triplet; use the protocol of its dataset"
        )
    return str(_only(triplets, "split", "one split at a time"))
