"""Modification texts: which are usable, how they are cleaned, how two captions become one text."""

from __future__ import annotations

import string
import unicodedata

from schemas.triplet import CaptionMode

# Zero-width joiner and non-joiner carry meaning in emoji and several scripts.
_KEPT_FORMAT_CHARACTERS = "\u200c\u200d"


def clean(text: str) -> str:
    """Text without control and invisible format characters, composed (NFC), blanks collapsed and trimmed."""
    if not (text.isascii() and text.isprintable()):  # nearly all texts need none of this
        text = unicodedata.normalize("NFC", "".join(map(_visible, text)))
    return " ".join(text.split())


def usable(text: str) -> bool:
    """True when something is left once blanks, punctuation, control characters and lone accents are gone."""
    return any(
        character not in string.punctuation and unicodedata.category(character)[0] not in "ZCPM"
        for character in text
    )


def normalised(text: str) -> str:
    """The form in which two texts count as the same: cleaned, case folded."""
    return clean(text).casefold()


def join_captions(captions: tuple[str, ...], mode: CaptionMode) -> str:
    """One modification text of a triplet's captions; unusable captions are left out ("" when none is usable).

    * `and`: "c1 and c2", the FashionIQ starter kit's way, and the form that a teacher is given.
    * `clip4cir`: the same with `.?, ` stripped off both ends of each, the first capitalised (CLIP4Cir, SPRC).
    * `reversed`: as `clip4cir` with the captions swapped (SEARLE averages both orders).
    * `first`, `second`: that caption alone, as `clip4cir` (CoSMo, VAL); the other one where it is unusable.

    A single caption (CIRR, CIRCO) is only cleaned, whatever the mode.
    """
    if len(captions) == 1:
        return clean(captions[0]) if usable(captions[0]) else ""
    texts = [clean(caption) for caption in captions if usable(caption)]
    if mode == "and" or not texts:
        return " and ".join(texts)
    if mode in ("first", "second") and len(texts) > 1:
        texts = texts[:1] if mode == "first" else texts[1:2]
    elif mode == "reversed":
        texts = texts[::-1]
    stripped = [text.strip(".?, ") for text in texts]
    return " and ".join([stripped[0].capitalize(), *stripped[1:]])


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf":
        return character if character in _KEPT_FORMAT_CHARACTERS else ""
    return " " if category[0] in "CZ" else character
