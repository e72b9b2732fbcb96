"""Questions about pictures in strange colors: where no word fits a color, every word for it is wrong.

Nothing is asked about a color that a word might fit, nor about a background, whose strange colors have no
names but may still be known.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from sample import world
from sample.teacher.draw import UNASKED, draw_shown_edit, draw_statement, shown, some_reworded
from sample.teacher.strange import NO_WORD, UNSURE, WORDS, Shown, as_shown, color_of
from sample.teacher.talk import Spoken, Talk
from sample.vocabulary import ABSENT

COLOR_ALONE = 0.5
"""Share of a strange picture's statements that are of one color alone."""
OF_COLOR = (0, 3)
"""Places among `draw.SHOWN_SIZES` of what a claim with a color is answered by: a garment's, an object's."""


def strange_statement(
    rng: random.Random, talk: Talk, look: world.Look, colors: Shown, swapped: bool
) -> Spoken | None:
    """A statement about the strange picture of a look. None where nothing is left to state."""
    seen = as_shown(look, colors)
    stated, held = (_color_alone if rng.random() < COLOR_ALONE else draw_statement)(rng, seen)
    claims, truths, classes = [], [], []
    for claim, truth in zip(stated, held, strict=True):
        word = _word(look, colors, _aspect(claim))
        if word == UNSURE:
            continue
        told = shown(seen, claim)
        claims.append(claim)
        truths.append(truth and word != NO_WORD)
        classes.append(_without_color(told) if word == NO_WORD else told)
    if not claims:
        return None
    return talk.verification(some_reworded(rng, seen, claims), truths, swapped, classes)


def strange_edit(
    rng: random.Random, talk: Talk, look: world.Look, colors: Shown, swapped: bool
) -> Spoken | None:
    """An edit that may have led to the strange picture of a look; none leads to a color without a word."""
    edit, truth = draw_shown_edit(rng, as_shown(look, colors))
    word = None if edit.new == ABSENT else _word(look, colors, edit.aspect)
    if word == UNSURE:
        return None
    return talk.edit_shown(edit, truth and word != NO_WORD, swapped)


def _word(look: world.Look, colors: Shown, aspect: str) -> str | None:
    """The word for the color of an aspect, NO_WORD or UNSURE; None where the aspect has no color."""
    if aspect == "background":
        return UNSURE
    color = color_of(look, aspect)
    return None if color is None else colors[color]


def _aspect(claim: str) -> str:
    parsed = world.parse_claim(claim)
    assert parsed is not None, claim
    return parsed[0][0]


def _without_color(classes: Sequence[int]) -> tuple[int, ...]:
    return tuple(UNASKED if place in OF_COLOR else known for place, known in enumerate(classes))


def _color_alone(rng: random.Random, look: world.Look) -> tuple[list[str], list[bool]]:
    """The claim of one colored thing, or the same of another color; half each."""
    aspect = rng.choice([aspect for aspect, _ in look.attributes if color_of(look, aspect)])
    told, old = look, look.value(aspect)
    color = color_of(look, aspect) or ""
    if rng.random() < 0.5:
        new = rng.choice([word for word in WORDS[look.domain] if word != color])
        told = world.apply(look, [world.Edit(aspect, old, f"{old.removesuffix(color)}{new}")])
    claims = [claim for claim in world.claims(told) if _aspect(claim) == aspect]
    return claims, [told is look] * len(claims)
