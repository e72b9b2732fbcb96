"""Training pictures, rendered once into memory-mapped arrays that a later run finds again."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from annotate.errors import InputError, UsageError
from sample import world

CHUNK = 1000
SIDE = 128
# The last pictures of each domain are never trained on.
HELD_OUT = 1000
# Far from any seed that a default of `make sample` uses.
SEED = 10_000


@dataclass(frozen=True, slots=True)
class Pictures:
    """`pixels` uint8 [N, 128, 128, 3] and dense `labels` uint8 [N, 8, 8, 4] of one domain."""

    domain: world.Domain
    seed: int
    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    folder: Path

    def ready(self) -> NDArray[np.int64]:
        """Indices of the pictures rendered so far."""
        chunks = sorted(int(path.name.split("-")[1]) for path in self.folder.glob("done-*"))
        return np.concatenate([np.arange(c * CHUNK, (c + 1) * CHUNK) for c in chunks] or [np.arange(0)])

    def usable(self) -> NDArray[np.int64]:
        """`ready` in order. Raises `InputError` when too few are rendered for the last to be held out."""
        found = np.sort(self.ready())
        if len(found) < 2 * HELD_OUT:
            raise InputError(f"{self.folder}: {len(found)} pictures; render at least {2 * HELD_OUT} first")
        return found

    def look(self, index: int) -> world.Look:
        """What picture `index` shows."""
        return look_of(self.domain, self.seed, index)


def look_of(domain: world.Domain, seed: int, index: int) -> world.Look:
    """The look of training picture `index`, a function of its arguments alone."""
    return world.draw_look(random.Random(f"{seed}-{domain}-{index}-look"), domain)


def round_trip(picture: Image.Image) -> Image.Image:
    """What the teacher is sent: the picture after JPEG at quality 90."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=90)
    return Image.open(stream).convert("RGB")


def open_pictures(folder: Path, domain: world.Domain, count: int, seed: int = SEED) -> Pictures:
    """Arrays of `count` pictures under `folder`, created empty when absent. Raises `UsageError` where they
    hold another number of pictures."""
    place = folder / f"{domain}-{seed}"
    place.mkdir(parents=True, exist_ok=True)
    arrays = []
    for name, shape in (("pixels", (count, SIDE, SIDE, 3)), ("labels", (count, 8, 8, 4))):
        path = place / f"{name}.npy"
        mode = "r+" if path.exists() else "w+"
        array = np.lib.format.open_memmap(path, mode=mode, dtype=np.uint8, shape=shape)
        if array.shape != shape:  # an array that is there keeps its own
            raise UsageError(
                f"{place} holds {len(array):,} pictures a domain, not {count:,}; give --pictures {len(array)}"
                f" (base and CLIP: --count {len(array)}), or another --work"
            )
        arrays.append(array)
    return Pictures(domain, seed, arrays[0], arrays[1], place)


def render_chunk(pictures: Pictures, chunk: int) -> None:
    """Render pictures [chunk * CHUNK, (chunk + 1) * CHUNK) and mark them done."""
    for index in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        rng = random.Random(f"{pictures.seed}-{pictures.domain}-{index}-render")
        picture, labels = world.dense_labels(pictures.look(index), rng)
        pictures.pixels[index] = np.asarray(round_trip(picture))
        pictures.labels[index] = labels
    (pictures.folder / f"done-{chunk}").touch()


def _work(folder: Path, domain: world.Domain, count: int, seed: int, chunks: list[int]) -> None:
    pictures = open_pictures(folder, domain, count, seed)
    for chunk in chunks:
        render_chunk(pictures, chunk)


def _jobs(folder: Path, count: int, seed: int) -> Iterator[tuple[Path, world.Domain, int, int, list[int]]]:
    domains: tuple[world.Domain, ...] = ("garments", "scenes")
    for chunk in range(count // CHUNK):
        for domain in domains:
            if not (folder / f"{domain}-{seed}" / f"done-{chunk}").exists():
                yield folder, domain, count, seed, [chunk]


def render_all(folder: Path, count: int, seed: int = SEED, processes: int = 2) -> None:
    """Render what is missing of `count` pictures a domain (a multiple of 1,000)."""
    for domain in ("garments", "scenes"):
        open_pictures(folder, domain, count, seed)
    with get_context("spawn").Pool(processes) as pool:
        pool.starmap(_work, list(_jobs(folder, count, seed)), chunksize=1)
