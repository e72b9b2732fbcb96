"""Do caption, edits and conclusion fit together, and are the edits what the text asks for?

Detects, by strings: an edit whose `from` the caption does not state, a conclusion that lacks an edit's `to`
or still has the claim that the edit overrides, one aspect edited twice, an aspect both kept and edited, a
claim of the conclusion that another denies ("belt", "without a belt"). By one question in the writer's
conversation: edits that are missing, invented, reversed or of a wrong value (`p_covers`).

Cannot detect: a caption and edits that agree with each other and not with the picture, contradictions that
share no word ("short sleeves", "bare arms"). Strings do not know that "sleeveless" is "no sleeves": an edit
that the conclusion does not state word for word counts as stated when a claim is left that could state it in
other words (whether it does, `leakage` and `target_match` ask); `carried` knows no such leniency, sees a
conclusion that states little of what is kept, and has no threshold by default: "the same dog on a beach"
leaves much behind. Source: claims as the unit of checking follow FActScore (Min et al., EMNLP 2023); the
rest is this project's.
"""

from __future__ import annotations

from annotate.checks.check import Check, Evidence, Findings
from annotate.checks.question import covers, edits_text
from annotate.checks.words import (
    FILLERS,
    NEGATIONS,
    denies,
    even,
    follows_as_string,
    is_absent,
    overridden,
    stated_before,
    stating,
    words,
)
from annotate.stages import Chain
from annotate.teacher.request import Ask
from schemas.answers import Edit


async def coherence(ask: Ask, evidence: Evidence) -> Findings:
    """`coherent`: least share of edits that pass a test; `carried`: how much of the conclusion is the caption
    with the edits made; `p_covers`. Raises whatever `ask` raises."""
    chain = evidence.chain
    p = await covers(
        ask,
        evidence.writer,
        evidence.reference,
        chain.caption,
        evidence.modification,
        edits_text(chain.reasoning.edits),
    )
    return {"coherent": coherent(chain), "carried": carried(chain), "p_covers": p}


def coherent(chain: Chain) -> float:
    """The least of six shares, each 1 when nothing contradicts; 0 when no edit passes a test."""
    edits, caption, conclusion = chain.reasoning.edits, chain.caption.claims, chain.conclusion.claims
    said = set(map(even, conclusion))
    aspects = [even(edit.aspect) for edit in edits]
    values = {even(edit.aspect): set[str]() for edit in edits}
    for edit in edits:
        values[even(edit.aspect)].add(even(edit.to))
    tests = (
        [is_absent(edit.from_) or stated_before(edit, caption) for edit in edits],
        _stated(chain),
        [not any(even(old) in said for old in overridden(edit, caption)) for edit in edits],
        [len(values[aspect]) == 1 or aspect == "other" for aspect in aspects],
        [even(edit.aspect) not in set(map(even, chain.reasoning.kept)) for edit in edits],
        [not any(denies(other, claim) for other in conclusion) for claim in conclusion],
    )
    return round(min(sum(test) / len(test) for test in tests), 6)


def carried(chain: Chain) -> float:
    """Jaccard share of what the conclusion says and what caption and edits make one expect, as strings."""
    edits, caption, conclusion = chain.reasoning.edits, chain.caption.claims, chain.conclusion.claims
    gone = {even(old) for edit in edits for old in overridden(edit, caption)}
    expected = {even(claim) for claim in caption} - gone
    new = {even(claim) for edit in edits for claim in stating(edit, caption, conclusion)}
    unstated = sum(not _has_new(edit, chain) for edit in edits)
    said = set(map(even, conclusion))
    shared = (expected & said) | (new & said)
    return round(len(shared) / (len(expected | said) + unstated), 6)


def _stated(chain: Chain) -> list[bool]:
    """For each edit whether the conclusion states it: as a string, or as many as there are claims left over
    that say something new (they may say it in other words)."""
    found = [_has_new(edit, chain) for edit in chain.reasoning.edits]
    spare = sum(_says_something_else(claim, chain) for claim in chain.conclusion.claims)
    for place, edit in enumerate(chain.reasoning.edits):
        if spare and not found[place] and not is_absent(edit.to):
            found[place], spare = True, spare - 1
    return found


def _says_something_else(claim: str, chain: Chain) -> bool:
    """Whether a claim is neither the caption's nor an edit's as a string, nor the beginning of one."""
    if follows_as_string(claim, chain) or even(claim) in map(even, chain.caption.claims):
        return False
    said = words(claim)
    for edit in chain.reasoning.edits:
        frame = frozenset[str]().union(*map(words, overridden(edit, chain.caption.claims)))
        if said <= words(edit.to) | words(edit.aspect) | frame | FILLERS:
            return False
    known = frozenset[str]().union(
        *map(words, chain.caption.claims),
        *(words(f"{edit.aspect} {edit.to}") for edit in chain.reasoning.edits),
    )
    last = even(claim).split()[-1]
    cut_in_a_word = last not in known and any(word.startswith(last) for word in known)
    return last not in FILLERS and not cut_in_a_word


def _has_new(edit: Edit, chain: Chain) -> bool:
    """Whether the conclusion states the edit's `to`; a removal is stated by not naming the thing, or by
    saying that it is not there."""
    caption, conclusion = chain.caption.claims, chain.conclusion.claims
    if not is_absent(edit.to):
        return bool(stating(edit, caption, conclusion))
    before = overridden(edit, caption)
    named = any(words(edit.aspect) <= words(claim) for claim in before)
    said = set(map(even, conclusion))
    return not any(even(claim) in said for claim in before) and not (
        named
        and any(words(edit.aspect) <= words(claim) and not words(claim) & NEGATIONS for claim in conclusion)
    )


COHERENCE = Check(name="coherence", columns=("coherent", "carried", "p_covers"), cost=2, run=coherence)
