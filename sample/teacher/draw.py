"""Which triplets and which statements the teacher practises on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from sample import garment_texts, world
from sample.claim_words import reworded
from sample.vocabulary import (
    ABSENT,
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

# Held-out triplets have a seed of their own, far from every other.
SEED = 3_000_000
EDITS = ([1, 2, 3], [40, 40, 20])

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


def some_reworded(rng: random.Random, look: world.Look, claims: list[str]) -> list[str]:
    """The claims of every fifth statement in other words, as true of the look as before: a claim that only
    its category makes untrue keeps it."""
    if rng.random() >= 0.2:
        return claims
    return [reworded(rng, claim, _wrong_by_category(look, claim)) for claim in claims]


def _wrong_by_category(look: world.Look, claim: str) -> bool:
    stated = dict(world.parse_claim(claim) or ())
    if "category" not in stated:
        return False
    return stated["category"] != look.category and stated["color"] == look.value("color")


def shown(look: world.Look, claim: str) -> tuple[int, ...]:
    """Class of each of `SHOWN_SIZES` for the aspect that a claim is about, UNASKED for the others."""
    stated = world.parse_claim(claim)
    return (UNASKED,) * len(SHOWN_SIZES) if stated is None else shown_of(look, stated[0][0])


def shown_of(look: world.Look, aspect: str) -> tuple[int, ...]:
    """Class of each of `SHOWN_SIZES` for this aspect of the look, UNASKED for the others."""
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


@dataclass(frozen=True, slots=True)
class Case:
    """One held-out triplet: the target also shows changes that nobody mentioned."""

    reference: world.Look
    edits: list[world.Edit]
    modification: str
    target: world.Look
    other: world.Look
    neighbour: world.Look
    seed: int


def draw_case(domain: world.Domain, number: int, seed: int = SEED) -> Case:
    """Held-out triplet `number` of a domain."""
    rng = random.Random(f"{seed}-{domain}-{number}")
    reference = world.draw_look(rng, domain)
    edits = world.draw_edits(rng, reference, rng.choices(*EDITS)[0])
    text = draw_modification(rng, reference, edits)
    target = world.apply(reference, edits)
    if rng.random() < 0.45:
        target = world.apply(target, world.draw_unmentioned(rng, reference, edits))
    other = world.draw_look(rng, domain)
    return Case(reference, edits, text, target, other, world.one_attribute_neighbour(rng, target), number)


def draw_shown_edit(rng: random.Random, look: world.Look) -> tuple[world.Edit, bool]:
    """An edit that may have led to this look, or has not; half of them are true.

    The wrong ones are mostly near: one attribute of the value differs, or the object is still there.
    """
    if rng.random() < 0.5:
        before = world.apply(look, world.draw_edits(rng, look, 1))
        edit = rng.choice(world.differences(before, look))
        return edit, True
    if rng.random() < 0.6:
        other = world.one_attribute_neighbour(rng, look)
    else:
        other = world.apply(look, world.draw_edits(rng, look, 1))
    edit = rng.choice(world.differences(look, other))
    old = edit.old
    if rng.random() < 0.5:
        before = world.apply(other, world.draw_edits(rng, other, 1))
        changed = [e for e in world.differences(before, other) if e.aspect == edit.aspect]
        old = changed[0].old if changed else old
    return world.Edit(edit.aspect, old, edit.new), False


@dataclass(frozen=True, slots=True)
class Settled:
    """A claim about the picture looked for, and whether reference and request settle it."""

    reference: world.Look
    edits: list[world.Edit]
    modification: str
    claim: str
    settled: bool


def draw_settled(rng: random.Random, reference: world.Look) -> Settled:
    """A claim of the blind conclusion (settled), or one that only the target could tell; half each."""
    edits, text = draw_triplet(rng, reference)
    before, wanted = world.claims(reference), world.claims(world.apply(reference, edits))
    settled = rng.random() < 0.5
    if settled:
        fresh = [claim for claim in wanted if claim not in before]
        return Settled(
            reference, edits, text, rng.choice(fresh if fresh and rng.random() < 0.5 else wanted), True
        )
    target = world.apply(world.apply(reference, edits), world.draw_unmentioned(rng, reference, edits))
    leaked = [claim for claim in world.claims(target) if claim not in wanted]
    # What was before the edit is not settled either, though the picture shows it.
    stale = [claim for claim in before if claim not in wanted]
    pool = stale if stale and (not leaked or rng.random() < 0.25) else leaked
    if not pool:  # nothing is left unmentioned and only additions were asked for
        return Settled(reference, edits, text, rng.choice(wanted), True)
    return Settled(reference, edits, text, rng.choice(pool), False)


def spoilt(rng: random.Random, look: world.Look, edits: Sequence[world.Edit]) -> list[world.Edit]:
    """The edits with one dropped, invented, reversed or given another value."""
    kind = rng.choice(
        ["drop", "invent", "value", "value", "reverse"] if len(edits) > 1 else ["invent", "value"]
    )
    place = rng.randrange(len(edits))
    edit = edits[place]
    if kind == "drop":
        return [e for e in edits if e is not edit]
    if kind == "invent":
        free = world.draw_unmentioned(rng, look, edits, n=1)
        if free:
            return world.in_order(look.domain, [*edits, *free])
    if kind == "reverse" and ABSENT not in (edit.old, edit.new):
        return [world.Edit(e.aspect, e.new, e.old) if e is edit else e for e in edits]
    other = world.one_value_off(rng, edit)
    return [other if e is edit else e for e in edits]
