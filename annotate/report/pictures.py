"""Stored pictures as small data URIs, so that a page needs no other file and no network."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable

from markupsafe import Markup
from PIL import Image

from annotate.errors import OutputError
from annotate.images import ImageStore
from annotate.teacher.request import Picture

SIDE = 360
QUALITY = 82
Pictures = Callable[[str], bytes | None]
"""sha256 of a source image -> its stored JPEG, or None."""


def stored_pictures(store: ImageStore) -> Pictures:
    """Pictures of an image store by the digest of their source file; one that is not stored is None."""

    def read(digest: str) -> bytes | None:
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            return None
        try:
            return store.encoded(Picture(digest, store.recipe.name)).data
        except OutputError:
            return None

    return read


def data_uri(data: bytes | None) -> Markup | None:
    """A stored JPEG, shrunk to `SIDE` pixels at most, as `data:` URI; None when it is absent or no JPEG."""
    if data is None:
        return None
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            if max(image.size) > SIDE:
                image.draft("RGB", (SIDE, SIDE))
                small = image.convert("RGB")
                small.thumbnail((SIDE, SIDE))
                buffer = io.BytesIO()
                small.save(buffer, "JPEG", quality=QUALITY)
                data = buffer.getvalue()
            else:
                image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return Markup("data:image/jpeg;base64," + base64.b64encode(data).decode("ascii"))
