"""The image-text encoder (ENCODER_URL): vectors of texts and pictures, and the nearest pictures of a target.

CIRR says which images look alike (its subsets); for other datasets the neighbours that an encoder finds among
the pictures of the run stand in for them. Every vector is a request like any other, so the journal keeps it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from annotate.errors import TeacherRefused
from annotate.stages import Writer, prompt_digest
from annotate.teacher.request import ENCODE_PICTURE, ENCODE_TEXT, Ask, Picture, Reply, Request, Turn
from annotate.teacher.retry import Unanswered
from annotate.text import parse_json

NEIGHBOURS = 5
"""As many as CIRR's subsets have beside the target, the reference among them."""
BLOCK = 1024


def encode_request(encoder: str, writer: Writer, text: str, picture: Picture | None) -> Request:
    """The vector of a text or of a picture, as a request."""
    stage = ENCODE_TEXT if picture is None else ENCODE_PICTURE
    turn = Turn("user", text, () if picture is None else (picture,))
    return Request(stage=stage, model=encoder, turns=(turn,), prompt_digest=prompt_digest(writer))


def vector_of(reply: Reply) -> list[float]:
    """The numbers of a reply. Raises `Unanswered("no_answer")` when it is no vector."""
    try:
        vector = [float(value) for value in parse_json(reply.text)]
    except (ValueError, TypeError, OverflowError) as error:
        raise Unanswered("no_answer", f"the encoder gave no vector: {reply.text[:80]!r}") from error
    if not vector or not all(map(math.isfinite, vector)):
        raise Unanswered("no_answer", "the encoder gave an empty or infinite vector")
    return vector


async def vectors_of(
    embed: Ask, encoder: str, writer: Writer, pictures: Mapping[str, Picture]
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Names and unit vectors [n, dim] of the pictures that the encoder has an answer for: one that it cannot
    read is nobody's neighbour. Raises `TeacherRefused` when it can read none or its vectors differ in length,
    and whatever `embed` raises but `Unanswered`."""

    async def one(picture: Picture) -> NDArray[np.float32] | None:
        try:
            vector = np.array(vector_of(await embed(encode_request(encoder, writer, "", picture))))
        except Unanswered:
            return None
        length = np.linalg.norm(vector)
        return (vector / length).astype(np.float32) if 0 < length < math.inf else None

    names = tuple(pictures)
    found: dict[str, NDArray[np.float32]] = {}
    for start in range(0, len(names), BLOCK):
        block = names[start : start + BLOCK]
        told = await asyncio.gather(*(one(pictures[name]) for name in block))
        found |= {name: vector for name, vector in zip(block, told, strict=True) if vector is not None}
    if names and len({len(vector) for vector in found.values()}) != 1:
        what = "vectors of different lengths" if found else f"no vector of any of {len(names):,} images"
        raise TeacherRefused(
            f"the encoder {encoder} gave {what}; ENCODER_URL needs one image-text model, served with "
            "--runner pooling"
        )
    return tuple(found), np.stack(list(found.values())) if found else np.zeros((0, 1), np.float32)


def nearest(
    names: Sequence[str], vectors: NDArray[np.float32], wanted: Sequence[str], k: int = NEIGHBOURS
) -> dict[str, tuple[str, ...]]:
    """The `k` nearest others of each wanted picture by cosine, nearest first; equals by name."""
    order = sorted(range(len(names)), key=names.__getitem__)
    sorted_names, table = [names[place] for place in order], vectors[order]
    row_of = {name: row for row, name in enumerate(sorted_names)}
    asked = [name for name in dict.fromkeys(wanted) if name in row_of]
    found = {}
    for start in range(0, len(asked), BLOCK):
        block = asked[start : start + BLOCK]
        rows = np.array([row_of[name] for name in block])
        scores = table[rows] @ table.T
        scores[np.arange(len(rows)), rows] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, : min(k, len(sorted_names) - 1)]
        for name, places in zip(block, best.tolist(), strict=True):
            found[name] = tuple(sorted_names[place] for place in places)
    return found
