"""Garments: a dress, shirt or top seen from the front, hanging before a textured wall."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sample.looks import Look
from sample.paint import (
    OVERSAMPLING,
    PALETTE,
    SECOND,
    Point,
    Rgb,
    ink,
    light_and_noise,
    muted,
    pattern_mask,
    ramp,
    texture,
)
from sample.scenes import HEART
from sample.vocabulary import GARMENT_VALUES

# Garment units: x = 0 is the middle, y = 0 the shoulder line; about 1.08 pixels of a 128-pixel picture.
SHOULDER: Final = 25.0
WAIST: Final = 37.0
HEM: Final = {"short length": 52.0, "medium length": 73.0, "long length": 96.0}
PARTS: Final = ("body", "sleeve", "neckline", "belt", "emblem", "closure", "hem")


class Pencil:
    """Draws in garment units through a similarity transform, on picture and label map alike."""

    def __init__(self, canvas: Image.Image, scale: float, angle: float, middle: Point, flip: int) -> None:
        self.canvas = canvas
        self.draw = ImageDraw.Draw(canvas)
        self.parts = Image.new("L", canvas.size)
        self.parts_draw = ImageDraw.Draw(self.parts)
        self.scale, self.angle, self.middle, self.flip = scale, angle, middle, flip

    def place(self, points: Sequence[Point]) -> list[Point]:
        cos, sin = math.cos(self.angle) * self.scale, math.sin(self.angle) * self.scale
        x0, y0 = self.middle
        return [(x0 + self.flip * x * cos - y * sin, y0 + self.flip * x * sin + y * cos) for x, y in points]

    def polygon(self, part: str, points: Sequence[Point], fill: Rgb, line: Rgb | None = None) -> None:
        placed = self.place(points)
        self.draw.polygon(placed, fill=fill)
        if line is not None:
            self.draw.line([*placed, placed[0]], fill=line, width=3, joint="curve")
        self.parts_draw.polygon(placed, fill=PARTS.index(part) + 1)

    def line(self, points: Sequence[Point], fill: Rgb, width: float) -> None:
        self.draw.line(self.place(points), fill=fill, width=max(1, round(width * self.scale)))

    def disc(self, x: float, y: float, r: float, fill: Rgb) -> None:
        ((cx, cy),) = self.place([(x, y)])
        r *= self.scale
        self.draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=fill)


def body_outline(category: str, bottom: float, ruffled: bool) -> list[Point]:
    """The body's polygon, right side down, hem from right to left, left side up."""
    right: list[Point] = [(10, -1), (SHOULDER, 2), (SHOULDER, 16)]
    if category == "shirt":
        right += [(SHOULDER, bottom)]
    elif category == "toptee":
        right += [(SHOULDER - 1, 27), (15, WAIST + 2), (14, bottom)]
    else:
        right += [
            (SHOULDER - 1, 27),
            (16, WAIST),
            (16, WAIST + 5),
            (min(41, 27 + (bottom - 52) * 0.32), bottom),
        ]
    half = right[-1][0]
    hem: list[Point] = []
    if ruffled:
        waves = max(3, round(half / 5))
        steps = waves * 6
        hem = [
            (half - 2 * half * k / steps, bottom + 2.2 + 3.0 * math.sin(2 * math.pi * waves * k / steps))
            for k in range(1, steps)
        ]
    return right + hem + [(-x, y) for x, y in reversed(right)]


def sleeve_outline(kind: str) -> list[Point]:
    """The right sleeve's polygon."""
    if kind == "long sleeves":
        return [(SHOULDER - 5, 0), (SHOULDER + 2, 2), (47, 52), (36.5, 55), (SHOULDER - 2, 20)]
    return [(SHOULDER - 5, 0), (SHOULDER + 2, 2), (41, 17), (31, 25), (SHOULDER - 2, 18)]


