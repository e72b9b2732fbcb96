"""How far two lazy readers get: the nearest picture by raw pixels, and a linear probe on 8 x 8 thumbnails.

The world is no toy when both stay below 0.25 caption exact match; docs/sample.md has what was measured:
`python -m sample.difficulty --domain scenes --pictures 60000`. Pictures are streamed: memory grows by
192 bytes a picture (the thumbnails).
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from annotate.errors import UsageError
from annotate.text import plain
from sample.looks import Look
from sample.vocabulary import (
    ABSENT,
    ARRANGEMENTS,
    BACKGROUNDS,
    COLORS,
    GARMENT_NOUNS,
    GARMENT_VALUES,
    KINDS,
    PATTERNS,
    SIZES,
    Domain,
)
from sample.world import draw_look, render

CHUNK = 500
BATCH = 256
THUMBNAIL = 8


@dataclass(frozen=True, slots=True)
class Difficulty:
    """Caption exact match (all aspects right) and mean aspect accuracy of both readers, 0 to 1."""

    domain: str
    pictures: int
    held_out: int
    nearest_exact: float
    nearest_aspects: float
    probe_exact: float
    probe_aspects: float


def heads(domain: Domain) -> list[tuple[str, ...]]:
    """The values of each aspect, the garment's category included."""
    if domain == "garments":
        return [tuple(GARMENT_NOUNS), *GARMENT_VALUES.values()]
    shown = tuple(f"{size} {pattern} {color}" for size in SIZES for pattern in PATTERNS for color in COLORS)
    return [(ABSENT, *shown) for _ in KINDS] + [BACKGROUNDS, ARRANGEMENTS]


def codes(look: Look, values: Sequence[Sequence[str]]) -> list[int]:
    """Index of the look's value in each head."""
    shown = [value for _, value in look.attributes]
    if look.category:
        shown = [look.category, *shown]
    return [head.index(value) for head, value in zip(values, shown, strict=True)]


def draw(
    domain: Domain, count: int, seed: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64]]]:
    """Chunks of pictures [n, 128, 128, 3], thumbnails [n, 192] and codes [n, aspects]."""
    rng = random.Random(f"difficulty/{domain}/{seed}")
    values = heads(domain)
    while count > 0:
        looks = [draw_look(rng, domain) for _ in range(min(CHUNK, count))]
        images = [render(look, rng) for look in looks]
        small = [image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX) for image in images]
        yield (
            np.stack([np.asarray(image) for image in images]),
            np.stack([np.asarray(image).reshape(-1) for image in small]),
            np.array([codes(look, values) for look in looks], dtype=np.int64),
        )
        count -= len(looks)


def fit_probe(
    thumbnails: NDArray[np.uint8], labels: NDArray[np.int64], widths: Sequence[int], steps: int
) -> NDArray[np.float32]:
    """Softmax regression, a head an aspect, by Adam; weights float32 [192 + 1, sum(widths)]."""
    starts = np.concatenate([[0], np.cumsum(widths)[:-1]])
    weights = np.zeros((thumbnails.shape[1] + 1, int(sum(widths))), dtype=np.float32)
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    rng = np.random.default_rng(0)
    for step in range(1, steps + 1):
        rate = 0.01 * (1 - (step - 1) / steps)
        rows = rng.integers(0, len(thumbnails), BATCH)
        inputs = _inputs(thumbnails[rows])
        error = _softmax(inputs @ weights, starts, widths)
        for column, start in enumerate(starts.tolist()):
            error[np.arange(len(rows)), start + labels[rows, column]] -= 1
        gradient = inputs.T @ error / np.float32(len(rows))
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        weights -= rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    return weights


def _inputs(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    scaled = thumbnails.astype(np.float32) / 64 - 2
    return np.concatenate([scaled, np.ones((len(scaled), 1), dtype=np.float32)], axis=1)


def _softmax(
    scores: NDArray[np.float32], starts: NDArray[np.int64], widths: Sequence[int]
) -> NDArray[np.float32]:
    for start, width in zip(starts.tolist(), widths, strict=True):
        part = scores[:, start : start + width]
        part = np.exp(part - part.max(axis=1, keepdims=True))
        scores[:, start : start + width] = part / part.sum(axis=1, keepdims=True)
    return scores


def measure(domain: Domain, pictures: int, held_out: int, seed: int = 0, steps: int = 6000) -> Difficulty:
    """Fit both readers on `pictures` and read `held_out` others."""
    queries, small, wanted = (
        np.concatenate(part) for part in zip(*draw(domain, held_out, -seed - 1), strict=True)
    )
    flat = queries.reshape(held_out, -1).astype(np.float32)
    best = np.full(held_out, np.inf, dtype=np.float32)
    nearest = np.zeros_like(wanted)
    thumbnails, labels = [], []
    for images, thumbs, found in draw(domain, pictures, seed):
        known = images.reshape(len(images), -1).astype(np.float32)
        distance = (known**2).sum(axis=1)[None] - 2 * flat @ known.T  # less the query's own square
        at = distance.argmin(axis=1)
        closer = distance.min(axis=1) < best
        best = np.where(closer, distance.min(axis=1), best)
        nearest[closer] = found[at[closer]]
        thumbnails.append(thumbs)
        labels.append(found)
    widths = [len(head) for head in heads(domain)]
    weights = fit_probe(np.concatenate(thumbnails), np.concatenate(labels), widths, steps)
    scores = _inputs(small) @ weights
    edges = np.cumsum(widths)[:-1].tolist()
    read = np.stack([part.argmax(axis=1) for part in np.split(scores, edges, axis=1)], axis=1)
    near, probe = nearest == wanted, read == wanted
    return Difficulty(
        domain=domain,
        pictures=pictures,
        held_out=held_out,
        nearest_exact=float(near.all(axis=1).mean()),
        nearest_aspects=float(near.mean()),
        probe_exact=float(probe.all(axis=1).mean()),
        probe_aspects=float(probe.mean()),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print one JSON object; 2 and one line on stderr where nothing is left to measure."""
    parser = argparse.ArgumentParser(prog="python -m sample.difficulty", description=__doc__)
    parser.add_argument("--domain", choices=("garments", "scenes"), required=True)
    parser.add_argument("--pictures", type=int, default=20000)
    parser.add_argument("--held-out", type=int, default=500)
    parser.add_argument("--steps", type=int, default=6000, help="of 256 pictures, for the probe")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    if min(given.pictures, given.held_out, given.steps) < 1:
        error = UsageError("--pictures, --held-out and --steps take whole numbers from 1")
        print(f"error: {plain(str(error))}", file=sys.stderr)
        return error.exit_status
    print(json.dumps(asdict(measure(given.domain, given.pictures, given.held_out, given.seed, given.steps))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
