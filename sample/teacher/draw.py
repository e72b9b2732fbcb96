"""Which triplets and which statements the teacher practises on."""

from __future__ import annotations

import random
from collections.abc import Sequence

from sample import garment_texts, world
from sample.vocabulary import (
    ARRANGEMENTS,
    BACKGROUNDS,
    COLORS,
    GARMENT_VALUES,
    KINDS,
    PATTERNS,
    SIZES,
)

GARMENT_SHOWN = tuple(value for values in GARMENT_VALUES.values() for value in values)
GROUND_SHOWN = (*BACKGROUNDS, *ARRANGEMENTS)
# Shown of a claim's aspect: a garment's value | an object's size, pattern, color (0: none) | ground.
SHOWN_SIZES = (len(GARMENT_SHOWN), len(SIZES) + 1, len(PATTERNS) + 1, len(COLORS) + 1, len(GROUND_SHOWN))
UNASKED = -100

JOINS = (" and ", " and ", " and ", " and ", ", ", ". ", "; ", " ")


def draw_modification(rng: random.Random, look: world.Look, edits: Sequence[world.Edit]) -> str:
    """A modification text for these edits in the manner of one of the datasets."""
    if look.domain == "scenes":
        text = world.modification_text(rng, look, edits, rng.choice(("cirr", "cirr", "circo")))
    elif rng.random() < 0.85:
        text = rng.choice(JOINS).join(world.modification_captions(rng, look, edits))
    else:
        text = garment_texts.caption(rng, look.category or "dress", edits)
    return text.strip()


def draw_triplet(rng: random.Random, look: world.Look) -> tuple[list[world.Edit], str]:
    """1-4 edits of a reference and the text that asks for them."""
    edits = world.draw_edits(rng, look, rng.choices([1, 2, 3, 4], [30, 35, 25, 10])[0])
    return edits, draw_modification(rng, look, edits)


def draw_statement(rng: random.Random, look: world.Look) -> tuple[list[str], list[bool]]:
    """A statement about the picture of `look`, half of them true, and the truth of each claim."""
    held = set(world.claims(look))
    if rng.random() < 0.5:
        stated = world.claims(look)
    else:
        kind = rng.random()
        if kind < 0.25:
            stated = world.claims(world.draw_look(rng, look.domain))
        elif kind < 0.75:
            stated = world.claims(world.one_attribute_neighbour(rng, look))
        else:
            stated = world.claims(world.apply(look, world.draw_edits(rng, look, rng.randint(1, 3))))
    form = rng.random()
    if form >= 0.7:
        wrong = [claim for claim in stated if claim not in held]
        first = rng.choice(wrong or stated)
        more = rng.randint(1, 3) if form >= 0.9 else 0
        others = [claim for claim in stated if claim != first]
        chosen = {first, *rng.sample(others, min(more, len(others)))}
        stated = [claim for claim in stated if claim in chosen]
    return stated, [claim in held for claim in stated]


def shown(look: world.Look, claim: str) -> tuple[int, ...]:
    """Class of each of `SHOWN_SIZES` for the aspect that a claim is about, UNASKED for the others."""
    stated = world.parse_claim(claim)
    if stated is None:
        return (UNASKED,) * len(SHOWN_SIZES)
    aspect = stated[0][0]
    value = look.value(aspect)
    if look.domain == "garments":
        return (GARMENT_SHOWN.index(value), *(UNASKED,) * 4)
    if aspect not in KINDS:
        return (*(UNASKED,) * 4, GROUND_SHOWN.index(value))
    words = value.split()
    if len(words) == 1:
        return (UNASKED, 0, 0, 0, UNASKED)
    tables = (SIZES, PATTERNS, COLORS)
    return (UNASKED, *(t.index(w) + 1 for t, w in zip(tables, words, strict=True)), UNASKED)
