"""Does the conclusion describe the target? One-token question to a verifier that sees the target, letters
swapped.

Detects: wrong targets, conclusions that contradict the target, edits carried out wrongly. Cannot detect: a
conclusion so vague that it is true of any picture, and details leaked from the target when the writer has
seen it. A verifier that is the same model as the writer shares its blind spots. Source: probability of the
yes-token as a filter as in ReCALL (p(yes) >= .95); asking twice with the options swapped and averaging
removes the position bias of one-letter answers (Zheng et al., "Large Language Models Are Not Robust Multiple
Choice Selectors", ICLR 2024).
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

from annotate.checks.check import Check, Evidence, Scores
from annotate.stages import Writer, prompt_digest
from annotate.teacher.request import Ask, Picture, Reply, Request, Turn
from annotate.teacher.retry import Unanswered

LETTERS = ("A", "B")
MEANINGS = ("match", "mismatch")
FLOOR = 1e-6
"""Probability of a letter that is not among the reported top log-probabilities."""


async def target_match(ask: Ask, evidence: Evidence) -> Scores:
    """`p_match` in [0, 1]: mean over both letter orders of p(letter for match) / (p(A) + p(B)), to six
    decimals.

    Raises `Unanswered("no_answer")` when a reply reports neither letter, and whatever `ask` raises.
    """
    statement = ", ".join(evidence.chain.conclusion.claims)
    requests = verify_requests(evidence.writer, evidence.target, statement)
    replies = await asyncio.gather(*map(ask, requests), return_exceptions=True)
    probabilities = []
    for reply, match_letter in zip(replies, LETTERS, strict=True):
        if isinstance(reply, BaseException):
            raise reply
        probabilities.append(letter_probability(reply, match_letter))
    return {"p_match": round(sum(probabilities) / len(probabilities), 6)}


def verify_requests(writer: Writer, picture: Picture, statement: str) -> tuple[Request, Request]:
    """The same question twice: letter A means "match" in the first, "mismatch" in the second."""

    def request(first_meaning: str, second_meaning: str) -> Request:
        text = writer.prompts["verify"].render(
            statement=statement,
            first=LETTERS[0],
            first_meaning=first_meaning,
            second=LETTERS[1],
            second_meaning=second_meaning,
        )
        return Request(
            stage="verify",
            model=writer.model,
            turns=(Turn("system", writer.prompts["system"].render()), Turn("user", text, (picture,))),
            prompt_digest=prompt_digest(writer, "system", "verify"),
            choices=LETTERS,
            sampling=replace(writer.sampling, temperature=0.0, top_p=1.0, max_tokens=1),
        )

    return request(*MEANINGS), request(*reversed(MEANINGS))


def letter_probability(reply: Reply, letter: str) -> float:
    """p(letter) given that the answer is A or B; a letter that was not reported has probability `FLOOR`."""
    reported = {name: math.exp(min(value, 0.0)) for name, value in reply.logprobs if not math.isnan(value)}
    if not any(reported.get(name, 0.0) > 0.0 for name in LETTERS):
        raise Unanswered(
            "no_answer", f"neither A nor B among the likely answers; it said {reply.text[:200]!r}"
        )
    probabilities = {name: max(reported.get(name, 0.0), FLOOR) for name in LETTERS}
    return probabilities[letter] / sum(probabilities.values())


TARGET_MATCH = Check(name="target_match", columns=("p_match",), cost=2, run=target_match)
