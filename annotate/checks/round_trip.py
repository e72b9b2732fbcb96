"""Does the conclusion's text find the target? An image-text encoder ranks it above reference and look-alikes.

Detects: conclusions that describe the reference rather than the target, or nothing in particular. Cannot
detect: fine attributes, which such encoders hardly see; good reasoning can be a weak query, so this is a soft
score without a default threshold. Null without an encoder (ENCODER_URL). Source: round-trip consistency for
generated data (Alberti et al., ACL 2019) with CLIP's scaled cosine (Radford et al., ICML 2021).
"""

from __future__ import annotations

import math

from annotate.checks.check import Check, Evidence, Findings, all_of
from annotate.encoder import encode_request, vector_of
from annotate.teacher.request import Ask
from annotate.teacher.retry import Unanswered

SCALE = 100.0
"""CLIP's logit scale at the end of its training."""


async def round_trip(ask: Ask, evidence: Evidence) -> Findings:
    """`round_trip`: softmax share of the target among target, reference and look-alikes, by scaled cosine.

    Raises `Unanswered("no_answer")` for a reply that is no vector, and whatever the encoder's `ask` raises.
    """
    embed = evidence.embed
    if embed is None:
        return {"round_trip": None}
    text = ", ".join(evidence.chain.conclusion.claims)
    pictures = (evidence.target, evidence.reference, *(picture for _, picture in evidence.lookalikes))
    pictures = tuple(dict.fromkeys(pictures))
    asked = [
        encode_request(evidence.encoder, evidence.writer, text, picture)
        for text, picture in ((text, None), *(("", picture) for picture in pictures))
    ]
    query, *images = map(vector_of, await all_of(map(embed, asked)))
    logits = [SCALE * _cosine(query, image) for image in images]
    highest = max(logits)
    shares = [math.exp(logit - highest) for logit in logits]
    return {"round_trip": round(shares[0] / sum(shares), 6)}


def _cosine(one: list[float], other: list[float]) -> float:
    if len(one) != len(other):
        raise Unanswered("no_answer", f"the encoder gave vectors of {len(one)} and {len(other)} numbers")
    lengths = math.hypot(*one), math.hypot(*other)
    if not all(map(math.isfinite, lengths)):
        raise Unanswered("no_answer", "the encoder gave a vector of infinite length")
    if not all(lengths):
        return 0.0
    # each divided first: the product of two large vectors would overflow to NaN
    return sum(a / lengths[0] * (b / lengths[1]) for a, b in zip(one, other, strict=True))


ROUND_TRIP = Check(name="round_trip", columns=("round_trip",), cost=0, run=round_trip)
