"""Pictures in colors that the world has no words for: the teacher must doubt every word for such a color.

A teacher that saw eleven colors and nothing between them names the nearest it knows, and is sure of it. So a
part of its practice are pictures whose colors were mixed anew, channel by channel. Exact inverses and
contours, which `bench.foreign` asks about, are never among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sample import vocabulary, world
from sample.paint import PALETTE

WORDS: Final[Mapping[world.Domain, tuple[str, ...]]] = {
    "garments": vocabulary.GARMENT_VALUES["color"],
    "scenes": vocabulary.COLORS,
}
"""The colors that a domain has words for."""
NO_WORD: Final = ""
"""Shown in the place of a color: one that no word fits."""
UNSURE: Final = "?"
"""The same, where a word might fit: nothing is practised about it."""
Shown = Mapping[str, str]
"""Color drawn -> the word for what is shown instead, NO_WORD or UNSURE."""
NEAR, FAR = 9.0, 24.0
"""Up to NEAR of a palette color (CIE76, lit as drawn) its word fits; beyond FAR of all of them none does."""
NEAR_MISSES: Final = 0.5
"""Share of the mixings that lead to a color only just without a word: exchanged channels reach few."""
JUST: Final = 1.6
"""Up to so many times FAR a color is called only just without a word."""
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


def draw_mixing(rng: np.random.Generator, color: str, domain: world.Domain) -> Mixing:
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
            shift = _near_miss(rng, domain) - gains @ (np.array(PALETTE[color]) / 255)
        return Mixing(gains, shift.astype(np.float32))


def _near_miss(rng: np.random.Generator, domain: world.Domain) -> NDArray[np.float64]:
    """A color only just without a word, in 0..1. The word that it misses is drawn evenly: few of all such
    colors are pale or dark and many are green."""
    missed = _near_misses(domain)
    near = missed[rng.integers(len(missed))]
    found: NDArray[np.float64] = near[rng.integers(len(near))]
    return found


@cache
def _near_misses(domain: world.Domain) -> tuple[NDArray[np.float64], ...]:
    """For each word the colors [n, 3] of an even grid that only just miss it."""
    steps = np.linspace(0.02, 0.98, 24)
    grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3)
    away = _away((grid * 255).astype(np.uint8), WORDS[domain])
    just = (away.min(1) > FAR) & (away.min(1) < JUST * FAR)
    return tuple(grid[just & (away.argmin(1) == word)] for word in range(len(WORDS[domain])))


def word_shown(mixing: Mixing, color: str, domain: world.Domain) -> str:
    """What a thing of this color shows under the mixing: a word of the domain, NO_WORD or UNSURE."""
    words = WORDS[domain]
    away = _away(mixing.of(np.array([PALETTE[color]], dtype=np.uint8)), words)[0]
    if away.min() > FAR:
        return NO_WORD
    return words[away.argmin()] if away.min() <= NEAR else UNSURE


def outlined(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture's slopes, dark on white: a drawing without colors; uint8 [128, 128, 3]."""
    gray = np.asarray(Image.fromarray(pixels).convert("L"), dtype=np.float32)
    down, across = np.gradient(gray)
    slope = np.clip(255 - 4 * np.hypot(down, across), 0, 255).astype(np.uint8)
    return np.repeat(slope[..., None], 3, axis=-1)


def strange_of(
    rng: np.random.Generator,
    pixels: NDArray[np.uint8],
    looks: Sequence[world.Look],
    drawings: float = 0.2,
) -> tuple[NDArray[np.uint8], list[Shown]]:
    """Pictures [n, 128, 128, 3] of the looks made strange, and what each now shows of its colors."""
    made, shown = np.empty_like(pixels), list[Shown]()
    for row, (picture, look) in enumerate(zip(pixels, looks, strict=True)):
        colors = sorted({color for aspect, _ in look.attributes if (color := color_of(look, aspect))})
        if rng.random() < drawings:
            made[row] = outlined(picture)
            shown.append(dict.fromkeys(colors, NO_WORD))
        else:
            mixing = draw_mixing(rng, colors[rng.integers(len(colors))], look.domain)
            made[row] = mixing.of(picture)
            shown.append({color: word_shown(mixing, color, look.domain) for color in colors})
    return made, shown


def color_of(look: world.Look, aspect: str) -> str | None:
    """The color that an aspect of the look has: a garment's own, an object's; None for any other."""
    value = look.value(aspect)
    if aspect == "color":
        return value
    return value.split()[-1] if aspect in vocabulary.KINDS and value != vocabulary.ABSENT else None


def as_shown(look: world.Look, shown: Shown) -> world.Look:
    """The look that a strange picture of `look` shows, as far as words fit its colors."""
    edits = []
    for aspect, old in look.attributes:
        color = color_of(look, aspect)
        word = color and shown[color]
        if color and word and word not in (color, UNSURE):
            edits.append(world.Edit(aspect, old, f"{old.removesuffix(color)}{word}"))
    return world.apply(look, edits)


def _away(colors: NDArray[np.uint8], words: Sequence[str]) -> NDArray[np.float64]:
    """How far each color [n, 3] is from each word's; [n, words]."""
    palette = _lab(np.array([PALETTE[word] for word in words], dtype=np.uint8))
    away: NDArray[np.float64] = np.linalg.norm(_lab(colors)[:, None] - palette, axis=-1)
    return away


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
