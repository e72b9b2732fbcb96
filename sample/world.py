"""The sample world's whole interface: draw looks, render them, edit them, and say all that in words.

Everything is a pure function of its arguments and of the `random.Random` handed in.
"""

from __future__ import annotations

import random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sample.garments import render_garment
from sample.looks import (
    Edit,
    Look,
    apply,
    claims,
    differences,
    draw_edits,
    draw_look,
    draw_unmentioned,
    in_order,
    kept,
    make_look,
    objects,
    one_attribute_neighbour,
    one_value_off,
    parse_claim,
    rationale,
)
from sample.scenes import render_scene
from sample.texts import Style, modification_captions, modification_text
from sample.vocabulary import Domain, aspects


def dense_labels(look: Look, rng: random.Random, size: int = 128) -> tuple[Image.Image, NDArray[np.uint8]]:
    """The very picture `render` makes from the same state of `rng`, and uint8 labels [8, 8, 4].

    Scenes: kind, colour, size, pattern of the object in the cell, each index + 1, 0 where there is
    none. Garments: part (see `garments.PARTS`), colour, value of the part's aspect, pattern.
    """
    draw = render_garment if look.domain == "garments" else render_scene
    return draw(look, rng, size)


def render(look: Look, rng: random.Random, size: int = 128) -> Image.Image:
    """An RGB picture of size x size; placement, scale, light, texture, noise and cover come from `rng`."""
    return dense_labels(look, rng, size)[0]


__all__ = [
    "Domain",
    "Edit",
    "Look",
    "Style",
    "apply",
    "aspects",
    "claims",
    "dense_labels",
    "differences",
    "draw_edits",
    "draw_look",
    "draw_unmentioned",
    "in_order",
    "kept",
    "make_look",
    "modification_captions",
    "modification_text",
    "objects",
    "one_attribute_neighbour",
    "one_value_off",
    "parse_claim",
    "rationale",
    "render",
]
