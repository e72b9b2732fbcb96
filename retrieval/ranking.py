"""Ranks by counting: 1 + strictly better + equal and earlier in the gallery. Exact on ties, no sort.

The target's score must come from the same matrix product as the scores it is compared with: a product of
another shape may differ in the last bit, and the target then "beats itself" (tests/retrieval/test_ranking.py
measures it).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from annotate.errors import InputError

Scores = NDArray[np.float32]
Columns = NDArray[np.int64]

BLOCK_BYTES = 64 * 1024 * 1024  # of scores held at once


def ranks(scores: Scores, columns: Columns, excluded: Columns | None = None) -> Columns:
    """Rank (from 1) of column `columns[q]` in row q of `scores` [n_queries, n_gallery]; ties in gallery
    order.

    `excluded[q]` is a column that query q does not see (-1: none), as CIRR's reference. Returns [n_queries]
    int64.
    """
    result = np.empty(len(scores), dtype=np.int64)
    for rows in _row_blocks(len(scores), scores.shape[1]):
        result[rows] = _block_ranks(scores[rows], columns[rows], None if excluded is None else excluded[rows])
    return result


def ranks_within(scores: Scores, columns: Columns, members: Columns) -> Columns:
    """Rank (from 1) of column `columns[q]` among the columns `members[q]` [n_queries, n_members] only."""
    own = np.take_along_axis(scores, columns[:, None], axis=1)
    theirs = np.take_along_axis(scores, members, axis=1)
    ahead = (theirs > own) | ((theirs == own) & (members < columns[:, None]))
    return np.asarray(1 + ahead.sum(axis=1), dtype=np.int64)


def ranks_by_embedding(
    queries: Scores, gallery: Scores, columns: Columns, excluded: Columns | None = None, rows_at_once: int = 0
) -> Columns:
    """`ranks` of `queries` [n_queries, dim] against `gallery` [n_gallery, dim] never holding all scores."""
    result = np.empty(len(queries), dtype=np.int64)
    for rows, block in score_blocks(queries, gallery, rows_at_once):
        result[rows] = _block_ranks(block, columns[rows], None if excluded is None else excluded[rows])
    return result


def score_blocks(queries: Scores, gallery: Scores, rows_at_once: int = 0) -> Iterator[tuple[slice, Scores]]:
    """Dot products of some queries with the whole gallery, block by block, in float32."""
    wide, tall = np.ascontiguousarray(gallery, np.float32), np.ascontiguousarray(queries, np.float32)
    for rows in _row_blocks(len(tall), len(wide), rows_at_once):
        yield rows, tall[rows] @ wide.T


def top(scores: Scores, k: int, excluded: Columns | None = None) -> Columns:
    """Columns of the k best of each row of `scores`, best first, ties in gallery order. [n_queries, k] int64.

    Raises `InputError` when fewer than k columns are left.
    """
    n_gallery = scores.shape[1]
    if k > n_gallery - (excluded is not None):
        raise InputError(f"asked for the best {k} of a gallery of {n_gallery}; ask for fewer")
    result = np.empty((len(scores), k), dtype=np.int64)
    for query, row in enumerate(scores):
        candidates = np.arange(n_gallery)
        if excluded is not None and excluded[query] >= 0:
            candidates = np.delete(candidates, excluded[query])
        if k < len(candidates):  # keep everything that ties with the k-th, so that ties stay in gallery order
            threshold = np.partition(row[candidates], len(candidates) - k)[len(candidates) - k]
            candidates = candidates[row[candidates] >= threshold]
        order = np.argsort(-row[candidates], kind="stable")[:k]
        result[query] = candidates[order]
    return result


def _block_ranks(block: Scores, columns: Columns, excluded: Columns | None) -> Columns:
    own = np.take_along_axis(block, columns[:, None], axis=1)
    earlier = np.arange(block.shape[1])[None, :] < columns[:, None]
    ahead = (block > own) | ((block == own) & earlier)
    if excluded is not None:
        rows = np.flatnonzero(excluded >= 0)
        ahead[rows, excluded[rows]] = False
    return np.asarray(1 + ahead.sum(axis=1), dtype=np.int64)


def _row_blocks(n_rows: int, n_columns: int, rows_at_once: int = 0) -> Iterator[slice]:
    step = rows_at_once or max(1, BLOCK_BYTES // (4 * max(1, n_columns)))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))
