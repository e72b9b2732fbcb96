"""Do the caption's claims hold on the reference? One question about all of them, then one a claim.

Detects: captions that state what the picture does not show. Cannot detect: what the caption leaves out, and
errors that the verifier shares with the writer (it is the same model). Triplets of one reference share the
answers. Source: per-claim verification as in FActScore (Min et al., EMNLP 2023), on pictures as in FaithScore
(Jing et al., 2023).
"""

from __future__ import annotations

import asyncio

from annotate.checks.check import Check, Evidence, Findings
from annotate.checks.question import shows
from annotate.teacher.request import Ask

NO_DOUBT = 0.998
"""A caption as a whole that is this probable needs no questions about its claims. Much more than `SURE`: of
pictures unlike any the teacher knows, captions with one false claim get .99 and more as a whole, and then
often less than .95 for the claim alone (docs/trust.md)."""


async def grounded_caption(ask: Ask, evidence: Evidence) -> Findings:
    """`p_grounded`: p of the whole caption where that is sure, else the least of its claims (`claim_grounded`
    lists them). Raises whatever `ask` raises."""
    claims = evidence.chain.caption.claims
    whole = await shows(ask, evidence.writer, evidence.reference, ", ".join(claims))
    if whole >= NO_DOUBT or len(claims) == 1:
        return {"p_grounded": whole, "claim_grounded": ()}
    parts = await asyncio.gather(
        *(shows(ask, evidence.writer, evidence.reference, claim) for claim in claims)
    )
    return {"p_grounded": min(parts), "claim_grounded": tuple(parts)}


GROUNDED_CAPTION = Check(
    name="grounded_caption",
    columns=("p_grounded",),
    details=("claim_grounded",),
    cost=0,
    cost_per_reference=4,
    run=grounded_caption,
)
