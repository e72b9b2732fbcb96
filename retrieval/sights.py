"""What a tower that stays as it is makes of each picture, kept while it fits: training comes back to all.

A picture is looked at alone and without dropout, so what is kept depends on picture and tower only. Where the
tower is trained too, or the family has no separable states, the picture itself is used.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from PIL import Image

from retrieval.inputs import Spoken
from retrieval.model import CirModel
from retrieval.pictures import Pictures

KEPT_BYTES = 256 * 1024 * 1024


class Sights:
    """Sights of the files that `pictures` loads."""

    def __init__(self, model: CirModel, pictures: Pictures) -> None:
        self._model, self._pictures = model, pictures
        self._kept: OrderedDict[Path, Spoken] = OrderedDict()
        self._bytes = 0

    def of(self, path: Path, digest: str | None = None) -> Image.Image | Spoken:
        """The sight of a file; raises `InputError` as `Pictures.load` does, also for one that is kept."""
        image = self._pictures.load(path, digest)
        if path in self._kept:
            self._kept.move_to_end(path)
            return self._kept[path]
        seen = self._model.sight(image)
        if isinstance(seen, Spoken):
            self._kept[path] = seen
            self._bytes += _size(seen)
            while self._bytes > KEPT_BYTES and len(self._kept) > 1:
                self._bytes -= _size(self._kept.popitem(last=False)[1])
        return seen


def _size(sight: Spoken) -> int:
    return sum(tensor.nbytes for tensor in sight.pixels.values())
