"""Ranks by counting equal the ranks of a full stable sort; the float32 trap is measured, not assumed."""

from __future__ import annotations

import numpy as np
import pytest

from annotate.errors import InputError
from retrieval import ranking
from retrieval.ranking import Columns, Scores, ranks, ranks_by_embedding, ranks_within, score_blocks, top


def naive_rank(row: Scores, column: int, excluded: int = -1) -> int:
    """Sort everything, score descending and gallery order, then look where the column is."""
    order = sorted(range(len(row)), key=lambda index: (-float(row[index]), index))
    return [index for index in order if index != excluded].index(column) + 1


def tied_scores(seed: int, n_queries: int = 60, n_gallery: int = 90) -> Scores:
    """Few distinct values, so that almost every target is tied with others."""
    return np.random.default_rng(seed).integers(0, 7, (n_queries, n_gallery)).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_ranks_equal_a_full_stable_sort_on_ties(seed: int) -> None:
    scores = tied_scores(seed)
    columns = np.random.default_rng(seed + 10).integers(0, 90, 60)
    assert ranks(scores, columns).tolist() == [naive_rank(scores[i], c) for i, c in enumerate(columns)]


def test_an_excluded_column_neither_counts_nor_shifts_others_but_minus_one_excludes_nothing() -> None:
    scores = tied_scores(5)
    rng = np.random.default_rng(6)
    columns = rng.integers(0, 90, 60)
    excluded = np.where(np.arange(60) % 3 == 0, -1, (columns + rng.integers(1, 90, 60)) % 90)
    expected = [naive_rank(scores[i], c, excluded[i]) for i, c in enumerate(columns)]
    assert ranks(scores, columns, excluded).tolist() == expected
    assert ranks(scores, columns).tolist() != expected


def test_blocks_of_rows_change_nothing_with_an_uneven_last_block(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = tied_scores(7)
    columns = np.random.default_rng(8).integers(0, 90, 60)
    whole = ranks(scores, columns)
    monkeypatch.setattr(ranking, "BLOCK_BYTES", 7 * 4 * 90)
    assert len(list(ranking._row_blocks(60, 90))) == 9
    assert ranks(scores, columns).tolist() == whole.tolist()


def test_ranks_within_members_keep_gallery_order_on_ties() -> None:
    scores = tied_scores(9)
    rng = np.random.default_rng(10)
    members = np.array([rng.permutation(90)[:5] for _ in range(60)])
    columns = members[:, 2]
    expected = []
    for row, own, five in zip(scores, columns, members, strict=True):
        order = sorted(five, key=lambda index: (-float(row[index]), index))
        expected.append(order.index(own) + 1)
    assert ranks_within(scores, columns, members).tolist() == expected


def test_top_equals_the_head_of_a_full_stable_sort_also_when_the_last_place_is_tied() -> None:
    scores = tied_scores(11)
    excluded = np.random.default_rng(12).integers(0, 90, 60)
    for k in (1, 13, 89):
        found = top(scores, k, excluded)
        for row, out, best in zip(scores, excluded, found, strict=True):
            order = sorted((i for i in range(90) if i != out), key=lambda i: (-float(row[i]), i))
            assert best.tolist() == order[:k]
    with pytest.raises(InputError, match="best 90 of a gallery of 90"):
        top(scores, 90, excluded)


def unit_rows(rng: np.random.Generator, n: int, dim: int) -> Scores:
    rows = rng.standard_normal((n, dim)).astype(np.float32)
    result: Scores = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return result


@pytest.mark.parametrize("rows_at_once", [0, 64, 512, 333])
def test_ranks_by_embedding_take_the_target_score_from_the_same_block(rows_at_once: int) -> None:
    rng = np.random.default_rng(13)
    queries, gallery = unit_rows(rng, 700, 512), unit_rows(rng, 2000, 512)
    columns = rng.integers(0, 2000, 700)
    found = ranks_by_embedding(queries, gallery, columns, rows_at_once=rows_at_once)
    blocks = list(score_blocks(queries, gallery, rows_at_once))
    assert [rows.stop - rows.start for rows, _ in blocks[:-1]] == [rows_at_once] * (len(blocks) - 1)
    for rows, block in blocks:
        expected = [naive_rank(row, column) for row, column in zip(block, columns[rows], strict=True)]
        assert found[rows].tolist() == expected


def test_a_target_score_from_another_product_beats_itself_which_is_the_trap_we_avoid() -> None:
    """Why `ranks` reads the score from the block: a row-by-row product differs in the last bit for some, for
    which on what machine is its own affair; wherever it is lower, the target counts among the better ones."""
    rng = np.random.default_rng(14)
    queries, gallery = unit_rows(rng, 2000, 512), unit_rows(rng, 2000, 512)
    columns: Columns = rng.integers(0, 2000, 2000)
    matrix = queries @ gallery.T
    own = matrix[np.arange(2000), columns]
    right = ranks(matrix, columns)
    assert right.tolist() == [naive_rank(row, column) for row, column in zip(matrix, columns, strict=True)]
    elsewhere = np.array([queries[i] @ gallery[c] for i, c in enumerate(columns)], dtype=np.float32)
    last_bit_off = np.nextafter(own, np.float32(-1))
    for scores in (elsewhere, last_bit_off):
        wrong = 1 + (matrix > scores[:, None]).sum(axis=1)
        assert (wrong - right).tolist() == (scores < own).astype(int).tolist()
    assert (wrong == right + 1).all(), "a bit too low, every target beats itself"
