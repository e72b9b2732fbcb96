"""What shoppers write of a garment: FashionIQ's two captions, each of all or a part of the edits."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from sample.looks import Edit
from sample.vocabulary import GARMENT_NOUNS
from sample.wording import finish, join

# Ways to ask for a value. Each one names the value, whatever the reference looks like.
ASK: Final[dict[str, tuple[str, ...]]] = {
    "plain": ("is plain", "is solid colored", "has no pattern", "has a plain fabric"),
    "striped": ("is striped", "has stripes", "has a striped pattern", "has diagonal stripes"),
    "dotted": ("is dotted", "has polka dots", "has a dotted pattern", "has dots all over"),
    "checked": ("is checked", "has a checkered pattern", "is checkered", "has a checked print"),
    "sleeveless": ("is sleeveless", "has no sleeves", "is without sleeves"),
    "short sleeves": ("has short sleeves", "is short sleeved", "has a short sleeve"),
    "long sleeves": ("has long sleeves", "is long sleeved", "has full length sleeves"),
    "round neck": ("has a round neck", "has a rounded neckline", "has a crew neck"),
    "v neck": ("has a v neck", "has a v-neck", "has a v shaped neckline"),
    "square neck": ("has a square neck", "has a square neckline", "has a square cut neckline"),
    "collar": ("has a collar", "is collared", "has a pointed collar"),
    "short length": ("is short in length", "has a short length", "is the shortest length"),
    "medium length": ("is medium in length", "has a medium length", "is of mid length"),
    "long length": ("is long in length", "has a long length", "is very long"),
    "no belt": ("has no belt", "is without a belt", "is not belted"),
    "belt": ("has a belt", "is belted", "has a belt at the waist"),
    "no emblem": ("has no emblem", "has no logo on the chest", "is without the emblem"),
    "star emblem": ("has a star on the chest", "has a star emblem", "has a star logo"),
    "heart emblem": ("has a heart on the chest", "has a heart emblem", "has a heart logo"),
    "circle emblem": ("has a circle on the chest", "has a circle emblem", "has a round logo"),
    "straight hem": ("has a straight hem", "has no ruffles", "has a hem without ruffles"),
    "ruffled hem": ("has a ruffled hem", "has ruffles at the bottom", "has a frilly hem"),
    "no closure": ("has no closure", "has nothing down the front", "has a closed front"),
    "buttons": ("has buttons", "has buttons down the front", "is buttoned"),
    "zip": ("has a zip", "has a zipper down the front", "is zipped up the front"),
}
# Comparatives and removals, only where the reference leaves one reading.
COMPARE: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("short sleeves", "long sleeves"): ("has longer sleeves",),
    ("long sleeves", "short sleeves"): ("has shorter sleeves",),
    ("short length", "medium length"): ("is a bit longer", "is slightly longer"),
    ("short length", "long length"): ("is much longer", "is a lot longer"),
    ("medium length", "long length"): ("is longer", "has a longer cut"),
    ("medium length", "short length"): ("is shorter", "has a shorter cut"),
    ("long length", "medium length"): ("is a bit shorter", "is slightly shorter"),
    ("long length", "short length"): ("is much shorter", "is a lot shorter"),
    ("striped", "plain"): ("has no stripes",),
    ("dotted", "plain"): ("has no dots",),
    ("star emblem", "no emblem"): ("has no star on it",),
    ("heart emblem", "no emblem"): ("has no heart on it",),
    ("circle emblem", "no emblem"): ("has no circle on it",),
    ("buttons", "no closure"): ("has no buttons",),
    ("zip", "no closure"): ("has no zip",),
}
COLOR_ASK: Final = (
    "is {new}",
    "is {new}",
    "is {new} in color",
    "is {new} instead of {old}",
    "is {new} colored",
    "has a {new} color",
    "is more {new}",
)


def phrase(rng: random.Random, edit: Edit) -> str:
    """One way to ask for one edit, beginning with is or has."""
    if edit.aspect == "color":
        new = "grey" if edit.new == "gray" and rng.random() < 0.5 else edit.new
        return rng.choice(COLOR_ASK).format(new=new, old=edit.old)
    ways = ASK[edit.new]
    comparing = COMPARE.get((edit.old, edit.new))
    if comparing and rng.random() < 0.5:
        ways = comparing
    return rng.choice(ways)


def caption(rng: random.Random, category: str, edits: Sequence[Edit]) -> str:
    """One caption that asks for all these edits, in any order."""
    said = [phrase(rng, edit) for edit in rng.sample(edits, len(edits))]
    noun = GARMENT_NOUNS[category]
    text = join(rng, said)
    if rng.random() < 0.06:
        text = rng.choice(
            (f"is the same {noun} but {text}", f"same style but {text}", f"is similar but {text}")
        )
    elif rng.random() < 0.12:
        text = f"{rng.choice((f'the {noun}', 'it'))} {text}"
    return finish(rng, text, capital=0.18, stop=0.12)


def captions(rng: random.Random, category: str, edits: Sequence[Edit]) -> tuple[str, str]:
    """Two different captions; each asks for all or some of the edits, together for all."""
    while True:
        whole = rng.random()
        first, second = list(edits), list(edits)
        if len(edits) > 1 and whole < 0.7:
            mixed = rng.sample(edits, len(edits))
            cut = rng.randrange(1, len(mixed))
            first, second = mixed[:cut], mixed[cut:]
            if whole < 0.35:
                second = second + rng.sample(first, rng.randint(0, len(first)))
        made = caption(rng, category, first), caption(rng, category, second)
        if made[0].strip(" .").lower() != made[1].strip(" .").lower():
            return made
