"""Does the target show what was asked for? The whole conclusion, then each edit, then the kept claims.

Detects: targets that fail an edit (`p_edits`; a comparative is asked of both pictures), targets that are
another thing altogether (`kept_share`). `p_match` alone cannot tell a wrong target from one that differs in
something the text does not mention, which is no error of the row. Cannot detect: a conclusion so vague that
it is true of any picture (see `hard_negatives`), and details leaked from the target when the writer has
seen it (see `leakage`). A verifier that is the same model as the writer shares its blind spots. Source:
p(yes) as a filter as in ReCALL; per-claim questions as in FActScore (Min et al., EMNLP 2023).
"""

from __future__ import annotations

from annotate.checks.check import HOLDS, SURE, Check, Evidence, Findings, all_of
from annotate.checks.question import shows, shows_change
from annotate.checks.words import kept_claims
from annotate.teacher.request import Ask


async def target_match(ask: Ask, evidence: Evidence) -> Findings:
    """`p_match` of the whole conclusion, `p_edits` the least over the edits, `kept_share` of the kept claims,
    if there are two or more.

    `claim_match` is parallel to the conclusion's claims: of the narrowest question that held the claim, an
    edit's claim that of the whole. Raises whatever `ask` raises.
    """
    claims = evidence.chain.conclusion.claims
    writer, target = evidence.writer, evidence.target
    asked = [shows(ask, writer, target, ", ".join(claims))]
    reference = evidence.reference
    asked += [shows_change(ask, writer, reference, target, edit) for edit in evidence.chain.reasoning.edits]
    whole, *edits = await all_of(asked)
    match = [whole] * len(claims)
    kept = kept_claims(evidence.chain)
    share = 1.0  # one claim alone may be what changed unmentioned: it proves nothing
    if whole < SURE and len(kept) > 1:
        share, found = await _share(ask, evidence, kept)
        for place, p in zip(kept, found, strict=True):
            match[place] = p
    return {
        "p_match": whole,
        "p_edits": min(edits),
        "kept_share": share,
        "claim_match": tuple(match),
    }


async def _share(ask: Ask, evidence: Evidence, kept: tuple[int, ...]) -> tuple[float, list[float]]:
    """Share of the kept claims not found false, and p of each. Two questions about half of them each; where
    one half holds, the other has at least one false claim and counts one; where neither does, one a claim.

    Half of a conclusion that holds is proof enough that the pictures are about the same thing: asking about
    single claims there would double the questions of every row with one unmentioned change.
    """
    claims = evidence.chain.conclusion.claims

    async def p(places: tuple[int, ...]) -> float:
        statement = ", ".join(claims[place] for place in places)
        return await shows(ask, evidence.writer, evidence.target, statement)

    middle = (len(kept) + 1) // 2
    halves = [half for half in (kept[:middle], kept[middle:]) if half]
    told = await all_of(map(p, halves))
    if len(kept) > 2 and all(each < HOLDS for each in told):
        singles = await all_of(p((place,)) for place in kept)
        return round(sum(each >= HOLDS for each in singles) / len(kept), 6), singles
    false = sum(each < HOLDS for each in told)
    spread = [each for half, each in zip(halves, told, strict=True) for _ in half]
    return round(1 - false / len(kept), 6), spread


TARGET_MATCH = Check(
    name="target_match",
    columns=("p_match", "p_edits", "kept_share"),
    details=("claim_match",),
    cost=9,
    run=target_match,
)
