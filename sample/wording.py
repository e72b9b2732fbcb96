"""How people put phrases together: joins, capitals, full stops, slips of the finger."""

from __future__ import annotations

import random
from collections.abc import Sequence

TYPO_A_WORD = 0.008
DOUBLE_BLANK_A_TEXT = 0.02


def join(rng: random.Random, phrases: Sequence[str]) -> str:
    """Phrases as one clause: a, b and c. Of two in a row with one verb the second mostly loses it."""
    said: list[str] = []
    verb_before = ""
    for phrase in phrases:
        verb, _, rest = phrase.partition(" ")
        drops = verb in ("is", "has") and verb == verb_before and rng.random() < 0.7
        said.append(rest if drops else phrase)
        verb_before = verb
    if len(said) == 1:
        return said[0]
    last = rng.choices([" and ", ", and ", ", "], [75, 10, 15])[0]
    return ", ".join(said[:-1]) + last + said[-1]


def finish(rng: random.Random, text: str, capital: float, stop: float) -> str:
    """Capital and full stop as often as said, a rare typo, a rare doubled blank."""
    words = [_slip(rng, word) if rng.random() < TYPO_A_WORD else word for word in text.split(" ")]
    if rng.random() < DOUBLE_BLANK_A_TEXT and len(words) > 2:
        place = rng.randrange(1, len(words))
        words[place] = " " + words[place]
    text = " ".join(words)
    if rng.random() < capital:
        text = text[0].upper() + text[1:]
    return text + "." if rng.random() < stop else text


def _slip(rng: random.Random, word: str) -> str:
    """Two letters swapped, one lost or one doubled inside a word of five letters or more."""
    if len(word) < 5 or not word.isalpha():
        return word
    place = rng.randrange(1, len(word) - 2)
    act = rng.choice(("swap", "lose", "double"))
    if act == "swap":
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    if act == "lose":
        return word[:place] + word[place + 1 :]
    return word[:place] + word[place] + word[place:]


def article(noun_phrase: str) -> str:
    """The noun phrase with a or an before it."""
    return f"{'an' if noun_phrase[0] in 'aeiou' else 'a'} {noun_phrase}"
