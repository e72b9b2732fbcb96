"""Explanations: ranks as the protocol counts them, kinds of edit from the chain, an escaped page."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from retrieval.encode import EncodedQueries
from retrieval.eval_sets import open_eval_sets
from retrieval.evaluate import Choices, Evaluation, measure
from retrieval.explain import NO_CHAIN, Explained, by_kind, edit_kinds, explain, write_csv, write_page
from tests.retrieval import tiny_world

CHAIN = (
    "caption: red\nrationale: r\nedits: color: red -> blue; hem: a -> b; color: x -> y\nkept: \nconclusion: c"
)


def test_kinds_of_edit_are_read_from_the_chain_each_once() -> None:
    assert edit_kinds(CHAIN) == ("color", "hem")
    assert edit_kinds("edits: hem: a -> b; print: none -> says: hi; bye: now") == ("hem", "print")
    assert edit_kinds("caption: red") == edit_kinds(None) == edit_kinds("edits: nonsense") == (NO_CHAIN,)


def test_every_query_is_explained_worst_first_with_the_rank_of_its_protocol(tmp_path: Path) -> None:
    root = tiny_world.cirr(tmp_path / "cirr", "val")
    (eval_set,) = open_eval_sets("cirr", root, Choices())
    scores = np.random.default_rng(0).random((12, 18), dtype=np.float32)
    chains = (CHAIN.replace("red", "<script>alert(1)</script>"), *[None] * 11)
    queries = EncodedQueries(np.zeros((12, 2), np.float32), chains, 0.0, 0.0)
    done = Evaluation(measure(eval_set, Choices(), scores), scores, queries)
    explained = explain(eval_set, Choices(), done, k=5)
    assert [one.rank for one in explained] == sorted((one.rank for one in explained), reverse=True)
    assert np.mean([one.rank == 1 for one in explained]) == done.result["R@1"]
    assert np.mean([one.rank <= 10 for one in explained]) == done.result["R@10"]
    assert all(one.reference not in [name for name, _ in one.best] for one in explained)
    assert all((one.rank <= 5) == (one.target in [name for name, _ in one.best]) for one in explained)
    kinds = {kind: (count, hit) for kind, count, hit in by_kind(explained)}
    assert kinds[NO_CHAIN][0] == 11 and kinds["hem"][0] == 1
    rows = list(csv.DictReader(write_csv(tmp_path / "a.csv", explained).open()))
    assert [int(row["rank"]) for row in rows] == [one.rank for one in explained]
    page = write_page(tmp_path / "a.html", explained, 12, eval_set, "<b>title", "fit448-q90-v1").read_text()
    assert "<script>" not in page and "&lt;script&gt;" in page and "<b>title" not in page
    assert page.count("<section") == 12
    page = write_page(tmp_path / "a.html", explained, 3, eval_set, "title", "fit448-q90-v1").read_text()
    assert page.count("<section") == 3
    for kind, (count, hit) in kinds.items():
        row = f"<tr><td>{kind}</td><td>{count}</td><td>{100 * hit:.1f}"
        assert row in page, "kinds are of all queries, not of the worst ones that are shown"


def test_a_text_that_a_spreadsheet_would_run_is_written_as_text(tmp_path: Path) -> None:
    hostile = Explained("cirr/val/1", "=a", "+b", "=HYPERLINK(0)", "@SUM(1)", ("-x",), 3, (("=c", 0.5),))
    (row,) = csv.DictReader(write_csv(tmp_path / "a.csv", [hostile]).open())
    texts = [row[name] for name in ("reference", "target", "modification", "edit_kinds", "best", "chain")]
    assert all(text.startswith("'") for text in texts)
    assert (row["triplet_id"], row["rank"]) == ("cirr/val/1", "3")
