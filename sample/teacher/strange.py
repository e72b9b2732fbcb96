"""Garments in colors that the world has no words for: the teacher must doubt every word for such a color.

A teacher that saw eleven colors and nothing between them names the nearest it knows, and is sure of it. So a
part of its practice are pictures whose colors were mixed anew, channel by channel. Exact inverses and
contours, which `bench.foreign` asks about, are never among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sample import world
from sample.paint import PALETTE
from sample.vocabulary import GARMENT_VALUES

COLORS: Final = GARMENT_VALUES["color"]
NO_WORD: Final = len(COLORS)
"""Class of a color that no word fits."""
UNSURE: Final = -100
"""Class of a color that a word might fit: nothing is practised about it."""
NEAR, FAR = 9.0, 24.0
"""Up to NEAR of a palette color (CIE76, lit as drawn) its word fits; beyond FAR of all of them none does."""
NEAR_MISSES: Final = 0.5
"""Share of the mixings that lead to a color only just without a word: exchanged channels reach few."""
ORDERS: Final = tuple(permutations(range(3)))


@dataclass(frozen=True, slots=True)
class Mixing:
    """A picture's new channels: `gains @ old + shift`, in 0..1."""

    gains: NDArray[np.float32]  # [3, 3]
    shift: NDArray[np.float32]  # [3]

    def of(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The same picture in the new colors; uint8 [..., 3]."""
        mixed = pixels.astype(np.float32) / 255 @ self.gains.T + self.shift
        return (np.clip(mixed, 0, 1) * 255).round().astype(np.uint8)


def draw_mixing(rng: np.random.Generator, color: str) -> Mixing:
    """Channels exchanged, some turned over, a little of each in the others; never all of them turned over in
    their places. Half of the time shifted so that this color becomes one that only just has no word."""
    while True:
        order, turned = ORDERS[rng.integers(len(ORDERS))], rng.random(3) < 0.5
        if order == (0, 1, 2) and (turned.all() or not turned.any()):
            continue
        gains = np.eye(3, dtype=np.float32)[list(order)]
        gains = (1 - (leak := rng.uniform(0, 0.35))) * gains + leak / 3
        signs = np.where(turned, -1, 1)
        shift = turned.astype(np.float32) + rng.uniform(-0.08, 0.08, 3)
        gains = (gains * signs[:, None]).astype(np.float32)
        if rng.random() < NEAR_MISSES:
            shift = _near_miss(rng) - gains @ (np.array(PALETTE[color]) / 255)
        return Mixing(gains, shift.astype(np.float32))


def _near_miss(rng: np.random.Generator) -> NDArray[np.float64]:
    """Of eight colors drawn evenly the one that is nearest to having a word; in 0..1."""
    drawn = rng.uniform(0.02, 0.98, (8, 3))
    away = np.linalg.norm(_lab((drawn * 255).astype(np.uint8))[:, None] - _PALETTE_LAB, axis=-1).min(1)
    found: NDArray[np.float64] = drawn[np.where(away > FAR, away, np.inf).argmin()]
    return found


def color_class(mixing: Mixing, color: str) -> int:
    """What a garment of this color shows under the mixing: a color's index, NO_WORD or UNSURE."""
    shown = _lab(mixing.of(np.array(PALETTE[color], dtype=np.uint8)))
    away = np.linalg.norm(_PALETTE_LAB - shown, axis=1)
    if away.min() > FAR:
        return NO_WORD
    return int(away.argmin()) if away.min() <= NEAR else UNSURE


def outlined(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture's slopes, dark on white: a drawing without colors; uint8 [128, 128, 3]."""
    gray = np.asarray(Image.fromarray(pixels).convert("L"), dtype=np.float32)
    down, across = np.gradient(gray)
    slope = np.clip(255 - 4 * np.hypot(down, across), 0, 255).astype(np.uint8)
    return np.repeat(slope[..., None], 3, axis=-1)


def strange_of(
    rng: np.random.Generator, pixels: NDArray[np.uint8], colors: Sequence[str], drawings: float = 0.2
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Garment pictures [n, 128, 128, 3] made strange, and the class of the color that each now shows."""
    made, classes = np.empty_like(pixels), np.empty(len(pixels), dtype=np.int64)
    for row, (picture, color) in enumerate(zip(pixels, colors, strict=True)):
        if rng.random() < drawings:
            made[row], classes[row] = outlined(picture), NO_WORD
        else:
            mixing = draw_mixing(rng, color)
            made[row], classes[row] = mixing.of(picture), color_class(mixing, color)
    return made, classes


def as_shown(look: world.Look, color: int) -> world.Look | None:
    """The look that a strange picture of `look` shows; None where no word fits its color, or one might."""
    if color in (NO_WORD, UNSURE):
        return None
    old, new = look.value("color"), COLORS[color]
    return look if old == new else world.apply(look, [world.Edit("color", old, new)])


def _lab(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """CIE L*a*b* (D65) of sRGB [..., 3]."""
    part = rgb.astype(np.float64) / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _TO_XYZ.T / _WHITE
    bent = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack(
        [116 * bent[..., 1] - 16, 500 * (bent[..., 0] - bent[..., 1]), 200 * (bent[..., 1] - bent[..., 2])],
        axis=-1,
    )


_TO_XYZ: Final = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], dtype=np.float64
)
_WHITE: Final = np.array([0.9505, 1.0, 1.089], dtype=np.float64)
_PALETTE_LAB: Final = _lab(np.array([PALETTE[color] for color in COLORS], dtype=np.uint8))
