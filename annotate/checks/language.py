"""Which of seven languages a text is written in, by its function words; None where they do not tell."""

from __future__ import annotations

from collections import Counter

from annotate.checks.words import WORD

FUNCTION_WORDS = {
    "English": "the a an is are has have with without of and on in no not to from keep rest",
    "German": "der das ein eine einen einem mit ohne und ist sind auf kein keine nicht von",
    "French": "le les un une des avec sans et est dans sur pas du sont de aucun aucune",
    "Spanish": "el los las un una con sin del es y en lleva tiene de ningún",
    "Italian": "il lo gli una un con senza di della del è sono nel nessuna e ha",
    "Portuguese": "o os uma um com sem não da do é são na no e de tem",
    "Dutch": "het een met zonder niet geen van en op de zijn heeft naar",
}
"""What nearly every sentence has some of; a word may belong to several languages."""
LEAST = 3
"""Function words of a language that a text must have, and twice as many as of English: claims are short and
hold names, so few words prove nothing."""


def language(text: str) -> str | None:
    """The language with most function words in the text; None below `LEAST` or where English is near."""
    said = Counter(word.lower() for word in WORD.findall(text))
    counts = {name: sum(said[word] for word in words.split()) for name, words in FUNCTION_WORDS.items()}
    best = max(counts, key=lambda name: (counts[name], name == "English"))
    near = best != "English" and counts[best] < 2 * counts["English"]
    return None if counts[best] < LEAST or near else best
