"""Scenes: two to four objects in an arrangement on a textured ground."""

from __future__ import annotations

import math
import random
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sample.looks import Look, objects
from sample.paint import (
    OVERSAMPLING,
    PALETTE,
    SECOND,
    Point,
    ink,
    light_and_noise,
    muted,
    pattern_mask,
    ramp,
    texture,
)
from sample.vocabulary import COLORS, KINDS, PATTERNS, SIZES

DIAMETER: Final = {"small": 24.0, "large": 34.0}  # pixels of a 128-pixel picture
TILE: Final = 92  # oversampled pixels; holds a large object at any tilt


def shape_mask(kind: str, radius: float, tilt: float) -> Image.Image:
    """The silhouette of an object as a TILE x TILE mask; radius in oversampled pixels, tilt in radians."""
    mask = Image.new("L", (TILE, TILE))
    draw = ImageDraw.Draw(mask)
    middle = TILE / 2

    def place(points: list[Point]) -> list[Point]:
        cos, sin = math.cos(tilt), math.sin(tilt)
        return [
            (middle + radius * (x * cos - y * sin), middle + radius * (x * sin + y * cos)) for x, y in points
        ]

    def disc(x: float, y: float, r: float, fill: int = 255) -> None:
        ((cx, cy),) = place([(x, y)])
        draw.ellipse((cx - r * radius, cy - r * radius, cx + r * radius, cy + r * radius), fill=fill)

    if kind == "ball":
        disc(0, 0, 1)
    elif kind == "ring":
        disc(0, 0, 1.08)
        disc(0, 0, 0.36, 0)
    elif kind == "moon":
        disc(-0.05, 0, 1.08)
        disc(0.66, -0.1, 0.68, 0)
    elif kind == "box":
        draw.polygon(place([(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]), fill=255)
    elif kind == "cone":
        draw.polygon(place([(0, -1.1), (1.08, 0.95), (-1.08, 0.95)]), fill=255)
    elif kind == "cross":
        a, b = 0.4, 1.08
        draw.polygon(place([(-a, -b), (a, -b), (a, b), (-a, b)]), fill=255)
        draw.polygon(place([(-b, -a), (b, -a), (b, a), (-b, a)]), fill=255)
    elif kind == "star":
        turns = [math.pi * k / 5 - math.pi / 2 for k in range(10)]
        radii = [1.2 if k % 2 == 0 else 0.58 for k in range(10)]
        draw.polygon(
            place([(r * math.cos(t), r * math.sin(t)) for r, t in zip(radii, turns, strict=True)]), 255
        )
    else:
        draw.polygon(place(HEART), fill=255)
    return mask


def _heart() -> list[Point]:
    turns = [2 * math.pi * k / 36 for k in range(36)]
    return [
        (
            1.08 * math.sin(t) ** 3,
            -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 15.2 - 0.1,
        )
        for t in turns
    ]


HEART: Final = _heart()


def places(rng: random.Random, arrangement: str, count: int, size: int) -> list[Point]:
    """Centres of `count` objects in a picture of size x size pixels, in reading order of the arrangement."""
    unit = size / 128
    step = {2: rng.uniform(40, 64), 3: rng.uniform(37, 45), 4: rng.uniform(31, 32)}[count]
    span = step * (count - 1)
    margin = 16.5
    start = rng.uniform(margin, max(margin, 128 - margin - span))
    along = [start + step * k + rng.uniform(-1.5, 1.5) for k in range(count)]
    if arrangement in ("in a row", "in a column"):
        level = rng.uniform(24, 104)
        across = [level + rng.uniform(-4, 4) for _ in range(count)]
    else:
        begin = rng.uniform(margin, max(margin, 128 - margin - span))
        across = [begin + step * k + rng.uniform(-2.5, 2.5) for k in range(count)]
    points = list(zip(along, across, strict=True))
    if arrangement == "in a column":
        points = [(y, x) for x, y in points]
    elif arrangement == "on a rising diagonal":
        points = [(x, 128 - y) for x, y in points]
    return [(x * unit, y * unit) for x, y in points]


def render_scene(look: Look, rng: random.Random, size: int) -> tuple[Image.Image, NDArray[np.uint8]]:
    """The picture and its labels [8, 8, 4]: kind, colour, size, pattern (index + 1) of the cell's object."""
    scale = OVERSAMPLING
    unit = size / 128
    ground = texture(rng, look.value("background"), size) * rng.uniform(0.92, 1.06) + ramp(rng, size, 24)
    canvas = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8)).resize(
        (size * scale, size * scale), Image.Resampling.NEAREST
    )
    shown = objects(look)
    rng.shuffle(shown)
    centres = places(rng, look.value("arrangement"), len(shown), size)
    _debris(rng, canvas, centres, unit)
    covers = np.zeros((8, 8), dtype=np.float32)
    labels = np.zeros((8, 8, 4), dtype=np.uint8)
    for kind, (x, y) in zip(shown, centres, strict=True):
        extent, pattern, color = look.value(kind).split()
        radius = DIAMETER[extent] / 2 * rng.uniform(0.96, 1.04) * unit * scale
        tilt = rng.uniform(-0.22, 0.22)
        outside = shape_mask(kind, radius, tilt)
        inside = _shrink(outside)
        corner = (round(x * scale - TILE / 2), round(y * scale - TILE / 2))
        canvas.paste(ink(color), corner, outside)
        tile = Image.new("RGB", (TILE, TILE), PALETTE[color])
        if pattern != "plain":
            tile.paste(SECOND[color], (0, 0), pattern_mask(rng, pattern, 13, TILE))
        canvas.paste(tile, corner, inside)
        cover = _cells(outside, corner, size * scale)
        mine = (cover > 0.15) & (cover > covers)
        covers = np.where(mine, cover, covers)
        labels[mine] = (
            KINDS.index(kind) + 1,
            COLORS.index(color) + 1,
            SIZES.index(extent) + 1,
            PATTERNS.index(pattern) + 1,
        )
    return light_and_noise(rng, canvas.reduce(scale)), labels


