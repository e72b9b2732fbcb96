"""Other ways to state a claim than the one that the captions use, as another writer or a leak would."""

from __future__ import annotations

import random
from collections.abc import Sequence

from sample.garment_texts import ASK
from sample.looks import parse_claim
from sample.scene_texts import GROUNDS, ORDERS, SIZE_WORDS
from sample.vocabulary import GARMENT_NOUNS, KINDS
from sample.wording import article


def reworded(rng: random.Random, claim: str, with_category: bool = False) -> str:
    """The claim in other words, of the same meaning; ValueError when it is no claim of this world. Of a
    garment's color it may say no more than the color, unless `with_category`."""
    stated = parse_claim(claim)
    if stated is None:
        raise ValueError(f"no claim of the sample world: {claim!r}")
    aspect, value = stated[0]
    if aspect == "color":
        noun = GARMENT_NOUNS[stated[1][1]]
        ways = ["the {1} is {0}", "{2} {1}", "its color is {0}", "a {1} in {0}"]
        if with_category:
            ways.remove("its color is {0}")
        return rng.choice(ways).format(value, noun, article(value))
    if aspect == "background":
        ground = rng.choice(GROUNDS[value])
        return rng.choice(
            ("the background is {}", "there is {} in the background", "{} as background")
        ).format(ground)
    if aspect == "arrangement":
        way = rng.choice(ORDERS[value])
        return rng.choice(("the objects are {}", "everything is {}", "they are arranged {}")).format(way)
    if aspect in KINDS:
        size, pattern, color = value.split()
        size = rng.choice(SIZE_WORDS[size])
        words = rng.choice(
            (f"{size} {pattern} {color}", f"{size} {color} {pattern}", f"{pattern} {size} {color}")
        )
        return rng.choice(("there is {0}", "{0}", "it shows {0}", "{1}")).format(
            article(f"{words} {aspect}"), f"the {aspect}, {words}"
        )
    return rng.choice(("it {}", "{}", "the garment {}")).format(rng.choice(ASK[value]))


def in_part(rng: random.Random, kind: str, said: Sequence[str]) -> str:
    """An object by some of its size, pattern and color, in any order; none of them is fine."""
    words = [rng.choice(SIZE_WORDS.get(part, (part,))) for part in rng.sample(said, len(said))]
    phrase = article(" ".join([*words, kind]))
    ways = ["{0}", "{0}", "there is {0}", "it shows {0}", "{0} is in it", "it has {0}"]
    if words:
        ways += [f"the {kind} is {' and '.join(words)}", f"a {kind} which is {' and '.join(words)}"]
    return rng.choice(ways).format(phrase)


def absent(rng: random.Random, kind: str) -> str:
    """That an object is not in the picture."""
    return rng.choice(
        ("no {}", "there is no {}", "without a {}", "not a {}", "it has no {}", "the {} is missing")
    ).format(kind)
