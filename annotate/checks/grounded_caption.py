"""Do the caption's claims hold on the reference? One question about all of them, then one a claim.

The picture is shown a little moved instead of as the writer saw it: what a model sees still holds there, what
it only took the picture for often does not (docs/trust.md has what this finds and what it costs).

Detects: captions that state what the picture does not show. Cannot detect: what the caption leaves out, and
errors that the verifier shares with the writer (it is the same model). What touches the right or bottom edge
may be out of its sight. Triplets of one reference share the answers. Sources: claim by claim as in FActScore
(Min et al., EMNLP 2023), on pictures as in FaithScore (Jing et al., 2023); confidence from invariance to
image transformations (Bahat and Shakhnarovich, 2018).
"""

from __future__ import annotations

from annotate.checks.check import Check, Evidence, Findings, all_of
from annotate.checks.question import shows
from annotate.images import moved
from annotate.teacher.request import Ask

NO_DOUBT = 0.99
"""A caption as a whole that is this probable needs no questions about its claims. More than `SURE`: of
pictures unlike any the teacher knows, captions with one false claim get much as a whole, and then often less
for the claim alone (docs/trust.md)."""


async def grounded_caption(ask: Ask, evidence: Evidence) -> Findings:
    """`p_grounded`: p of the whole caption where that is sure, else the least of its claims (`claim_grounded`
    lists them). Raises whatever `ask` raises."""
    claims = evidence.chain.caption.claims
    picture = moved(evidence.reference)
    whole = await shows(ask, evidence.writer, picture, ", ".join(claims))
    if whole >= NO_DOUBT or len(claims) == 1:
        return {"p_grounded": whole, "claim_grounded": ()}
    parts = await all_of(shows(ask, evidence.writer, picture, claim) for claim in claims)
    return {"p_grounded": min(parts), "claim_grounded": tuple(parts)}


GROUNDED_CAPTION = Check(
    name="grounded_caption",
    columns=("p_grounded",),
    details=("claim_grounded",),
    cost=0,
    cost_per_reference=4,
    run=grounded_caption,
)
