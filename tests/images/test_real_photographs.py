"""The twelve real COCO photographs go through the image path (CIR_REAL_DATA)."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotate.images import ImageStore

REAL = os.environ.get("CIR_REAL_DATA")


@pytest.mark.skipif(REAL is None, reason="CIR_REAL_DATA names no folder with the real photographs")
def test_twelve_photographs_are_stored_at_448_px_and_look_like_their_sources(tmp_path: Path) -> None:
    photographs = sorted((Path(REAL or ".") / "circo/unlabeled2017_sample").glob("*.jpg"))
    assert len(photographs) == 12
    store = ImageStore(tmp_path, "fit448-q90-v1")
    digests = set()
    for path in photographs:
        encoded = store.encoded(store.store(path))
        digests.add(encoded.digest)
        with Image.open(BytesIO(encoded.data)) as stored, Image.open(path) as source:
            assert max(stored.size) == 448
            assert abs(stored.width / stored.height - source.width / source.height) < 0.01
            plain = source.convert("RGB").resize(stored.size, Image.Resampling.LANCZOS)
            difference = np.abs(np.asarray(stored, dtype=float) - np.asarray(plain, dtype=float)).mean()
            assert difference < 7, path.name  # JPEG alone makes 2.9 to 5.4 of 255 on these busy pictures
    assert len(digests) == 12
