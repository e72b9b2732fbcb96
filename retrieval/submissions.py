"""Submission files for the two evaluation servers, validated against their rules before anything is written.

CIRR test1 (two files: recall, recall_subset) and CIRCO test. The rules are those of the servers'
documentation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from annotate.errors import InputError
from annotate.files import write_output
from retrieval.alignment import checked_scores, reference_columns, subset_columns
from retrieval.ranking import Scores, top
from schemas.triplet import Triplet

TEST_SPLITS = {"cirr": "test1", "circo": "test"}
"""The splits whose targets only the servers know."""
CIRR_TOP, CIRR_SUBSET_TOP, CIRR_MAX_BYTES = 50, 3, 5 * 1024 * 1024
CIRCO_TOP, CIRCO_TEST_QUERIES = 50, 800


def write_cirr_submission(
    folder: Path, scores: Scores, gallery: Sequence[str], triplets: Sequence[Triplet]
) -> tuple[Path, Path]:
    """Write `recall.json` and `recall_subset.json` from `scores` float32 [n_queries, n_gallery], validated.

    `triplets` are the whole split; `native_id` is the pairid. Raises `InputError` naming what breaks a rule.
    """
    matrix, column = checked_scores(scores, gallery, [triplet.triplet_id for triplet in triplets])
    references = reference_columns(triplets, column)
    best = top(matrix, CIRR_TOP, references)
    members = subset_columns(triplets, column)
    members.sort(axis=1)  # gallery order, for ties
    order = np.argsort(-np.take_along_axis(matrix, members, axis=1), axis=1, kind="stable")
    nearest = np.take_along_axis(members, order[:, :CIRR_SUBSET_TOP], axis=1)
    recall = {t.native_id: [gallery[i] for i in row] for t, row in zip(triplets, best, strict=True)}
    subset = {t.native_id: [gallery[i] for i in row] for t, row in zip(triplets, nearest, strict=True)}
    validate_cirr(recall, triplets, gallery, subset=False)
    validate_cirr(subset, triplets, gallery, subset=True)
    paths = (folder / "recall.json", folder / "recall_subset.json")
    for path, metric, lists in zip(paths, ("recall", "recall_subset"), (recall, subset), strict=True):
        text = json.dumps({"version": "rc2", "metric": metric, **lists})
        if len(text.encode()) > CIRR_MAX_BYTES:
            raise InputError(
                f"{path.name} would have {len(text.encode())} bytes, but the CIRR server takes 5 MB"
            )
        write_output(path, text)
    return paths


def validate_cirr(
    lists: Mapping[str, Sequence[str]], triplets: Sequence[Triplet], gallery: Sequence[str], subset: bool
) -> None:
    """Raise `InputError` at the first rule of the CIRR server that `lists` (pairid -> best names) breaks."""
    names, length = set(gallery), CIRR_SUBSET_TOP if subset else CIRR_TOP
    _same_queries(lists, triplets)
    for triplet in triplets:
        answer = lists[triplet.native_id]
        where = f"CIRR submission, pairid {triplet.native_id}"
        if len(answer) != length or len(set(answer)) != length:
            raise InputError(
                f"{where}: needs {length} different names, has {len(set(answer))} of {len(answer)}"
            )
        if triplet.reference in answer:
            raise InputError(f"{where}: the reference {triplet.reference} must not be in its own answer")
        allowed = set(triplet.subset) if subset else names
        for name in answer:
            if name not in allowed:
                what = (
                    "a member of its subset" if subset else "an image of the split (names have no extension)"
                )
                raise InputError(f"{where}: {name} is not {what}")


def write_circo_submission(
    path: Path,
    scores: Scores,
    gallery: Sequence[str],
    triplets: Sequence[Triplet],
    n_queries: int = CIRCO_TEST_QUERIES,
) -> Path:
    """Write `{"0": [50 image ids], …}` from `scores` float32 [n_queries, n_gallery]; validated first.

    Gallery names are COCO file names without extension (12 digits) or plain ids. The reference stays in.
    """
    matrix, _ = checked_scores(scores, gallery, [triplet.triplet_id for triplet in triplets])
    ids = [_coco_id(name) for name in gallery]
    lists = {
        t.native_id: [ids[i] for i in row] for t, row in zip(triplets, top(matrix, CIRCO_TOP), strict=True)
    }
    validate_circo(lists, triplets, set(ids), n_queries)
    write_output(path, json.dumps(lists))
    return path


def validate_circo(
    lists: Mapping[str, Sequence[int]],
    triplets: Sequence[Triplet],
    ids: set[int],
    n_queries: int = CIRCO_TEST_QUERIES,
) -> None:
    """Raise `InputError` at the first rule of the CIRCO server that `lists` (query -> image ids) breaks."""
    _same_queries(lists, triplets)
    absent = [str(i) for i in range(n_queries) if str(i) not in lists]
    if absent or len(lists) != n_queries:
        raise InputError(
            f"CIRCO submission: needs the queries 0 to {n_queries - 1}, first missing: {absent[:1] or 'none'}"
        )
    for query, answer in lists.items():
        if len(answer) != CIRCO_TOP or len(set(answer)) != CIRCO_TOP:
            raise InputError(
                f"CIRCO submission, query {query}: needs {CIRCO_TOP} different ids, has {len(set(answer))}"
            )
        for image in answer:
            if isinstance(image, bool) or not isinstance(image, int) or image not in ids:
                raise InputError(
                    f"CIRCO submission, query {query}: {image!r} is not the id of a gallery image"
                )


def _same_queries(lists: Mapping[str, object], triplets: Sequence[Triplet]) -> None:
    wanted = [triplet.native_id for triplet in triplets]
    for query in wanted:
        if query not in lists:
            raise InputError(
                f"submission: query {query} is missing; every query must be answered, blank texts too"
            )
    for query in lists.keys() - set(wanted):
        raise InputError(f"submission: query {query} is not in the annotation file")


def _coco_id(name: str) -> int:
    if not name.isdigit():
        raise InputError(f"gallery image {name} is no COCO id; the CIRCO server wants image ids")
    return int(name)
