"""What people write of a scene: CIRR's sentence of orders or of sights, CIRCO's "has a … and …"."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from sample.looks import Edit, Look
from sample.vocabulary import ABSENT, KINDS
from sample.wording import article, finish, join

SIZE_WORDS: Final = {"small": ("small", "small", "little"), "large": ("large", "large", "big")}
GROUNDS: Final = {
    "meadow": ("a meadow", "grass", "a green meadow"),
    "sand": ("sand", "the sand", "a sandy beach"),
    "water": ("water", "the water", "blue water"),
    "night": ("a night sky", "the night sky"),
    "brick": ("a brick wall", "bricks", "red brick"),
    "paper": ("paper", "lined paper", "a sheet of paper"),
}
ORDERS: Final = {
    "in a row": ("in a row", "in a horizontal row", "side by side in a row"),
    "in a column": ("in a column", "in a vertical column", "one above the other in a column"),
    "on a rising diagonal": ("on a rising diagonal", "on a diagonal going up to the right"),
    "on a falling diagonal": ("on a falling diagonal", "on a diagonal going down to the right"),
}


def changed_parts(old: str, new: str) -> list[str]:
    """Those of the new object's size, pattern and colour that differ from the old one's."""
    return [b for a, b in zip(old.split(), new.split(), strict=True) if a != b]


def adjectives(rng: random.Random, old: str, new: str) -> list[str]:
    """Words for the changed parts alone, comparatives among them."""
    words = []
    for part in changed_parts(old, new):
        if part == "large":
            part = rng.choice(("bigger", "larger", "large", "big"))
        elif part == "small":
            part = rng.choice(("smaller", "small", "little"))
        words.append(part)
    return words


def noun_phrase(rng: random.Random, kind: str, value: str, unsaid: str) -> str:
    """An object with everything said that differs from `unsaid`, and sometimes the rest."""
    words = []
    for part, usual in zip(value.split(), unsaid.split(), strict=True):
        if part != usual or rng.random() < 0.25:
            words.append(rng.choice(SIZE_WORDS.get(part, (part,))))
    return article(" ".join([*words, kind]))


def known(rng: random.Random, kind: str, value: str) -> str:
    """The reference's object, now and then with its colour or pattern."""
    _, pattern, color = value.split()
    said = rng.choices(["", f"{color} ", f"{pattern} "], [70, 22, 8])[0]
    return f"the {said}{kind}"


def moves(rng: random.Random, edits: Sequence[Edit]) -> tuple[list[tuple[Edit, Edit]], list[Edit]]:
    """Removal-addition pairs to be told as replacements, and all other edits."""
    gone = [edit for edit in edits if edit.new == ABSENT]
    come = [edit for edit in edits if edit.old == ABSENT]
    if len(gone) == len(come) == 1 and rng.random() < 0.85:
        return [(gone[0], come[0])], [edit for edit in edits if edit not in (gone[0], come[0])]
    return [], list(edits)


STATED: Final = 0.5
"""Share of CIRR's sentences that say what is to be seen: of the real 36,554 32 % begin so, 33 % order."""
OPENINGS: Final = {"shows": 27, "show": 26, "": 32, "there is": 6, "has": 5, "have": 4}
"""What a statement begins with, and how often (the real texts' first words; "" is a bare "a …")."""
UNSAID: Final = "small plain -"  # what a new object is when nothing is said; its colour always is


def order(rng: random.Random, edit: Edit) -> str:
    """One edit as CIRR's writers ask for it."""
    if edit.aspect == "background":
        ground = rng.choice(GROUNDS[edit.new])
        return rng.choice(
            (
                "change the background to {}",
                "put everything on {}",
                "have {} in the background",
                "the background is {}",
                "show them on {}",
            )
        ).format(ground)
    if edit.aspect == "arrangement":
        way = rng.choice(ORDERS[edit.new])
        return rng.choice(
            ("arrange them {}", "put the objects {}", "the objects are {}", "place everything {}")
        ).format(way)
    if edit.new == ABSENT:
        return rng.choice(
            ("remove {}", "take away {}", "get rid of {}", "no more {}", "{} is gone", "without {}")
        ).format(known(rng, edit.aspect, edit.old))
    if edit.old == ABSENT:
        return rng.choice(
            ("add {}", "add {} to the scene", "there is also {}", "put in {}", "include {}")
        ).format(noun_phrase(rng, edit.aspect, edit.new, UNSAID))
    words = adjectives(rng, edit.old, edit.new)
    which = known(rng, edit.aspect, edit.old)
    return rng.choice(
        ("make {} {}", "{} is {}", "{} is now {}", "{} should be {}", "turn {} {}", "change {} to {}")
    ).format(which, " and ".join(words))


