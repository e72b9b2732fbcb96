"""What the three writers share: sizes, seeds, choosing edits, image files."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from sample.looks import Edit, Look
from sample.triplets import Planned
from sample.world import render

# How many changes a modification asks for.
ASKED = (1, 2, 3)
ASKED_WEIGHTS = (40, 40, 20)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Triplets a split; CIRCO has no train."""

    train: int = 1000
    val: int = 300
    test: int = 100


@dataclass(frozen=True, slots=True)
class Written:
    """What a writer made, for the line that is printed at the end."""

    triplets: dict[str, int]
    images: int
    dirt: dict[str, int]


def seeded(*parts: object) -> random.Random:
    """A generator for one purpose; its stream does not shift when another purpose draws more."""
    return random.Random("/".join(str(part) for part in parts))


def draw_count(rng: random.Random) -> int:
    """How many changes to ask for: 1, 2 or 3."""
    return rng.choices(ASKED, ASKED_WEIGHTS)[0]


def image_bytes(look: Look, rng: random.Random, kind: str) -> bytes:
    """The rendered picture as `png`, or as `jpg` of quality 90 with halved chroma."""
    buffer = BytesIO()
    picture = render(look, rng)
    if kind == "png":
        picture.save(buffer, "PNG", compress_level=3)
    else:
        picture.save(buffer, "JPEG", quality=90, subsampling="4:2:0")
    return buffer.getvalue()


def write_images(
    folder: Path,
    files: Mapping[str, tuple[str, Look]],
    kind: str,
    seed: int,
    missing: Iterable[str],
    undecodable: Iterable[str],
) -> int:
    """Render each image (name -> file below `folder`, look); leaves out the missing, cuts the undecodable.

    An image depends on the seed and its name alone. Returns how many files were written.
    """
    gone, broken = set(missing), set(undecodable)
    written = 0
    for name, (file, look) in files.items():
        if name in gone:
            continue
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        data = image_bytes(look, seeded("image", seed, name), kind)
        path.write_bytes(data[:90] if name in broken else data)
        written += 1
    return written


def count_dirt(planned: Iterable[Planned]) -> dict[str, int]:
    """How many triplets carry each dirt."""
    return dict(sorted(Counter(name for triplet in planned for name in triplet.dirt).items()))


def changes(edits: Iterable[Edit]) -> int:
    """How many things the edits ask for, a replacement counted once."""
    edits = list(edits)
    gone = sum(edit.new == "none" for edit in edits)
    come = sum(edit.old == "none" for edit in edits)
    return len(edits) - min(gone, come)
