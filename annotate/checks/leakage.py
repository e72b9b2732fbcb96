"""Which claims are known from the target only? A question that sees reference and text, against one that sees
the target.

Detects: claims of the conclusion, and phrases of the rationale, that neither reference nor request settles
(`p_settled`), and of those the ones that the target bears out (`leak_claims`, `no_leak`): these a student
can only learn to guess. Claims that follow as strings from caption and edits are not asked about; where the
writer saw the target its edits may be from there, so only those in the request's own words are not, and what
the others lead to is asked about as well.
Cannot detect: a leak in a claim that happens to be the caption's own, and one that the teacher wrongly
believes settled. Source: this project's; leakage by a teacher that sees the target is reported for CIR
annotations, and no published pipeline checks it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from annotate.checks.check import HOLDS, Check, Evidence, Findings, all_of
from annotate.checks.question import follows, shows
from annotate.checks.words import FILLERS, follows_as_string, is_absent, words
from annotate.teacher.request import Ask

INSTRUCTIONS = words(
    "change changes changed make makes keep keeps kept add adds remove removes replace replaces rest same "
    "to from only else everything all other stay stays request asks asked wants want so now should be this "
    "that nothing more less but instead into by for as"
)
"""Words with which a rationale talks about edits; they state nothing that could be seen."""

_PHRASE = re.compile(r"[,.;:]| and ")


async def leakage(ask: Ask, evidence: Evidence) -> Findings:
    """`p_settled`: least over the conclusion's asked claims; `no_leak`: 1 - max p(unsettled) p(holds on the
    target) over those that are not settled, over the rationale's phrases as well, and over the edits' values
    where the writer saw the target.

    `claim_leak` is parallel to the conclusion's claims (0 where nothing was asked); `leak_claims` are the
    claims and phrases that leak. Raises whatever `ask` raises.
    """
    claims = evidence.chain.conclusion.claims
    request = evidence.modification if evidence.writer.sees_target else None
    asked = [claim for claim in claims if not follows_as_string(claim, evidence.chain, request)]
    phrases = [phrase for phrase in rationale_phrases(evidence) if phrase not in asked]
    phrases += _values(evidence, asked)
    told = await all_of(_leak(ask, evidence, claim) for claim in (*asked, *phrases))
    found = dict(zip((*asked, *phrases), told, strict=True))
    return {
        "p_settled": min((settled for settled, _ in told[: len(asked)]), default=1.0),
        "no_leak": round(1 - max((leak for _, leak in told), default=0.0), 6),
        "claim_leak": tuple(found[claim][1] if claim in found else 0.0 for claim in claims),
        "leak_claims": tuple(claim for claim, (_, leak) in found.items() if leak >= HOLDS),
    }


def rationale_phrases(evidence: Evidence) -> tuple[str, ...]:
    """Phrases of the rationale with a word that neither caption, request, edits nor kept aspects have."""
    chain = evidence.chain
    known = words(evidence.modification) | FILLERS | INSTRUCTIONS
    for text in (*chain.caption.claims, *chain.reasoning.kept, *_edit_words(evidence)):
        known |= words(text)
    phrases = (phrase.strip() for phrase in _PHRASE.split(chain.reasoning.rationale))
    return tuple(dict.fromkeys(phrase for phrase in phrases if words(phrase) - known))


def _values(evidence: Evidence, asked: Sequence[str]) -> list[str]:
    """Of a writer that saw the target: what its edits lead to in words that the request has not, where no
    claim that is asked about says it."""
    if not evidence.writer.sees_target:
        return []
    return [
        f"{edit.aspect}: {edit.to}"
        for edit in evidence.chain.reasoning.edits
        if not is_absent(edit.to)
        and words(edit.to) - FILLERS - words(f"{evidence.modification} {edit.aspect} {edit.from_}")
        and not any(words(edit.to) <= words(claim) for claim in asked)
    ]


def _edit_words(evidence: Evidence) -> list[str]:
    """What the edits say and no target can have told."""
    edits = evidence.chain.reasoning.edits
    told = [text for edit in edits for text in (edit.aspect, edit.from_)]
    return told if evidence.writer.sees_target else [*told, *(edit.to for edit in edits)]


async def _leak(ask: Ask, evidence: Evidence, claim: str) -> tuple[float, float]:
    """p(settled) and p(unsettled) p(holds on the target); the target is asked only about unsettled claims."""
    settled = await follows(
        ask,
        evidence.writer,
        evidence.reference,
        evidence.chain.caption,
        evidence.modification,
        claim,
    )
    if settled >= HOLDS:
        return settled, 0.0
    holds = await shows(ask, evidence.writer, evidence.target, claim)
    return settled, round((1 - settled) * holds, 6)


LEAKAGE = Check(
    name="leakage",
    columns=("p_settled", "no_leak"),
    details=("claim_leak", "leak_claims"),
    cost=1,
    run=leakage,
    always=lambda evidence: evidence.writer.sees_target,
)
