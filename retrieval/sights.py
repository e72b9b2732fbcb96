"""What the model makes of each picture before anything that is trained touches it: decoded, prepared, and
through a tower that stays as it is. Kept while it fits, for training comes back to every picture.

Each picture is prepared alone, so what it gives does not depend on when or beside which others it was.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

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

    def of(self, path: Path, digest: str | None = None) -> Spoken:
        """The sight of a file; raises `InputError` as `Pictures.load` does, also for one that is kept."""
        image = self._pictures.load(path, digest)
        if path not in self._kept:
            self._kept[path] = self._model.sight(image)
            self._bytes += _size(self._kept[path])
            while self._bytes > KEPT_BYTES and len(self._kept) > 1:
                self._bytes -= _size(self._kept.popitem(last=False)[1])
        self._kept.move_to_end(path)
        return self._kept[path]


def _size(sight: Spoken) -> int:
    return sum(tensor.nbytes for tensor in sight.pixels.values())
