"""Second chances: a rejected row is written again, with the failed checks named, or guided by the target.

The first attempt that is accepted stands; where none is, the first writing stays with its scores, so that
CHANCES changes no rejected row. Every attempt is judged by the same checks and thresholds; since a row that
is tried often enough passes some day by luck, calibrate on rows that had the same chances.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from annotate.checks import Evidence
from annotate.checks.form import claim_findings
from annotate.checks.ladder import Climbed
from annotate.selection import NOT_MEASURED, REJECTIONS
from annotate.stages import Unusable, Writer, write_again, write_chain
from annotate.teacher.request import Ask
from annotate.teacher.retry import Unanswered
from schemas.answers import ConclusionAnswer
from schemas.row import Verdict

AGAIN_TEMPERATURE = 0.7
"""Least temperature of a second chance: the greedy answer has been heard."""

_ROLES = re.compile(r"\b(?:the )?(target|reference)(?: image)?\b", re.IGNORECASE)
_CALLED = {"target": "what is looked for", "reference": "this picture"}


@dataclass(frozen=True, slots=True)
class Judged:
    """One writing of a chain with what the checks found and the verdict."""

    evidence: Evidence
    climbed: Climbed
    verdict: Verdict
    reasons: tuple[str, ...]
    attempt: int = 0


Judge = Callable[[Evidence], Awaitable[Judged]]


async def second_chances(ask: Ask, first: Judged, judge: Judge, chances: int, guided: bool) -> Judged:
    """The first accepted writing, `first` where there is none. Where a score is just missing, writing anew
    brings none: no attempt. An attempt without a usable answer is a failed one. Raises what else `ask`
    raises."""
    latest = first
    for attempt in range(1, chances + 1):
        if latest.verdict == "accepted" or latest.reasons == (NOT_MEASURED,):
            break
        try:
            written = await (_guided if guided else _again)(ask, latest, attempt, judge)
        except (Unusable, Unanswered):
            continue
        latest = replace(written, attempt=attempt)
    return latest if latest.verdict == "accepted" else first


def complaint(reasons: tuple[str, ...]) -> str:
    """What failed, in the words of the reason codes, without our scores' names and without words for the two
    pictures that the writer is not to use."""
    told = (REJECTIONS[code].split(" (")[0].rstrip(".") + "." for code in reasons)
    blind = (_ROLES.sub(lambda found: _CALLED[found[1]], text) for text in told)
    return " ".join(text[0].upper() + text[1:] for text in blind)


def _of_caption(judged: Judged) -> bool:
    """Whether the caption itself is at fault, so that other edits of it would not mend the row."""
    malformed = "malformed_text" in judged.reasons and bool(
        claim_findings(judged.evidence.chain.caption.claims)
    )
    return malformed or "caption_ungrounded" in judged.reasons


async def _again(ask: Ask, latest: Judged, attempt: int, judge: Judge) -> Judged:
    evidence = latest.evidence
    chain = await write_again(
        ask,
        _hotter(evidence.writer, attempt),
        evidence.reference,
        evidence.modification,
        evidence.chain,
        complaint(latest.reasons),
        caption_too=_of_caption(latest),
        target=evidence.target,
    )
    return await judge(replace(evidence, chain=chain))


async def _guided(ask: Ask, latest: Judged, attempt: int, judge: Judge) -> Judged:
    """Written with the target shown; the claims that leak are then removed, and the rest is judged again."""
    evidence = latest.evidence
    writer = replace(_hotter(evidence.writer, attempt), sees_target=True)
    chain = await write_chain(ask, writer, evidence.reference, evidence.modification, evidence.target)
    judged = await judge(replace(evidence, writer=replace(evidence.writer, sees_target=True), chain=chain))
    leaks = set(judged.climbed.details.get("leak_claims", ()))
    claims = tuple(claim for claim in chain.conclusion.claims if claim not in leaks)
    if not claims or len(claims) == len(chain.conclusion.claims):
        return judged
    cleaned = replace(chain, conclusion=ConclusionAnswer(claims=claims))
    return await judge(replace(judged.evidence, chain=cleaned))


def _hotter(writer: Writer, attempt: int) -> Writer:
    """The writer with another seed, and a temperature at which seeds matter."""
    sampling = writer.sampling
    hot = max(sampling.temperature, AGAIN_TEMPERATURE)
    return replace(writer, sampling=replace(sampling, temperature=hot, seed=sampling.seed + attempt))
