"""Do caption, edits and conclusion fit together, and are the edits what the text asks for?

Detects, by strings: a conclusion that lacks an edit's `to` or still has the claim that the edit overrides,
one thing edited into two, an aspect that the caption names both kept and edited, a claim of the conclusion
that another denies ("belt", "without a belt"). An edit whose `from` the caption does not state in its words
("dog", "two dogs") counts when the reference shows it: one question. By one question in the writer's
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

from collections.abc import Collection

from annotate.checks.check import HOLDS, Check, Evidence, Findings, all_of
from annotate.checks.question import covers, edits_text, shows_edit
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
    unstated = tuple(dict.fromkeys(edit for edit in chain.reasoning.edits if not _from_caption(edit, chain)))
    questions = [
        covers(
            ask,
            evidence.writer,
            evidence.reference,
            chain.caption,
            evidence.modification,
            edits_text(chain.reasoning.edits),
        )
    ]
    questions += [shows_edit(ask, evidence.writer, evidence.reference, _undone(edit)) for edit in unstated]
    p, *shown = await all_of(questions)
    seen = {edit for edit, holds in zip(unstated, shown, strict=True) if holds >= HOLDS}
    return {"coherent": coherent(chain, seen), "carried": carried(chain), "p_covers": p}


def coherent(chain: Chain, seen: Collection[Edit] = ()) -> float:
    """The least of six shares, each 1 when nothing contradicts; 0 when no edit passes a test. `seen` are the
    edits whose `from` the reference shows although no claim of the caption has its words."""
    edits, caption, conclusion = chain.reasoning.edits, chain.caption.claims, chain.conclusion.claims
    said = set(map(even, conclusion))
    things = [(even(edit.aspect), even(edit.from_)) for edit in edits]
    values = {thing: set[str]() for thing in things}
    for thing, edit in zip(things, edits, strict=True):
        values[thing].add(even(edit.to))
    named = frozenset[str]().union(*map(words, caption))
    kept = {even(aspect) for aspect in chain.reasoning.kept if words(aspect) <= named}
    tests = (
        [_from_caption(edit, chain) or edit in seen for edit in edits],
        _stated(chain),
        [not any(even(old) in said for old in overridden(edit, caption)) for edit in edits],
        [len(values[thing]) == 1 or is_absent(edit.from_) for thing, edit in zip(things, edits, strict=True)],
        [even(edit.aspect) not in kept for edit in edits],
        [not any(denies(other, claim) for other in conclusion) for claim in conclusion],
    )
    return round(min(sum(test) / len(test) for test in tests), 6)


def _from_caption(edit: Edit, chain: Chain) -> bool:
    """Whether the caption states what was before, word for word, or nothing was."""
    return is_absent(edit.from_) or stated_before(edit, chain.caption.claims)


def _undone(edit: Edit) -> Edit:
    """The edit that leads back: what its question asks of a picture is the value before."""
    return Edit(aspect=edit.aspect, from_=edit.to, to=edit.from_)


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
