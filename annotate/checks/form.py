"""Is the text well formed? Pure: repeats, talk about the task, echoes of the request, script, lengths.

Detects: claims said twice, phrases in a loop, meta words ("target image", "second picture", file names), the
modification given back as an answer, a conclusion that repeats the caption, text in another script than the
request's or in another language (of seven European ones) than the request's and the prompts', claims that are
whole paragraphs. Cannot detect: anything that is well written and wrong. Source: the repetition rules of
Gopher (Rae et al., "Scaling Language Models", 2021, appendix A1.1); the meta words are those that published
CIR annotations are cleaned of.
"""

from __future__ import annotations

import re

from annotate.checks.check import Check, Evidence, Findings
from annotate.checks.language import language
from annotate.checks.words import WORD, even
from annotate.teacher.request import Ask

META = re.compile(
    r"\b(target|reference|source|second|first|other|original|query|input|modified|edited)[ -]"
    r"(image|picture|photo|photograph)s?\b"
    r"|\b(image|picture|photo) (1|2|one|two)\b|\bin the (image|picture|photo)\b"
    r"|\b[\w-]+\.(jpe?g|png|webp)\b|\b(modification|edit) (text|request)\b|\bas an ai\b",
    re.IGNORECASE,
)
LONGEST_LOOP, LOOP_TIMES = 20, 3
"""Words of a phrase that is said again and again, one right after the other."""
LONGEST_CLAIM = 25
"""Words; a claim is one fact."""
ECHO_WORDS = 4
"""A shorter modification may well be said again by an honest claim ("blue")."""


async def form(ask: Ask, evidence: Evidence) -> Findings:
    """`form` 1 for text without a finding, 1 / (1 + findings) else; `form_findings` names them. Asks
    nothing."""
    found = findings(evidence)
    return {"form": round(1 / (1 + len(found)), 6), "form_findings": found}


def findings(evidence: Evidence) -> tuple[str, ...]:
    """Names of what is wrong with the chain's text, sorted."""
    chain = evidence.chain
    caption, conclusion = chain.caption.claims, chain.conclusion.claims
    rationale = chain.reasoning.rationale
    texts = (*caption, rationale, *conclusion)
    asked = even(evidence.modification)
    long_enough = len(asked.split()) >= ECHO_WORDS
    facts = {
        "claim_twice": any(len(set(map(even, claims))) < len(claims) for claims in (caption, conclusion)),
        "loop": any(map(_loops, texts)),
        "meta_words": any(META.search(text) for text in texts),
        "echoes_request": long_enough and any(asked in even(text) for text in (*conclusion, *caption)),
        "echoes_caption": set(map(even, caption)) == set(map(even, conclusion)),
        "other_script": _script(" ".join(texts)) != _script(evidence.modification),
        "other_language": language(" ".join(texts)) not in (None, "English", language(evidence.modification)),
        "long_claim": any(len(claim.split()) > LONGEST_CLAIM for claim in (*caption, *conclusion)),
        "no_words": any(not any(map(str.isalpha, text)) for text in texts),
    }
    return tuple(sorted(name for name, true in facts.items() if true))


def _loops(text: str) -> bool:
    said = WORD.findall(text.lower())
    return any(
        said[start : start + length] * LOOP_TIMES == said[start : start + length * LOOP_TIMES]
        for length in range(1, min(LONGEST_LOOP, len(said) // LOOP_TIMES) + 1)
        for start in range(len(said) - length * LOOP_TIMES + 1)
    )


def _script(text: str) -> str:
    """Latin or other, by the majority of letters; a text without letters counts as Latin."""
    letters = [character for character in text if character.isalpha()]
    latin = sum(character < "\u0250" for character in letters)
    return "latin" if 2 * latin >= len(letters) else "other"


FORM = Check(name="form", columns=("form",), details=("form_findings",), cost=0, run=form)
