"""Is the text well formed? Pure: repeats, talk about the task, echoes of the request, script, lengths.

Detects: claims said twice, phrases in a loop, meta words ("target image", "second picture", file names), the
modification given back as an answer, a conclusion that repeats the caption, text in another script than the
request's or in another language (of seven European ones) than the request's and the prompts', claims that are
whole paragraphs, texts that end where the schema ends them. Cannot detect: anything that is well written and
wrong. Source: the repetition rules of Gopher (Rae et al., "Scaling Language Models", 2021, appendix A1.1);
the meta words are those that published CIR annotations are cleaned of.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from annotate.checks.check import Check, Evidence, Findings
from annotate.checks.language import language
from annotate.checks.words import WORD, even, words
from annotate.teacher.request import Ask
from schemas.answers import MAX_CLAIM, MAX_RATIONALE

META = re.compile(
    r"\b(target|reference|source|query|modified|edited)[ -](image|picture|photo|photograph)s?\b"
    r"|\b(image|picture|photo) (1|2|one|two)\b"
    r"|\b[\w-]+\.(jpe?g|png|webp)\b|\b(modification|edit) (text|request)\b|\bas an ai\b",
    re.IGNORECASE,
)
BETWEEN = re.compile(
    r"\b(second|first|other|another|original|input)[ -](image|picture|photo|photograph)s?\b", re.IGNORECASE
)
"""Talk about the two pictures: right in a rationale, which is about them, and wrong in a claim."""
REQUESTING = words(
    "change changed make made keep kept add added remove removed replace replaced turn same instead more "
    "less different another want wants need needs should please"
)
"""A text with none of these describes the picture that is looked for, and may be its description's claim."""
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
    said = " ".join((*caption, rationale, *conclusion))
    asked = even(evidence.modification)
    # of a text that describes the target one claim may be the text; a whole conclusion adds to it
    is_request = bool(words(evidence.modification) & REQUESTING) or len(conclusion) == 1
    may_echo = is_request and len(asked.split()) >= ECHO_WORDS
    facts = {
        "loop": _loops(rationale),
        "meta_words": bool(META.search(rationale)),
        "echoes_request": may_echo and any(asked in even(text) for text in (*caption, *conclusion)),
        "echoes_caption": set(map(even, caption)) == set(map(even, conclusion)),
        "other_script": _script(said) != _script(evidence.modification),
        "other_language": language(said) not in (None, "English", language(evidence.modification)),
        "cut_short": len(rationale) == MAX_RATIONALE,
        "no_words": not any(map(str.isalpha, rationale)),
    }
    own = {name for name, true in facts.items() if true}
    return tuple(sorted(own | claim_findings(caption) | claim_findings(conclusion)))


def claim_findings(claims: Sequence[str]) -> set[str]:
    """Names of what is wrong with a list of claims by itself."""
    facts = {
        "claim_twice": len(set(map(even, claims))) < len(claims),
        "loop": any(map(_loops, claims)),
        "meta_words": any(META.search(claim) or BETWEEN.search(claim) for claim in claims),
        "long_claim": any(len(claim.split()) > LONGEST_CLAIM for claim in claims),
        "cut_short": any(len(claim) == MAX_CLAIM for claim in claims),
        "no_words": any(not any(map(str.isalpha, claim)) for claim in claims),
    }
    return {name for name, true in facts.items() if true}


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
