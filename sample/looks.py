"""Looks (what a picture shows) and edits (what a modification asks), with the claims made of them."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sample.vocabulary import (
    ABSENT,
    ARRANGEMENTS,
    BACKGROUNDS,
    COLORS,
    GARMENT_ASPECTS,
    GARMENT_NOUNS,
    GARMENT_VALUES,
    KINDS,
    PATTERNS,
    SCENE_ASPECTS,
    SIZES,
    Domain,
    aspects,
)

MIN_OBJECTS, MAX_OBJECTS = 2, 4


@dataclass(frozen=True, slots=True)
class Look:
    """Everything a caption can say of a picture: one value an aspect, in canonical order."""

    domain: Domain
    category: str | None
    attributes: tuple[tuple[str, str], ...]

    def value(self, aspect: str) -> str:
        """The value of one aspect; KeyError when the domain has no such aspect."""
        return dict(self.attributes)[aspect]

    def as_dict(self) -> dict[str, str]:
        """Aspect -> value, in canonical order."""
        return dict(self.attributes)


@dataclass(frozen=True, slots=True)
class Edit:
    """One aspect changed from `old` to `new` (`none` for an object absent before or after)."""

    aspect: str
    old: str
    new: str

    def as_dict(self) -> dict[str, str]:
        """The spelling of answers and truth files: aspect, from, to."""
        return {"aspect": self.aspect, "from": self.old, "to": self.new}


def make_look(domain: Domain, category: str | None, values: dict[str, str]) -> Look:
    """A look with its attributes put in canonical order; absent scene objects may be left out."""
    if domain == "scenes":
        values = {**dict.fromkeys(KINDS, ABSENT), **values}
    return Look(domain, category, tuple((aspect, values[aspect]) for aspect in aspects(domain)))


def objects(look: Look) -> list[str]:
    """The kinds present in a scene, in the fixed kind order."""
    return [kind for kind in KINDS if look.value(kind) != ABSENT]


def draw_look(
    rng: random.Random,
    domain: Domain,
    category: str | None = None,
    exclude: Collection[tuple[str, str]] = (),
) -> Look:
    """Draw a look; `exclude` holds (kind, colour) pairs which a scene must not show."""
    if domain == "garments":
        category = category or rng.choice(list(GARMENT_NOUNS))
        return make_look(
            domain, category, {aspect: rng.choice(values) for aspect, values in GARMENT_VALUES.items()}
        )
    values = {"background": rng.choice(BACKGROUNDS), "arrangement": rng.choice(ARRANGEMENTS)}
    for kind in rng.sample(KINDS, rng.randint(MIN_OBJECTS, MAX_OBJECTS)):
        values[kind] = draw_object(rng, kind, exclude)
    return make_look(domain, None, values)


def draw_object(rng: random.Random, kind: str, exclude: Collection[tuple[str, str]] = ()) -> str:
    """Size, pattern and colour of an object of this kind."""
    colors = [color for color in COLORS if (kind, color) not in exclude]
    return f"{rng.choice(SIZES)} {rng.choice(PATTERNS)} {rng.choice(colors)}"


def claims(look: Look) -> list[str]:
    """The caption's claims, in the fixed order."""
    values = look.as_dict()
    if look.domain == "garments":
        noun = GARMENT_NOUNS[look.category or "dress"]
        return [f"{values['color']} {noun}", *(values[a] for a in GARMENT_ASPECTS if a != "color")]
    # The kind comes first: what a claim is about is decided before what is said of it.
    shown = [f"the {kind} is {values[kind]}" for kind in objects(look)]
    return [*shown, f"{values['background']} background", f"objects {values['arrangement']}"]


def apply(look: Look, edits: Iterable[Edit]) -> Look:
    """The look after the edits; ValueError when an edit's `old` is not what the look shows."""
    values = look.as_dict()
    for edit in edits:
        if values[edit.aspect] != edit.old:
            raise ValueError(f"edit {edit} does not fit {values[edit.aspect]!r}")
        values[edit.aspect] = edit.new
    return make_look(look.domain, look.category, values)


def differences(before: Look, after: Look) -> list[Edit]:
    """The edits that turn one look into the other, in canonical order."""
    new = after.as_dict()
    return [Edit(aspect, old, new[aspect]) for aspect, old in before.attributes if old != new[aspect]]


