"""Safe decoding of untrusted pictures with Pillow: any bytes give an RGB picture or an `ImageProblem`."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

from PIL import Image, UnidentifiedImageError

MAX_PIXELS = 50_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

# What Pillow's readers raise on damaged or hostile bytes; seen by fuzzing and in its own tests. Programming
# errors of ours are kept out of reach by guarding only the calls into Pillow.
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Warning,  # Pillow's remarks on damaged EXIF, where a user made warnings errors
)

_ORIENTATION = 0x0112
# EXIF 2.3, tag Orientation: what undoes each value.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageProblem(Exception):
    """A picture that cannot be used; `code` is a quarantine code, `detail` a short line without folders."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


def decode(data: bytes, longer_side: int) -> Image.Image:
    """First frame, upright, 8-bit RGB with alpha laid on white, shrunk (never enlarged) to `longer_side` px.

    Raises `ImageProblem`: "image_too_large" over 50 million pixels (before decoding any), else
    "undecodable_image".
    """
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            _check_size(image.size)
            # JPEG decodes at 1/2, 1/4, 1/8 for a fraction of the time; twice the wanted size loses nothing.
            image.draft(None, (2 * longer_side, 2 * longer_side))
            image.load()
            turn = _turn(image)
            wide = _eight_bit_colour(image)
        # Shrunk first, so that turning and compositing cost no memory.
        small = _shrunk(wide, longer_side)
        return _on_white(small if turn is None else small.transpose(turn))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageProblem("image_too_large", f"more than {MAX_PIXELS:,} pixels") from error
    except DECODER_ERRORS as error:
        raise ImageProblem("undecodable_image", _reason(error)) from error


def encode(image: Image.Image, quality: int) -> bytes:
    """Baseline JPEG of an RGB picture: 4:2:0, standard Huffman tables, no metadata."""
    plain = image.copy()
    plain.info = {}  # Pillow would copy a comment
    buffer = BytesIO()
    plain.save(buffer, "JPEG", quality=quality, subsampling="4:2:0", optimize=False, progressive=False)
    return buffer.getvalue()


def shifted(image: Image.Image, part: int) -> Image.Image:
    """The picture 1/`part` of its size further right and down, a pixel at least. The strips that this leaves
    at the left and the top stay as they were; as much is lost at the right and the bottom."""
    width, height = image.size
    further = image.copy()
    further.paste(image, (max(1, width // part), max(1, height // part)))
    return further


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise ImageProblem("image_too_large", f"{width} x {height} is more than {MAX_PIXELS:,} pixels")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What sets the picture upright, of its EXIF data; damaged EXIF data is no reason to lose a picture."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except DECODER_ERRORS:
        return None
    return _UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def _eight_bit_colour(image: Image.Image) -> Image.Image:
    """A new RGB picture, or RGBA where the source has transparency."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16, 32 bits or floats, scaled from the range it uses: 0..1, 0..255, 0..65535, else its own."""
    wide = image if image.mode == "F" else image.convert("I").convert("F")
    low, high = (float(value) for value in wide.getextrema())  # type: ignore[arg-type]  # an F image has one pair
    sixteen = image.mode.startswith("I;16")
    if low < 0 or high > 65535:
        span = high - low
        scale, shift = (255 / span, -low * 255 / span) if 0 < span < float("inf") else (0.0, 0.0)
    elif sixteen or high > 255:
        scale, shift = 255 / 65535, 0.0
    elif image.mode == "F" and high <= 1:
        scale, shift = 255.0, 0.0
    else:
        scale, shift = 1.0, 0.0
    return wide.point(lambda value: value * scale + shift).convert("L")


def _shrunk(image: Image.Image, longer_side: int) -> Image.Image:
    width, height = image.size
    longest = max(width, height)
    if longest <= longer_side:
        return image
    size = (max(1, round(width * longer_side / longest)), max(1, round(height * longer_side / longest)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"is none of {', '.join(FORMATS)}, or its header is damaged"
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
