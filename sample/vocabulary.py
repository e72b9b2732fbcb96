"""Every aspect and value of the sample world, in the one order that claims, edits and labels follow."""

from __future__ import annotations

from typing import Final, Literal

Domain = Literal["garments", "scenes"]

GARMENT_NOUNS: Final[dict[str, str]] = {"dress": "dress", "shirt": "shirt", "toptee": "top"}

GARMENT_VALUES: Final[dict[str, tuple[str, ...]]] = {
    "color": (
        "red",
        "orange",
        "yellow",
        "green",
        "blue",
        "purple",
        "pink",
        "brown",
        "black",
        "white",
        "gray",
    ),
    "pattern": ("plain", "striped", "dotted", "checked"),
    "sleeves": ("sleeveless", "short sleeves", "long sleeves"),
    "neckline": ("round neck", "v neck", "square neck", "collar"),
    "length": ("short length", "medium length", "long length"),
    "waist": ("no belt", "belt"),
    "emblem": ("no emblem", "star emblem", "heart emblem", "circle emblem"),
    "hem": ("straight hem", "ruffled hem"),
    "closure": ("no closure", "buttons", "zip"),
}

KINDS: Final = ("ball", "box", "cone", "star", "ring", "cross", "heart", "moon")
SIZES: Final = ("small", "large")
PATTERNS: Final = ("plain", "striped", "dotted")
COLORS: Final = ("red", "orange", "yellow", "green", "blue", "purple", "white", "black")
BACKGROUNDS: Final = ("meadow", "sand", "water", "night", "brick", "paper")
ARRANGEMENTS: Final = ("in a row", "in a column", "on a rising diagonal", "on a falling diagonal")
ABSENT: Final = "none"

GARMENT_ASPECTS: Final = tuple(GARMENT_VALUES)
SCENE_ASPECTS: Final = (*KINDS, "background", "arrangement")


def aspects(domain: Domain) -> tuple[str, ...]:
    """The closed list of aspects of a domain, in canonical order."""
    return GARMENT_ASPECTS if domain == "garments" else SCENE_ASPECTS