def render_garment(look: Look, rng: random.Random, size: int) -> tuple[Image.Image, NDArray[np.uint8]]:
    """The picture and its labels [8, 8, 4]: part, colour, value of the part's aspect, pattern (index + 1)."""
    values = look.as_dict()
    category = look.category or "dress"
    unit = OVERSAMPLING * size / 128
    extent = OVERSAMPLING * size
    wall = texture(rng, rng.choice(("wood", "wall", "weave")), size) * rng.uniform(0.3, 1.0)
    wall = wall + np.array(muted(rng, 95, 205), dtype=np.float32) + ramp(rng, size, 30)
    canvas = Image.fromarray(np.clip(wall, 0, 255).astype(np.uint8)).resize(
        (extent, extent), Image.Resampling.NEAREST
    )
    bottom = HEM[values["length"]]
    scale = rng.uniform(0.98, 1.14) * unit
    slack = (128 * unit - (bottom + 8) * scale) / 2
    middle = (
        extent / 2 + rng.uniform(-10, 10) * unit,
        4 * unit + max(0.0, slack + rng.uniform(-1, 1) * min(slack, 22 * unit)),
    )
    pencil = Pencil(canvas, scale, rng.uniform(-0.09, 0.09), middle, rng.choice((-1, 1)))

    base, line = PALETTE[values["color"]], ink(values["color"])
    _cloth(rng, pencil, look, category, bottom)
    _hem(pencil, category, bottom, values["hem"], base, line)
    _closure(pencil, values["closure"], bottom, base, line)
    _belt(pencil, category, values["waist"], base, line)
    _neckline(pencil, values["neckline"], base, line)
    _emblem(pencil, values["emblem"], base, line)
    if values["sleeves"] != "sleeveless" and rng.random() < 0.5:
        _cover_sleeve(rng, pencil)
    return light_and_noise(rng, canvas.reduce(OVERSAMPLING)), _labels(look, pencil.parts)


def _cloth(rng: random.Random, pencil: Pencil, look: Look, category: str, bottom: float) -> None:
    """Body and sleeves with their pattern, laid on through one mask."""
    color, pattern, sleeves = look.value("color"), look.value("pattern"), look.value("sleeves")
    line = ink(color)
    extent = pencil.canvas.width
    cloth = Image.new("RGB", pencil.canvas.size, PALETTE[color])
    if pattern != "plain":
        cloth.paste(
            SECOND[color], (0, 0), pattern_mask(rng, pattern, 19 if pattern == "striped" else 17, extent)
        )
    pieces: list[tuple[str, list[Point]]] = []
    if sleeves != "sleeveless":
        right = sleeve_outline(sleeves)
        pieces = [("sleeve", right), ("sleeve", [(-x, y) for x, y in right])]
    pieces.append(("body", body_outline(category, bottom, look.value("hem") == "ruffled hem")))
    for part, points in pieces:
        placed = pencil.place(points)
        mask = Image.new("L", pencil.canvas.size)
        ImageDraw.Draw(mask).polygon(placed, fill=255)
        pencil.canvas.paste(cloth, (0, 0), mask)
        pencil.draw.line([*placed, placed[0]], fill=line, width=3, joint="curve")
        pencil.parts_draw.polygon(placed, fill=PARTS.index(part) + 1)


def _hem(pencil: Pencil, category: str, bottom: float, hem: str, base: Rgb, line: Rgb) -> None:
    half = max(x for x, y in body_outline(category, bottom, False) if y == bottom)
    if hem == "straight hem":
        return
    # The ruffle is a plain band with folds, so that it shows on any pattern.
    top = bottom - 5
    outline = [point for point in body_outline(category, bottom, True) if point[1] >= bottom - 0.9]
    inner = half if category != "dress" else half - 1.5
    pencil.polygon("hem", [(inner, top), *outline, (-inner, top)], base, line)
    waves = max(3, round(half / 5))
    for k in range(waves):
        x = half - 2 * half * (k + 0.25) / waves
        pencil.line([(x, top), (x, bottom + 4)], line, 1.1)


def _closure(pencil: Pencil, closure: str, bottom: float, base: Rgb, line: Rgb) -> None:
    end = bottom - 7
    if closure == "no closure":
        return
    if closure == "buttons":
        pencil.polygon("closure", [(-4, 8), (4, 8), (4, end), (-4, end)], base, line)
        y = 21.5
        while y < end - 2:
            pencil.disc(0, y, 2.5, line)
            y += 7.2
        return
    pencil.polygon("closure", [(-2.8, 8), (2.8, 8), (2.8, end), (-2.8, end)], line)
    y = 10.0
    while y < end - 1:
        pencil.line([(-2.4, y), (2.4, y)], base, 1.3)
        y += 3.4
    pencil.polygon("closure", [(-3.6, 21), (3.6, 21), (2.4, 29), (-2.4, 29)], base, line)


