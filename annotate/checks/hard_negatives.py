"""Does the conclusion fit the target better than the look-alikes? The verifier's question about each of them.

Detects: conclusions so vague that they are true of other pictures too, targets that are another member of the
subset. Look-alikes are CIRR's subsets; elsewhere the five images of the run that the encoder (ENCODER_URL)
finds nearest to the target. Cannot detect: anything where there is neither (`margin` is null then); a target
that differs in something unmentioned has a low margin though nothing is wrong with the row. Look-alikes that
fit as well are kept in `also_matches`, so that a trainer can mask them as negatives. Source: CIRR's subsets
(Liu et al., ICCV 2021); false negatives of CIR benchmarks are counted in CIRCO (Baldrati et al., ICCV 2023).
"""

from __future__ import annotations

from annotate.checks.check import SURE, Check, Evidence, Findings, all_of
from annotate.checks.question import shows
from annotate.teacher.request import Ask


async def hard_negatives(ask: Ask, evidence: Evidence) -> Findings:
    """`margin`: (1 + p of the target - p of the best look-alike) / 2, null without look-alikes;
    `also_matches`: names of those that surely fit. Raises whatever `ask` raises."""
    if not evidence.lookalikes:
        return {"margin": None, "also_matches": ()}
    statement = ", ".join(evidence.chain.conclusion.claims)
    pictures = (evidence.target, *(picture for _, picture in evidence.lookalikes))
    target, *others = await all_of(shows(ask, evidence.writer, picture, statement) for picture in pictures)
    fitting = zip(evidence.lookalikes, others, strict=True)
    return {
        "margin": round((1 + target - max(others)) / 2, 6),
        "also_matches": tuple(name for (name, _), p in fitting if p >= SURE),
    }


HARD_NEGATIVES = Check(
    name="hard_negatives", columns=("margin",), details=("also_matches",), cost=8, run=hard_negatives
)
