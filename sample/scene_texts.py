"""What people write of a scene: CIRR's one sentence of orders, CIRCO's "has a … and …"."""

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
    """CIRR's modification: orders for all edits, in any order."""
    pairs, single = moves(rng, edits)
    said = [replacement_order(rng, *pair) for pair in pairs] + [order(rng, edit) for edit in single]
    rng.shuffle(said)
    text = join(rng, said)
    if rng.random() < 0.1:
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