def in_order(domain: Domain, edits: Iterable[Edit]) -> list[Edit]:
    """Edits in canonical aspect order."""
    order = {aspect: place for place, aspect in enumerate(aspects(domain))}
    return sorted(edits, key=lambda edit: order[edit.aspect])


def other(rng: random.Random, values: Sequence[str], than: str) -> str:
    """A value of the list that is not `than`."""
    return rng.choice([value for value in values if value != than])


def change_object(rng: random.Random, value: str, changes: int = 1) -> str:
    """The object with so many of its size, pattern and colour changed (colour most often)."""
    size, pattern, color = value.split()
    parts = {"size", "pattern", "color"}
    chosen: set[str] = set()
    while len(chosen) < changes:
        chosen.add(rng.choices(sorted(parts), weights=[5, 3, 3])[0])
    size = other(rng, SIZES, size) if "size" in chosen else size
    pattern = other(rng, PATTERNS, pattern) if "pattern" in chosen else pattern
    color = other(rng, COLORS, color) if "color" in chosen else color
    return f"{size} {pattern} {color}"


def draw_edits(
    rng: random.Random, look: Look, n: int, exclude: Collection[tuple[str, str]] = ()
) -> list[Edit]:
    """Draw `n` asked changes (a replacement in a scene is one change, two edits); canonical order.

    `exclude` holds (kind, colour) pairs that no edit may introduce.
    """
    if look.domain == "garments":
        chosen = rng.sample(GARMENT_ASPECTS, n)
        drawn = [Edit(a, look.value(a), other(rng, GARMENT_VALUES[a], look.value(a))) for a in chosen]
        return in_order("garments", drawn)
    return _scene_edits(rng, look, n, exclude)


def _scene_edits(rng: random.Random, look: Look, n: int, exclude: Collection[tuple[str, str]]) -> list[Edit]:
    edits: dict[str, Edit] = {}
    count = len(objects(look))
    for _ in range(40 * n):
        if n <= 0:
            break
        present = [kind for kind in objects(look) if kind not in edits]
        absent = [kind for kind in KINDS if kind not in edits and look.value(kind) == ABSENT]
        act = rng.choices(
            ["change", "add", "remove", "replace", "background", "arrangement"], [40, 14, 12, 12, 12, 10]
        )[0]
        made: list[Edit] = []
        if act == "change" and present:
            kind = rng.choice(present)
            new = change_object(rng, look.value(kind), rng.choices([1, 2], [75, 25])[0])
            made = [Edit(kind, look.value(kind), new)]
        elif act == "add" and absent and count < MAX_OBJECTS:
            kind = rng.choice(absent)
            # What people leave unsaid of a new object is small and plain, so those are the usual ones.
            size = rng.choices(SIZES, [6, 4])[0]
            pattern = rng.choices(PATTERNS, [5, 3, 3])[0]
            made = [Edit(kind, ABSENT, f"{size} {pattern} {rng.choice(COLORS)}")]
            count += 1
        elif act == "remove" and present and count > MIN_OBJECTS:
            kind = rng.choice(present)
            made = [Edit(kind, look.value(kind), ABSENT)]
            count -= 1
        elif act == "replace" and present and absent and not _moves(edits.values()):
            gone, kind = rng.choice(present), rng.choice(absent)
            new = look.value(gone)
            new = change_object(rng, new) if rng.random() < 0.4 else new
            made = [Edit(gone, look.value(gone), ABSENT), Edit(kind, ABSENT, new)]
        elif act == "background" and act not in edits:
            made = [Edit(act, look.value(act), other(rng, BACKGROUNDS, look.value(act)))]
        elif act == "arrangement" and act not in edits:
            made = [Edit(act, look.value(act), other(rng, ARRANGEMENTS, look.value(act)))]
        if any((edit.aspect, edit.new.split()[-1]) in exclude for edit in made):
            if act == "add":
                count -= 1
            continue
        if made:
            edits.update({edit.aspect: edit for edit in made})
            n -= 1
    return in_order("scenes", edits.values())


def _moves(edits: Iterable[Edit]) -> bool:
    return any(ABSENT in (edit.old, edit.new) for edit in edits)