def _belt(pencil: Pencil, category: str, waist: str, base: Rgb, line: Rgb) -> None:
    if waist == "no belt":
        return
    half = {"shirt": SHOULDER + 1, "toptee": 17.0, "dress": 18.0}[category]
    pencil.polygon("belt", [(-half, WAIST), (half, WAIST), (half, WAIST + 7), (-half, WAIST + 7)], line, base)
    pencil.polygon(
        "belt", [(-4, WAIST + 1), (4, WAIST + 1), (4, WAIST + 6), (-4, WAIST + 6)], (226, 188, 60), line
    )


def _neckline(pencil: Pencil, neckline: str, base: Rgb, line: Rgb) -> None:
    round_cut = [(11 * math.cos(t), 11 * math.sin(t)) for t in np.linspace(0, math.pi, 13).tolist()]
    cuts: dict[str, list[Point]] = {
        "round neck": round_cut,
        "v neck": [(11, -1), (0, 19), (-11, -1)],
        "square neck": [(11, -1), (11, 11), (-11, 11), (-11, -1)],
        "collar": [(8, -1), (0, 8), (-8, -1)],
    }
    pencil.polygon("neckline", cuts[neckline], line, base)
    if neckline == "collar":
        for side in (-1, 1):
            flap = [(side * 6, -4), (side * 15, -1), (side * 17, 11), (side * 8, 15), (0.0, 6.0)]
            pencil.polygon("neckline", flap, base, line)


def _emblem(pencil: Pencil, emblem: str, base: Rgb, line: Rgb) -> None:
    if emblem == "no emblem":
        return
    x0, y0 = 14.0, 24.0
    for radius, fill in ((11.2, base), (8.6, line)):
        if emblem == "star emblem":
            turns = [math.pi * k / 5 - math.pi / 2 for k in range(10)]
            points = [
                (math.cos(t) * (1.15 if k % 2 == 0 else 0.45), math.sin(t) * (1.15 if k % 2 == 0 else 0.45))
                for k, t in enumerate(turns)
            ]
        elif emblem == "heart emblem":
            points = HEART
        else:
            points = [(math.cos(t / 3), math.sin(t / 3)) for t in range(19)]
        pencil.polygon("emblem", [(x0 + radius * x, y0 + radius * y) for x, y in points], fill)


def _cover_sleeve(rng: random.Random, pencil: Pencil) -> None:
    """Something dull hangs over a part of one sleeve; the other sleeve shows the same."""
    side = rng.choice((-1, 1))
    x, y = side * rng.uniform(34, 44), rng.uniform(14, 50)
    radius = rng.uniform(4, 7)
    points = [
        (x + radius * rng.uniform(0.7, 1.3) * math.cos(k), y + radius * rng.uniform(0.7, 1.3) * math.sin(k))
        for k in range(6)
    ]
    placed = pencil.place(points)
    pencil.draw.polygon(placed, fill=muted(rng, 80, 200))


def _labels(look: Look, parts: Image.Image) -> NDArray[np.uint8]:
    """Each cell's label is its rarest part, as small parts carry most aspects."""
    aspect_of = ("color", "sleeves", "neckline", "waist", "emblem", "closure", "hem")
    blocks = np.asarray(parts).reshape(8, parts.height // 8, 8, parts.width // 8)
    cells = blocks.transpose(0, 2, 1, 3).reshape(8, 8, -1)
    labels = np.zeros((8, 8, 4), dtype=np.uint8)
    for number in range(1, len(PARTS) + 1):
        aspect = aspect_of[number - 1]
        share = (cells == number).mean(axis=2)
        labels[share > 0.12] = (
            number,
            GARMENT_VALUES["color"].index(look.value("color")) + 1,
            GARMENT_VALUES[aspect].index(look.value(aspect)) + 1,
            GARMENT_VALUES["pattern"].index(look.value("pattern")) + 1,
        )
    return labels
