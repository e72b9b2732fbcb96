"""Which row is which query, which column is which image; raises and names whatever does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from annotate.errors import InputError
from retrieval.ranking import Columns, Scores
from schemas.triplet import Triplet


def checked_scores(
    scores: Scores, gallery: Sequence[str], row_names: Sequence[str]
) -> tuple[Scores, dict[str, int]]:
    """Scores as float32 and the column of each gallery name; raises when shape, names or values are wrong."""
    matrix: Scores = np.asarray(scores, dtype=np.float32)
    if matrix.shape != (len(row_names), len(gallery)):
        raise InputError(
            f"scores are {list(matrix.shape)}, but there are {len(row_names)} queries, {len(gallery)} images"
        )
    column = {name: index for index, name in enumerate(gallery)}
    if len(column) != len(gallery):
        double = next(name for index, name in enumerate(gallery) if column[name] != index)
        raise InputError(f"gallery image {double} is there twice; a target must be exactly one image")
    if np.isnan(matrix).any():
        row, col = np.argwhere(np.isnan(matrix))[0]
        raise InputError(f"the score of query {row_names[row]} and image {gallery[col]} is not a number")
    return matrix, column


def no_repeats(triplets: Sequence[Triplet]) -> None:
    """Raise when a query is there twice: it would count double."""
    seen: set[str] = set()
    for triplet in triplets:
        if triplet.triplet_id in seen:
            raise InputError(f"query {triplet.triplet_id} is there twice; give every triplet once")
        seen.add(triplet.triplet_id)


def column_of(column: Mapping[str, int], name: str, triplet: Triplet) -> int:
    """Gallery column of an image that `triplet` needs; raises naming both."""
    if name not in column:
        raise InputError(
            f"image {name} of {triplet.triplet_id} is not in the gallery; embed it or leave the query out"
        )
    return column[name]


def target_columns(rows: Sequence[Triplet], column: Mapping[str, int]) -> Columns:
    """Column of each row's target: exactly one hit a query, as names are unique and every target is found."""
    for triplet in rows:
        if triplet.target is None:
            raise InputError(
                f"{triplet.triplet_id} has no target; such a split goes to the submission server"
            )
    return np.array([column_of(column, str(triplet.target), triplet) for triplet in rows], dtype=np.int64)


def reference_columns(
    rows: Sequence[Triplet], column: Mapping[str, int], targets: Columns | None = None
) -> Columns:
    """Column of each row's reference, to be left out; raises when that would leave out the target itself."""
    references = np.array([column_of(column, triplet.reference, triplet) for triplet in rows], dtype=np.int64)
    if targets is not None and (references == targets).any():
        row = rows[int(np.argmax(references == targets))]
        raise InputError(f"{row.triplet_id}: its target is its reference, which this protocol leaves out")
    return references


def subset_columns(triplets: Sequence[Triplet], column: Mapping[str, int]) -> Columns:
    """CIRR: gallery columns of each triplet's members without its reference, [n_queries, 5]."""
    result = np.empty((len(triplets), 5), dtype=np.int64)
    for index, triplet in enumerate(triplets):
        others = [name for name in triplet.subset if name != triplet.reference]
        if len(set(others)) != 5 or len(triplet.subset) != 6:
            raise InputError(
                f"{triplet.triplet_id} has no six members with its reference; take the official file"
            )
        if triplet.target is not None and triplet.target not in others:
            raise InputError(f"target {triplet.target} of {triplet.triplet_id} is not among its members")
        result[index] = [column_of(column, name, triplet) for name in others]
    return result