def draw_unmentioned(
    rng: random.Random,
    look: Look,
    edits: Sequence[Edit],
    n: int | None = None,
    exclude: Collection[tuple[str, str]] = (),
) -> list[Edit]:
    """1-3 changes of aspects that no edit touches; never adds or removes an object.

    `look` is the reference; the changes apply to it and to the target alike.
    """
    touched = {edit.aspect for edit in edits}
    wanted = n if n is not None else rng.choices([1, 2, 3], [60, 30, 10])[0]
    free = [a for a in aspects(look.domain) if a not in touched and look.value(a) != ABSENT]
    drawn: list[Edit] = []
    for aspect in rng.sample(free, len(free)):
        if len(drawn) == wanted:
            break
        old = look.value(aspect)
        if look.domain == "garments":
            new = other(rng, GARMENT_VALUES[aspect], old)
        elif aspect in KINDS:
            new = change_object(rng, old)
        else:
            new = other(rng, BACKGROUNDS if aspect == "background" else ARRANGEMENTS, old)
        if (aspect, new.split()[-1]) not in exclude:
            drawn.append(Edit(aspect, old, new))
    return in_order(look.domain, drawn)


def one_attribute_neighbour(rng: random.Random, look: Look) -> Look:
    """A look that differs in exactly one attribute (of a scene's object: one of size, pattern, colour)."""
    return apply(look, draw_unmentioned(rng, look, (), n=1))


def one_value_off(rng: random.Random, edit: Edit) -> Edit:
    """The edit with another value than `new`: of an object one attribute differs, of a removal all do."""
    if edit.aspect in KINDS:
        if edit.new == ABSENT:
            return Edit(edit.aspect, edit.old, change_object(rng, edit.old))
        return Edit(edit.aspect, edit.old, change_object(rng, edit.new))
    values = {**GARMENT_VALUES, "background": BACKGROUNDS, "arrangement": ARRANGEMENTS}[edit.aspect]
    return Edit(edit.aspect, edit.old, other(rng, values, edit.new))


def kept(look: Look, edits: Iterable[Edit]) -> list[str]:
    """The reference's aspects that no edit touches, in canonical order (scenes: present kinds only)."""
    touched = {edit.aspect for edit in edits}
    return [aspect for aspect, value in look.attributes if aspect not in touched and value != ABSENT]


def rationale(edits: Iterable[Edit]) -> str:
    """One sentence derived from the edits alone: of a changed object it says what changes, not what stays."""
    parts = []
    for edit in edits:
        if edit.new == ABSENT:
            parts.append(f"remove {edit.aspect}")
        elif edit.old == ABSENT:
            parts.append(f"add {edit.new} {edit.aspect}")
        elif edit.aspect in KINDS:
            changed = [b for a, b in zip(edit.old.split(), edit.new.split(), strict=True) if a != b]
            parts.append(f"change {edit.aspect} to {' '.join(changed)}")
        else:
            parts.append(f"change {edit.aspect} to {edit.new}")
    return f"{' and '.join(parts) or 'change nothing'}, keep the rest"


def parse_claim(text: str) -> list[tuple[str, str]] | None:
    """What a claim states, as (aspect, value) pairs; None when it is no claim of this world.

    A garment's first claim also states its category: [("color", "red"), ("category", "dress")].
    """
    words = " ".join(text.lower().split())
    for aspect in GARMENT_ASPECTS[1:]:
        if words in GARMENT_VALUES[aspect]:
            return [(aspect, words)]
    first, _, last = words.rpartition(" ")
    for category, noun in GARMENT_NOUNS.items():
        if last == noun and first in GARMENT_VALUES["color"]:
            return [("color", first), ("category", category)]
    said = words.split()
    if len(said) == 6 and (said[0], said[2]) == ("the", "is"):
        _, kind, _, size, pattern, color = said
        if kind in KINDS and size in SIZES and pattern in PATTERNS and color in COLORS:
            return [(kind, f"{size} {pattern} {color}")]
    if last == "background" and first in BACKGROUNDS:
        return [("background", first)]
    if words.startswith("objects ") and words[8:] in ARRANGEMENTS:
        return [("arrangement", words[8:])]
    return None


__all__ = [
    "SCENE_ASPECTS",
    "Edit",
    "Look",
    "apply",
    "change_object",
    "claims",
    "differences",
    "draw_edits",
    "draw_look",
    "draw_object",
    "draw_unmentioned",
    "in_order",
    "kept",
    "make_look",
    "objects",
    "one_attribute_neighbour",
    "one_value_off",
    "parse_claim",
    "rationale",
]