def sight(rng: random.Random, edit: Edit) -> str:
    """One edit as CIRR's writers name what is to be seen, without a verb."""
    if edit.aspect == "background":
        return rng.choice(("{} in the background", "{} as the background")).format(
            rng.choice(GROUNDS[edit.new])
        )
    if edit.aspect == "arrangement":
        return rng.choice(("the objects {}", "everything {}")).format(rng.choice(ORDERS[edit.new]))
    if edit.new == ABSENT:
        return rng.choice(("no {}", "no more {}", "the {} gone")).format(edit.aspect)
    if edit.old == ABSENT:
        thing = noun_phrase(rng, edit.aspect, edit.new, UNSAID)
        return rng.choice(("{}", "also {}", "{} as well")).format(thing)
    words = adjectives(rng, edit.old, edit.new)
    if rng.random() < 0.7:
        return article(" ".join([*words, edit.aspect]))
    return f"{known(rng, edit.aspect, edit.old)} {' and '.join(words)}"


def replacement_sight(rng: random.Random, gone: Edit, come: Edit) -> str:
    """A replacement as something to be seen; what is not said of the new object is as the old one was."""
    new = noun_phrase(rng, come.aspect, come.new, gone.old)
    return f"{new} {rng.choice(('instead of', 'in place of'))} {known(rng, gone.aspect, gone.old)}"


def statement(rng: random.Random, edit: Edit) -> str:
    """One edit as CIRCO's writers state it, beginning with has or is."""
    if edit.aspect == "background":
        ground = rng.choice(GROUNDS[edit.new])
        return rng.choice(("has {} in the background", "has {} as background", "is on {}")).format(ground)
    if edit.aspect == "arrangement":
        way = rng.choice(ORDERS[edit.new])
        return rng.choice(("has the objects {}", "has everything {}", "has them {}")).format(way)
    if edit.new == ABSENT:
        return rng.choice(("has no {0}", "has the {0} removed", "has the {0} taken away")).format(edit.aspect)
    if edit.old == ABSENT:
        thing = noun_phrase(rng, edit.aspect, edit.new, UNSAID)
        return rng.choice(("has also {}", "has {} added", "has {} too")).format(thing)
    words = adjectives(rng, edit.old, edit.new)
    return f"has {article(' '.join([*words, edit.aspect]))}"


def replacement_order(rng: random.Random, gone: Edit, come: Edit) -> str:
    """A replacement; what is not said of the new object is as the old one was."""
    new = noun_phrase(rng, come.aspect, come.new, gone.old)
    return rng.choice(
        ("replace {0} with {1}", "swap {0} for {1}", "there is {1} instead of {0}", "change {0} into {1}")
    ).format(known(rng, gone.aspect, gone.old), new)


def sentence(rng: random.Random, edits: Sequence[Edit]) -> str:
    """CIRR's modification: all edits in any order, told as orders or as sights."""
    pairs, single = moves(rng, edits)
    stated = rng.random() < STATED
    one, two = (sight, replacement_sight) if stated else (order, replacement_order)
    said = [two(rng, *pair) for pair in pairs] + [one(rng, edit) for edit in single]
    rng.shuffle(said)
    text = join(rng, said)
    if stated:
        text = f"{rng.choices(list(OPENINGS), list(OPENINGS.values()))[0]} {text}".lstrip()
    elif rng.random() < 0.1:
        text = rng.choice(("same but {}", "keep the rest the same but {}", "same scene but {}")).format(text)
    return finish(rng, text, capital=0.55, stop=0.3)


def relative(rng: random.Random, edits: Sequence[Edit]) -> str:
    """CIRCO's relative caption: statements of all edits, in any order."""
    pairs, single = moves(rng, edits)
    said = [statement(rng, edit) for edit in single]
    for gone, come in pairs:
        new = noun_phrase(rng, come.aspect, come.new, gone.old)
        said.append(f"has {new} instead of the {gone.aspect}")
    rng.shuffle(said)
    return finish(rng, join(rng, said), capital=0.02, stop=0.02)


def concept(rng: random.Random, reference: Look, target: Look) -> str:
    """CIRCO's shared concept: an object that both show, or just that there are some."""
    shared = [kind for kind in KINDS if ABSENT not in (reference.value(kind), target.value(kind))]
    return f"{article(rng.choice(shared))} with other objects" if shared else "a few objects"
