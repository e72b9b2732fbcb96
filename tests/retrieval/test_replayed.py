"""Queries are kept by parts: what was written before an interruption is not written again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from annotate.errors import InputError
from retrieval.encode import EncodedQueries, QueryText, replayed
from retrieval.pictures import Pictures
from tests.retrieval import tiny_world


@pytest.fixture
def queries(tmp_path: Path) -> list[QueryText]:
    path = tmp_path / "reference.png"
    tiny_world.picture(path, 1)
    return [QueryText(path, f"query {number}") for number in range(12)]


class Encoder:
    """Encodes a part and notes what it was asked; fails at the query called `fails`."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails
        self.asked: list[str] = []

    def __call__(self, queries: Sequence[QueryText], say: Callable[[str], None]) -> EncodedQueries:
        for query in queries:
            if query.text == self.fails:
                raise InputError(f"no chain for {query.text}")
            self.asked.append(query.text)
        say(f"queries {len(queries)}/{len(queries)}")
        numbers = [float(query.text.split()[1]) for query in queries]
        vectors = np.array([[number, 1.0] for number in numbers], dtype=np.float32)
        return EncodedQueries(vectors, tuple(f"chain of {query.text}" for query in queries), 2.0, 1.0)


def test_a_query_that_fails_throws_away_no_part_before_its_own(
    tmp_path: Path, queries: list[QueryText]
) -> None:
    kept = partial(replayed, tmp_path / "kept", ["how"], queries, Pictures(), part=5)
    first, second = Encoder(fails="query 11"), Encoder()
    with pytest.raises(InputError, match="no chain for query 11"):
        kept(first)
    lines: list[str] = []
    found = kept(second, lines.append)
    assert second.asked == ["query 10", "query 11"], "the two parts before it are read"
    assert lines == ["part 3/3: queries 2/2"]
    assert found.chains == tuple(f"chain of query {number}" for number in range(12))
    assert found.vectors[:, 0].tolist() == list(range(12))
    assert (found.writing_seconds, found.embedding_seconds) == (6.0, 3.0)


def test_a_part_of_other_queries_or_asked_otherwise_is_encoded(
    tmp_path: Path, queries: list[QueryText]
) -> None:
    def encoded(how: str, asked: Sequence[QueryText]) -> int:
        encoder = Encoder()
        replayed(tmp_path / "kept", [how], asked, Pictures(), encoder, part=5)
        return len(encoder.asked)

    assert (encoded("how", queries), encoded("how", queries), encoded("otherwise", queries)) == (12, 0, 12)
    assert encoded("how", [*queries[:7], QueryText(queries[7].reference, "query 99"), *queries[8:]]) == 5
    tiny_world.picture(queries[0].reference, 2)
    assert encoded("how", queries) == 12, "the reference is another picture"
