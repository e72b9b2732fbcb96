"""Modification texts in the manner of each dataset; given the reference they determine the edits."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from sample import garment_texts, scene_texts
from sample.looks import Edit, Look

Style = Literal["fashioniq", "cirr", "circo"]


def modification_captions(rng: random.Random, look: Look, edits: Sequence[Edit]) -> tuple[str, str]:
    """FashionIQ's two captions; each asks for all or some of the edits, together for all of them."""
    return garment_texts.captions(rng, look.category or "dress", edits)


def modification_text(rng: random.Random, look: Look, edits: Sequence[Edit], style: Style) -> str:
    """One text that asks for all edits of the reference `look`; FashionIQ's two are joined by "and"."""
    if style == "fashioniq":
        return " and ".join(modification_captions(rng, look, edits))
    if style == "cirr":
        return scene_texts.sentence(rng, edits)
    return scene_texts.relative(rng, edits)
