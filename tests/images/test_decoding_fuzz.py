"""Random and damaged bytes give a picture or an ImageProblem: no other exception, no hang."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from annotate.images.decoding import FORMATS, ImageProblem, decode, encode

CODES = {"undecodable_image", "image_too_large"}
MAGIC = [
    b"\xff\xd8\xff\xe0",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"BM",
    b"II*\x00",
    b"MM\x00*",
    b"RIFF\x40\x00\x00\x00WEBPVP8 ",
]


def make(kind: str, mode: str = "RGB") -> bytes:
    noise = np.random.default_rng(1).integers(0, 255, (24, 32, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = BytesIO()
    options = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "TIFF") else {}
    Image.fromarray(noise).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


SEEDS = [make(kind) for kind in FORMATS] + [
    make("PNG", "P"),
    make("PNG", "LA"),
    make("TIFF", "CMYK"),
    make("PNG", "I;16"),
]


pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # remarks on damaged EXIF


def picture_or_problem(data: bytes) -> None:
    try:
        image = decode(data, 64)
    except ImageProblem as problem:
        assert problem.code in CODES
        assert len(problem.detail) < 300
        return
    assert image.mode == "RGB"
    assert min(image.size) >= 1 and max(image.size) <= 64
    assert encode(image, 90).startswith(b"\xff\xd8")


@settings(max_examples=200, deadline=None, database=None)
@given(magic=st.sampled_from([b"", *MAGIC]), rest=st.binary(max_size=400))
def test_random_bytes_behind_a_magic_number(magic: bytes, rest: bytes) -> None:
    picture_or_problem(magic + rest)


@settings(max_examples=400, deadline=None, database=None)
@given(data=st.data())
def test_real_files_with_bytes_replaced_inserted_or_cut(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 6))):
        # Headers are where damage is interesting: half of it goes there.
        last = len(content) - 1 if data.draw(st.booleans()) else min(80, len(content) - 1)
        at = data.draw(st.integers(0, max(0, last)))
        length = data.draw(st.sampled_from([0, 1, 1, 2, 4, 50]))
        content[at : at + length] = data.draw(
            st.binary(max_size=4) | st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0"])
        )
    picture_or_problem(bytes(content))


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_every_prefix_of_a_real_file(seed: int) -> None:
    data = SEEDS[seed]
    for end in range(0, len(data), 37):
        picture_or_problem(data[:end])


@pytest.mark.filterwarnings("error")
def test_warnings_made_errors_change_nothing() -> None:
    for data in SEEDS:
        for end in range(0, len(data), 97):
            picture_or_problem(data[:end])
