"""What both kinds of picture share: colours, pattern masks, background textures, light and noise."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

Rgb = tuple[int, int, int]
Point = tuple[float, float]

# Colours are drawn at twice the size and averaged down, so edges and small patterns stay smooth.
OVERSAMPLING: Final = 2

PALETTE: Final[dict[str, Rgb]] = {
    "red": (208, 28, 36),
    "orange": (247, 132, 18),
    "yellow": (250, 224, 40),
    "green": (36, 150, 58),
    "blue": (36, 78, 210),
    "purple": (128, 40, 168),
    "pink": (252, 150, 190),
    "brown": (112, 66, 32),
    "black": (26, 26, 30),
    "white": (244, 244, 242),
    "gray": (136, 138, 141),
}
# The second colour of a patterned thing: far in luminance (chroma is halved by JPEG), and never
# close to another palette colour's own pair.
SECOND: Final[dict[str, Rgb]] = {
    "red": (255, 205, 190),
    "orange": (110, 40, 0),
    "yellow": (130, 100, 0),
    "green": (196, 240, 180),
    "blue": (190, 214, 255),
    "purple": (232, 200, 250),
    "pink": (150, 20, 90),
    "brown": (226, 196, 160),
    "black": (206, 196, 150),
    "white": (60, 130, 150),
    "gray": (52, 52, 58),
}
DARK: Final[Rgb] = (18, 18, 22)
LIGHT: Final[Rgb] = (250, 250, 248)


def ink(color: str) -> Rgb:
    """The line colour that stands out from a palette colour."""
    return LIGHT if color in ("black", "brown", "purple", "blue", "red", "green") else DARK


@functools.cache
def pattern_bank(pattern: str, period: int) -> Image.Image:
    """A 768 x 768 mask of the pattern (255 where the second colour goes), to be cropped anywhere."""
    y, x = np.mgrid[0:768, 0:768].astype(np.float32)
    if pattern == "striped":
        mask = ((x + y) / 2**0.5) % period < period * 0.42
    elif pattern == "dotted":
        row = np.floor(y / period)
        dx = (x + (row % 2) * period / 2) % period - period / 2
        dy = y % period - period / 2
        mask = dx**2 + dy**2 < (period * 0.31) ** 2
    elif pattern == "checked":
        mask = (np.floor(x / period) + np.floor(y / period)) % 2 == 0
    else:
        mask = np.zeros_like(x, dtype=bool)
    return Image.fromarray((mask * 255).astype(np.uint8))


def pattern_mask(rng: random.Random, pattern: str, period: int, size: int) -> Image.Image:
    """A square piece of the pattern at a random offset, stripes leaning either way."""
    x, y = rng.randrange(768 - size), rng.randrange(768 - size)
    piece = pattern_bank(pattern, period).crop((x, y, x + size, y + size))
    return piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else piece


def _smooth_noise(rng: np.random.Generator, size: int, cells: int) -> NDArray[np.float32]:
    small = rng.standard_normal((cells, cells)).astype(np.float32)
    image = Image.fromarray(small, mode="F").resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32)


def _texture(name: str, variant: int, size: int = 224) -> NDArray[np.float32]:
    rng = np.random.default_rng([len(name), ord(name[0]), ord(name[1]), variant])
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    coarse, fine = _smooth_noise(rng, size, 12), rng.standard_normal((size, size)).astype(np.float32)
    base: Sequence[float]
    if name == "meadow":
        base, relief = (112, 158, 84), 12 * coarse + 26 * (_smooth_noise(rng, size, 90) > 0.7) - 8
        relief = relief + 10 * fine * (np.sin(x * 1.1 + 2 * coarse) > 0.2)
    elif name == "sand":
        base, relief = (222, 198, 146), 6 * coarse + 9 * fine + 6 * np.sin((y + 6 * coarse) * 0.35)
    elif name == "water":
        base, relief = (96, 172, 208), 24 * np.sin((y + 7 * np.sin(x * 0.12) + 3 * coarse) * 0.55)
    elif name == "night":
        base, relief = (34, 38, 84), 5 * coarse
        stars = Image.fromarray(np.zeros((size, size), dtype=np.uint8))
        draw = ImageDraw.Draw(stars)
        for sx, sy in rng.integers(0, size, (150, 2)).tolist():
            draw.point([(sx, sy), (sx + 1, sy), (sx, sy + 1), (sx + 1, sy + 1)], fill=150)
        relief = relief + np.asarray(stars, dtype=np.float32)
    elif name == "brick":
        row = np.floor(y / 13)
        mortar = (y % 13 < 2) | ((x + (row % 2) * 13) % 26 < 2)
        base, relief = (168, 92, 74), np.where(mortar, 62.0, 7 * coarse + 5 * fine)
    elif name == "paper":
        base, relief = (232, 229, 220), np.where(y % 15 < 1.6, -66.0, 3 * coarse)
    elif name == "wood":
        base, relief = (0, 0, 0), 14 * np.sin((x + 10 * coarse) * 0.25)
    elif name == "wall":
        base, relief = (0, 0, 0), 10 * coarse + 6 * fine
    else:
        base, relief = (0, 0, 0), 9 * np.sin(x * 0.8) + 9 * np.sin(y * 0.8)
    pixels = np.asarray(base, dtype=np.float32) + np.asarray(relief, dtype=np.float32)[..., None]
    clipped: NDArray[np.float32] = np.clip(pixels, -80, 255)
    return clipped


@functools.cache
def texture_bank(name: str) -> tuple[NDArray[np.float32], ...]:
    """Four 224 x 224 variants of a named texture."""
    return tuple(_texture(name, variant) for variant in range(4))


def texture(rng: random.Random, name: str, size: int) -> NDArray[np.float32]:
    """A random piece of a random variant, possibly mirrored; float32 [size, size, 3]."""
    bank = rng.choice(texture_bank(name))
    x, y = rng.randrange(224 - size), rng.randrange(224 - size)
    piece = bank[y : y + size, x : x + size]
    return piece[:, ::-1] if rng.random() < 0.5 else piece


@functools.cache
def _ramps(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    return (x / size - 0.5)[..., None], (y / size - 0.5)[..., None]


@functools.cache
def _noise_bank() -> NDArray[np.float32]:
    return np.random.default_rng(3).standard_normal((320, 320, 3)).astype(np.float32)


def ramp(rng: random.Random, size: int, strength: float) -> NDArray[np.float32]:
    """A linear gradient in a random direction, within +-strength; float32 [size, size, 1]."""
    across, down = _ramps(size)
    return across * rng.uniform(-strength, strength) + down * rng.uniform(-strength, strength)


def light_and_noise(rng: random.Random, picture: Image.Image) -> Image.Image:
    """Brightness, a slight tint, a light from one side, and sensor noise."""
    size = picture.width
    pixels = np.asarray(picture, dtype=np.float32)
    level = rng.uniform(0.84, 1.08)
    tint = np.array([level * rng.uniform(0.96, 1.04) for _ in range(3)], dtype=np.float32)
    x, y = rng.randrange(320 - size), rng.randrange(320 - size)
    noise = _noise_bank()[y : y + size, x : x + size] * rng.uniform(1.0, 5.0)
    lit = pixels * (tint + ramp(rng, size, 0.12)) + noise
    return Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))


def noise(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Noise of the picture's size."""
    drawn = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (picture.height, picture.width, 3))
    return Image.fromarray(drawn.astype(np.uint8))


def inverted(picture: Image.Image, rng: random.Random) -> Image.Image:
    """The picture in inverted colours; nothing is drawn."""
    return ImageOps.invert(picture.convert("RGB"))


def muted(rng: random.Random, low: int = 90, high: int = 215) -> Rgb:
    """A dull colour that no palette colour is mistaken for."""
    level = rng.randint(low, high)
    red, green, blue = (max(0, min(255, level + rng.randint(-22, 22))) for _ in range(3))
    return red, green, blue
