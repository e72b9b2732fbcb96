"""Every kind of picture becomes upright 8-bit RGB of bounded size, or an ImageProblem with its code."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from annotate.images.decoding import FORMATS, ImageProblem, decode, encode


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def problem(data: bytes) -> ImageProblem:
    with pytest.raises(ImageProblem) as caught:
        decode(data, 448)
    return caught.value


def quadrants(width: int = 40, height: int = 20) -> Image.Image:
    """Red, green / blue, white quarters: tells every turn and flip apart."""
    image = Image.new("RGB", (width, height), "white")
    image.paste("red", (0, 0, width // 2, height // 2))
    image.paste("green", (width // 2, 0, width, height // 2))
    image.paste("blue", (0, height // 2, width // 2, height))
    return image


def corners(image: Image.Image) -> list[str]:
    names = {(255, 0, 0): "red", (0, 128, 0): "green", (0, 0, 255): "blue", (255, 255, 255): "white"}
    width, height = image.size

    def nearest(x: int, y: int) -> str:
        pixel = np.asarray(image)[y, x].astype(int)
        return min(names.items(), key=lambda item: int(np.abs(pixel - item[0]).sum()))[1]

    return [nearest(2, 2), nearest(width - 3, 2), nearest(2, height - 3), nearest(width - 3, height - 3)]


@pytest.mark.parametrize("kind", FORMATS)
def test_each_allowed_format_is_read(kind: str) -> None:
    image = decode(saved(quadrants(), kind), 448)
    assert (image.mode, image.size) == ("RGB", (40, 20))
    assert corners(image) == ["red", "green", "blue", "white"]


@pytest.mark.parametrize("kind", ["PPM", "ICO", "TGA", "PCX", "JPEG2000", "EPS"])
def test_any_other_format_is_not_opened(kind: str) -> None:
    assert problem(saved(quadrants(), kind)).code == "undecodable_image"


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((896, 448), (448, 224)),
        ((300, 1200), (112, 448)),
        ((448, 448), (448, 448)),
        ((128, 128), (128, 128)),
        ((1, 1), (1, 1)),
        ((20_000, 2), (448, 1)),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_the_longer_side_is_shrunk_never_enlarged(
    size: tuple[int, int], expected: tuple[int, int], kind: str
) -> None:
    assert decode(saved(Image.new("RGB", size), kind), 448).size == expected


def test_a_large_jpeg_decoded_at_a_fraction_looks_like_one_decoded_in_full() -> None:
    smooth = Image.effect_noise((300, 200), 90).resize((3000, 2000), Image.Resampling.BICUBIC).convert("RGB")
    data = saved(smooth, "JPEG", quality=95)
    full = smooth.resize((448, 299), Image.Resampling.LANCZOS)
    quick = decode(data, 448)
    assert np.abs(np.asarray(quick, dtype=float) - np.asarray(full, dtype=float)).mean() < 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,  # the camera's way is the inverse of the viewer's
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = quadrants()
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode(saved(stored, kind, exif=exif), 448)
    assert image.size == upright.size
    assert corners(image) == corners(upright)
    with Image.open(BytesIO(saved(stored, kind, exif=exif))) as opened:
        assert corners(ImageOps.exif_transpose(opened).convert("RGB")) == corners(upright)


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_out_of_range_is_ignored(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert corners(decode(saved(quadrants(), "JPEG", exif=exif), 448)) == corners(quadrants())


def test_damaged_exif_does_not_lose_the_picture() -> None:
    data = saved(quadrants(), "JPEG", exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff" + b"\xff" * 40)
    assert corners(decode(data, 448)) == corners(quadrants())


def test_cmyk_keeps_its_colours() -> None:
    data = saved(quadrants().convert("CMYK"), "JPEG", quality=95)
    assert corners(decode(data, 448)) == corners(quadrants())


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_becomes_eight_bits_without_clipping(kind: str) -> None:
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (8, 1))
    pixels = np.asarray(decode(saved(Image.fromarray(ramp), kind), 448))[0, :, 0].astype(int)
    assert np.abs(pixels - np.linspace(0, 255, 64)).max() <= 1


def test_a_dark_sixteen_bit_picture_stays_dark() -> None:
    dark = Image.fromarray(np.full((8, 8), 200, np.uint16))
    assert np.asarray(decode(saved(dark, "PNG"), 448)).max() <= 1


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_float_pictures_are_read_in_the_range_they_use(scale: float) -> None:
    ramp = np.tile(np.linspace(0, scale, 64).astype(np.float32), (8, 1))
    pixels = np.asarray(decode(saved(Image.fromarray(ramp), "TIFF"), 448))[0, :, 0].astype(int)
    assert np.abs(pixels - np.linspace(0, 255, 64)).max() <= 1


def test_a_float_picture_of_nothing_but_nan_is_no_crash() -> None:
    nan = Image.fromarray(np.full((4, 4), np.nan, np.float32))
    assert decode(saved(nan, "TIFF"), 448).mode == "RGB"


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_lies_on_white(mode: str) -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0)).convert(mode)
    assert np.asarray(decode(saved(clear, "PNG"), 448)).min() == 255
    half = Image.new("RGBA", (8, 8), (0, 0, 0, 128)).convert(mode)
    assert np.abs(np.asarray(decode(saved(half, "PNG"), 448)).astype(int) - 127).max() <= 1


def test_a_palette_and_its_transparent_colour_are_resolved() -> None:
    palette = quadrants().convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    assert corners(decode(saved(palette, "PNG"), 448)) == corners(quadrants())
    red = palette.getpixel((2, 2))
    assert corners(decode(saved(palette, "GIF", transparency=red), 448)) == [
        "white",
        "green",
        "blue",
        "white",
    ]


def test_one_bit_and_grey_pictures_become_rgb() -> None:
    for mode in ("1", "L"):
        image = decode(saved(Image.new(mode, (8, 8), 1), "PNG"), 448)
        assert image.mode == "RGB"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    later = [Image.new("RGB", (40, 20), "blue") for _ in range(3)]
    data = saved(Image.new("RGB", (40, 20), "red"), kind, save_all=True, append_images=later)
    assert corners(decode(data, 448)) == ["red"] * 4


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5])
def test_a_file_that_is_cut_off_is_undecodable(kind: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    data = saved(noise, kind)
    assert problem(data[: int(len(data) * share)]).code == "undecodable_image"


def test_an_error_page_named_jpg_is_undecodable_and_the_reason_repeatable() -> None:
    page = b"<html>404</html>"
    first, second = problem(page), problem(page)
    assert first.code == "undecodable_image"
    assert first.detail == second.detail
    assert "JPEG" in first.detail
    assert "0x" not in first.detail


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(50_001, 1_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_too_large_before_a_pixel_is_decoded(size: tuple[int, int]) -> None:
    assert problem(png_header(*size)).code == "image_too_large"


def test_fifty_million_pixels_are_still_decoded() -> None:
    image = decode(saved(Image.new("1", (10_000, 5_000)), "PNG"), 448)
    assert image.size == (448, 224)


def test_a_huge_compressed_text_chunk_is_refused() -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    plain = saved(quadrants(), "PNG")
    bomb = chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(b"a" * 200_000_000, 9))
    assert problem(plain[:33] + bomb + plain[33:]).code == "undecodable_image"


def test_encoding_is_repeatable_baseline_420_and_carries_no_metadata() -> None:
    image = decode(saved(quadrants(), "JPEG", comment=b"made by", dpi=(300, 300)), 448)
    data = encode(image, 90)
    assert data == encode(image, 90)
    assert b"made by" not in data
    with Image.open(BytesIO(data)) as stored:
        assert (stored.format, stored.mode, stored.size) == ("JPEG", "RGB", (40, 20))
        assert "progressive" not in stored.info
        assert [layer[1:3] for layer in stored.layer] == [(2, 2), (1, 1), (1, 1)]  # type: ignore[attr-defined]


def test_equal_pixels_give_equal_bytes_whatever_the_metadata() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    plain, dressed = saved(quadrants(), "PNG"), saved(quadrants(), "PNG", exif=exif, dpi=(72, 72))
    assert plain != dressed
    assert encode(decode(plain, 448), 90) == encode(decode(dressed, 448), 90)
