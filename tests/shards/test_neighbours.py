"""Look-alikes without subsets: the nearest images by the encoder, and what is asked about them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from annotate.checks import CHECKS
from annotate.encoder import nearest, vectors_of
from annotate.errors import TeacherRefused
from annotate.shards.neighbours import find_neighbours
from annotate.shards.plan import make_plan
from annotate.shards.run import annotate_triplet
from annotate.teacher.request import ENCODE_PICTURE, Ask, Picture, Reply, Request
from annotate.teacher.retry import Unanswered
from tests.shards.world import JOB, make_tools, scripted, triplet

ALL = [triplet(number, subset=()) for number in range(4)]


def encoder(angles: dict[str, float], asked: list[Request] | None = None) -> Ask:
    """Vectors on a circle, by digest; no answer where there is no angle."""

    async def embed(request: Request) -> Reply:
        assert request.stage == ENCODE_PICTURE
        if asked is not None:
            asked.append(request)
        (picture,) = request.turns[0].pictures
        if picture.source_digest not in angles:
            raise Unanswered("no_answer", "refused")
        angle = angles[picture.source_digest]
        return Reply(json.dumps([float(np.cos(angle)), float(np.sin(angle))]), "stop")

    return embed


def test_the_nearest_come_first_equals_by_name_and_never_oneself() -> None:
    vectors = np.array([[1, 0], [0.8, 0.6], [0.8, 0.6], [0, 1]], dtype=np.float32)
    found = nearest(["d", "c", "b", "a"], vectors, ["d", "d", "gone"], k=2)
    assert found == {"d": ("b", "c")}
    assert nearest(["d"], vectors[:1], ["d"]) == {"d": ()}


def test_a_picture_without_a_vector_is_nobodys_neighbour(tmp_path: Path) -> None:
    tools = make_tools(tmp_path, scripted(), ALL)
    one, other = Picture("a" * 64, "fit448-q90-v1"), Picture("b" * 64, "fit448-q90-v1")
    names, vectors = asyncio.run(
        vectors_of(encoder({"b" * 64: 0.0}), "clip", tools.writer, {"one": one, "other": other})
    )
    assert names == ("other",) and vectors.tolist() == [[1.0, 0.0]]


def test_pictures_without_a_vector_are_counted_since_another_run_may_have_them(tmp_path: Path) -> None:
    tools = replace(make_tools(tmp_path, scripted(), ALL), checks=CHECKS, encoder="clip")
    stored = [tools.images.store(path).source_digest for path in tools.paths.values()]
    said: list[str] = []
    embed = encoder({digest: 0.1 * place for place, digest in enumerate(stored[2:])})
    asyncio.run(find_neighbours(make_plan(ALL, JOB), tools, embed, said.append))
    (line,) = said
    assert f"no vector of 2 of {len(stored)} pictures" in line


def test_vectors_of_different_lengths_are_refused(tmp_path: Path) -> None:
    async def embed(request: Request) -> Reply:
        (picture,) = request.turns[0].pictures
        return Reply("[1.0]" if picture.source_digest.startswith("a") else "[1.0, 2.0]", "stop")

    pictures = {name: Picture(name * 64, "fit448-q90-v1") for name in "ab"}
    writer = make_tools(tmp_path, scripted(), ALL).writer
    with pytest.raises(TeacherRefused, match="different lengths"):
        asyncio.run(vectors_of(embed, "clip", writer, pictures))


def test_an_encoder_that_reads_no_picture_at_all_is_none(tmp_path: Path) -> None:
    writer = make_tools(tmp_path, scripted(), ALL).writer
    with pytest.raises(TeacherRefused, match="no vector of any of 1 images"):
        asyncio.run(vectors_of(encoder({}), "clip", writer, {"one": Picture("a" * 64, "fit448-q90-v1")}))


def test_a_triplet_without_a_subset_is_held_against_its_targets_neighbours(tmp_path: Path) -> None:
    tools = make_tools(tmp_path, scripted(), ALL)
    tools = replace(tools, checks=CHECKS, encoder="clip", early_stop=False)
    stored = {name: tools.images.store(path).source_digest for name, path in tools.paths.items()}
    angles = {digest: 0.1 * place for place, digest in enumerate(stored.values())}
    embed = encoder(angles)
    plan = make_plan(ALL, JOB)
    neighbours = asyncio.run(find_neighbours(plan, tools, embed, print))
    assert set(neighbours) == {each.target for each in ALL}
    assert all(len(set(found)) == 5 and target not in found for target, found in neighbours.items())

    bare = asyncio.run(annotate_triplet(ALL[1], replace(tools, checks=CHECKS[:-2])))
    assert (bare.margin, bare.also_matches) == (None, ())
    row = asyncio.run(annotate_triplet(ALL[1], replace(tools, neighbours=neighbours)))
    assert row.margin == pytest.approx(0.5)  # this teacher believes all of them
    assert set(row.also_matches) == set(neighbours["target-1"]) - {"ref-1"}
    right = next(name for name in row.also_matches if name.startswith("target"))
    known = triplet(1, subset=(), positives=(right,))
    row = asyncio.run(annotate_triplet(known, replace(tools, neighbours=neighbours)))
    assert set(row.also_matches) == set(neighbours["target-1"]) - {"ref-1", right}, "a right target is none"


def test_nothing_is_embedded_where_subsets_are_known_or_nobody_asks(tmp_path: Path) -> None:
    asked: list[Request] = []
    tools = make_tools(tmp_path, scripted(), ALL)
    with_subsets = [triplet(number, subset=("target-0", "target-1")) for number in range(4)]
    for triplets, checks in ((with_subsets, CHECKS), (ALL, tools.checks)):
        plan = make_plan(triplets, JOB)
        found = asyncio.run(find_neighbours(plan, replace(tools, checks=checks), encoder({}, asked), print))
        assert (found, asked) == ({}, [])
