"""Source images to pictures for the model: the same safe decoding and size as the annotation's, digest
checked."""

from __future__ import annotations

import hashlib
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from annotate.errors import InputError
from annotate.images import DEFAULT_RECIPE, ImageProblem, parse_recipe
from annotate.images.decoding import decode
from annotate.images.store import read_source

KEPT_BYTES = 256 * 1024 * 1024
LONGEST = 200  # times the other side; Qwen's image processor refuses more
TOLD_EVERY = 10.0  # seconds


class Pictures:
    """Decodes images once while they fit into `KEPT_BYTES`; raises `InputError` naming an image that is not
    right."""

    def __init__(self, recipe: str = DEFAULT_RECIPE, blank: bool = False) -> None:
        self.side = parse_recipe(recipe).longer_side
        self.blank = blank
        self._kept: OrderedDict[Path, tuple[str, Image.Image]] = OrderedDict()
        self._bytes = 0

    @property
    def shape(self) -> tuple[int, bool]:
        """Longer side and whether blank: with a source file's bytes all that a picture depends on."""
        return self.side, self.blank

    def digest(self, path: Path) -> str:
        """sha256 of the source file, as the shards publish it."""
        if path in self._kept:
            return self._kept[path][0]
        return hashlib.sha256(_read(path)).hexdigest()

    def load(self, path: Path, digest: str | None = None) -> Image.Image:
        """The picture; with `digest`, only if the source file still has it. Blank: grey of the same size."""
        if path not in self._kept:
            data = _read(path)
            try:
                image = _decoded(data, self.side)
            except ImageProblem as error:
                raise InputError(f"{path}: {error}; mend it or leave it out") from error
            self._keep(path, hashlib.sha256(data).hexdigest(), image)
        found, image = self._kept[path]
        self._kept.move_to_end(path)
        if digest is not None and found != digest:
            raise InputError(f"{path}: has changed since it was annotated; restore it or annotate again")
        return Image.new("RGB", image.size, (128, 128, 128)) if self.blank else image

    def _keep(self, path: Path, digest: str, image: Image.Image) -> None:
        self._kept[path] = (digest, image)
        self._bytes += 3 * image.width * image.height
        while self._bytes > KEPT_BYTES and len(self._kept) > 1:
            _, (_, gone) = self._kept.popitem(last=False)
            self._bytes -= 3 * gone.width * gone.height


def damaged(paths: Mapping[str, Path], what: str, say: Callable[[str], None]) -> dict[str, str]:
    """Which of the pictures `paths` (name -> file) cannot be used, and why: each is decoded, on all cores."""
    found: dict[str, str] = {}
    told = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, (name, problem) in enumerate(
            zip(paths, pool.map(_problem, paths.values()), strict=True), 1
        ):
            if problem is not None:
                found[name] = problem
            if (now := time.monotonic()) - told > TOLD_EVERY or done == len(paths):
                say(f"{what}: {done:,}/{len(paths):,} pictures decoded, {len(found):,} of them damaged")
                told = now
    return found


def _problem(path: Path) -> str | None:
    try:
        _decoded(_read(path), parse_recipe(DEFAULT_RECIPE).longer_side)
    except InputError as error:
        return str(error)
    except ImageProblem as error:
        return f"{path}: {error}"
    return None


def _decoded(data: bytes, side: int) -> Image.Image:
    image = decode(data, side)
    if max(image.size) > LONGEST * min(image.size):
        shape = f"{image.width} x {image.height} pixels are too narrow to be shown to a model"
        raise ImageProblem("image_rejected", shape)
    return image


def _read(path: Path) -> bytes:
    try:
        return read_source(path)
    except ImageProblem as error:
        raise InputError(f"{path}: image cannot be read ({error}); put it back") from error