def _shrink(mask: Image.Image) -> Image.Image:
    """The mask less its outline, about 1.2 pixels of the finished picture wide."""
    whole = np.asarray(mask) > 0
    inner = whole.copy()
    for dy, dx in ((2, 0), (-2, 0), (0, 2), (0, -2), (1, 1), (1, -1), (-1, 1), (-1, -1)):
        inner &= np.roll(whole, (dy, dx), (0, 1))
    return Image.fromarray((inner * 255).astype(np.uint8))


def _cells(mask: Image.Image, corner: tuple[int, int], extent: int) -> NDArray[np.float32]:
    whole = Image.new("L", (extent, extent))
    whole.paste(mask, corner)
    cover: NDArray[np.float32] = np.asarray(whole.resize((8, 8), Image.Resampling.BOX), dtype=np.float32)
    return cover / np.float32(255)


def _debris(rng: random.Random, canvas: Image.Image, centres: list[Point], unit: float) -> None:
    """Dull blobs lying about, some of them partly under an object; none is like any kind."""
    draw = ImageDraw.Draw(canvas)
    scale = OVERSAMPLING * unit
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        x, y = rng.uniform(4, 124) * scale, rng.uniform(4, 124) * scale
        near = min(math.hypot(x - cx * OVERSAMPLING, y - cy * OVERSAMPLING) for cx, cy in centres)
        if near < 14 * scale:
            continue
        width, height = rng.uniform(4, 8) * scale, rng.uniform(1.5, 3) * scale
        turn = rng.uniform(0, math.pi)
        points = [
            (
                x + width * math.cos(t) * math.cos(turn) - height * math.sin(t) * math.sin(turn),
                y + width * math.cos(t) * math.sin(turn) + height * math.sin(t) * math.cos(turn),
            )
            for t in (0, 0.9, 1.9, 3.1, 4.2, 5.3)
        ]
        draw.polygon(points, fill=muted(rng, 70, 190))
