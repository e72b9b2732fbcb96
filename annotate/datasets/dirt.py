"""Dirt in the records is data: one pass marks each triplet with `problem` (quarantined) or `notes` (used).

The table with an example of each code is docs/dirt.md; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from annotate.datasets.captions import normalised, usable
from schemas.triplet import Triplet

MAX_MODIFICATION_CHARACTERS = 2000

PROBLEMS = ("empty_modification", "modification_too_long", "exact_repeat")
NOTES = ("one_empty_caption", "equal_captions", "stray_blanks", "broken_unicode", "target_is_reference")


def mark_dirt(triplets: Iterable[Triplet]) -> list[Triplet]:
    """The same triplets in the same order, with `problem` and `notes` filled in.

    Of an exact repeat (same category, reference, target and normalised texts) the first one stays usable.
    """
    seen: set[tuple[object, ...]] = set()
    marked = []
    for triplet in triplets:
        texts = tuple(normalised(text) for text in triplet.modifications)
        key = (triplet.category, triplet.reference, triplet.target, texts)
        problem = _problem(triplet.modifications) or ("exact_repeat" if key in seen else None)
        seen.add(key)
        notes = _notes(triplet)
        marked.append(replace(triplet, problem=problem, notes=notes) if problem or notes else triplet)
    return marked


def _problem(modifications: tuple[str, ...]) -> str | None:
    if not any(usable(text) for text in modifications):
        return "empty_modification"
    if max(map(len, modifications)) > MAX_MODIFICATION_CHARACTERS:
        return "modification_too_long"
    return None


def _notes(triplet: Triplet) -> tuple[str, ...]:
    texts = triplet.modifications
    usable_texts = sum(usable(text) for text in texts)
    facts = {
        "one_empty_caption": 0 < usable_texts < len(texts),
        "equal_captions": usable_texts > 1 and len(set(texts)) == 1,
        "stray_blanks": any(text != text.strip() for text in texts),
        "broken_unicode": any("\ufffd" in text for text in texts),
        "target_is_reference": triplet.target == triplet.reference,
    }
    return tuple(note for note in NOTES if facts[note])
