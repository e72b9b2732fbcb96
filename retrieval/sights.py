"""What a tower that stays as it is makes of each picture, kept while it fits: training comes back to all, and
every row of a study measures with the same galleries.

A picture is looked at alone and without dropout, so what is kept depends on picture and tower only. Where the
tower is trained too, or the family has no separable states, the picture itself is used.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from PIL import Image

from annotate.errors import InputError
from retrieval.inputs import Spoken
from retrieval.model import CirModel
from retrieval.pictures import Pictures

KEPT_BYTES = 2 * 1024**3


class KeptSights:
    """Sights by file, the longest unused dropped first. Runs of one tower and image recipe may share them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Path, tuple[str, Spoken]] = OrderedDict()
        self._bytes = 0

    def get(self, path: Path, digest: str | None) -> Spoken | None:
        """The sight of this file, when it is kept and the file was then the one of this digest."""
        found, sight = self._kept.get(path, ("", None))
        if sight is None or digest not in (None, found):
            return None
        self._kept.move_to_end(path)
        return sight

    def put(self, path: Path, digest: str, sight: Spoken) -> None:
        """Keep a sight, at the cost of others where there is no room."""
        if path in self._kept:
            self._bytes -= _size(self._kept.pop(path)[1])
        self._kept[path] = (digest, sight)
        self._bytes += _size(sight)
        while self._bytes > KEPT_BYTES and len(self._kept) > 1:
            self._bytes -= _size(self._kept.popitem(last=False)[1][1])


class Sights:
    """Sights of the files that `pictures` loads."""

    def __init__(self, model: CirModel, pictures: Pictures, kept: KeptSights) -> None:
        self._model, self._pictures, self._kept = model, pictures, kept
        self._shown: dict[Path, bool] = {}

    @property
    def shape(self) -> tuple[int, bool]:
        """What the pictures were made to be before the tower saw them."""
        return self._pictures.shape

    def digest(self, path: Path) -> str:
        """sha256 of the source file."""
        return self._pictures.digest(path)

    def load(self, path: Path, digest: str | None = None) -> Image.Image | Spoken:
        """The sight of a file; raises `InputError` as `Pictures.load` does."""
        if (known := self._kept.get(path, digest)) is not None:
            return known
        seen = self._model.sight(self._pictures.load(path, digest))
        if isinstance(seen, Spoken):
            self._kept.put(path, self._pictures.digest(path), seen)
        return seen

    def can_show(self, path: Path) -> bool:
        """Whether the file holds a picture; a file is looked at once."""
        if path not in self._shown:
            try:
                self.load(path)
                self._shown[path] = True
            except InputError:
                self._shown[path] = False
        return self._shown[path]


def sights_of(model: CirModel, recipe: str, blank: bool, kept: KeptSights) -> tuple[Sights, Sights]:
    """Of references (grey if `blank`, and then not shared) and of targets, in the annotation's recipe."""
    targets = Sights(model, Pictures(recipe), kept)
    return (Sights(model, Pictures(recipe, blank=True), KeptSights()) if blank else targets), targets


def _size(sight: Spoken) -> int:
    return sum(tensor.nbytes for tensor in sight.pixels.values())
