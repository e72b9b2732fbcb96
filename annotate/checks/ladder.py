"""Walks the checks in order and collects their scores."""

from __future__ import annotations

from annotate.checks import CHECKS, Check, Evidence, Scores
from annotate.teacher.request import Ask


async def climb(ask: Ask, evidence: Evidence, checks: tuple[Check, ...] = CHECKS) -> dict[str, float]:
    """Scores of all checks for one triplet, one check after the other. Raises whatever `ask` raises."""
    scores: dict[str, float] = {}
    for check in checks:
        scores.update(_complete(check, await check.run(ask, evidence)))
    return scores


def requests_per_triplet(checks: tuple[Check, ...] = CHECKS) -> int:
    """Requests that the checks ask about one triplet."""
    return sum(check.cost for check in checks)


def _complete(check: Check, scores: Scores) -> Scores:
    """A check fills its own columns, all of them: a silently absent score would be a silent acceptance."""
    if set(scores) != set(check.columns):
        raise RuntimeError(f"check {check.name} declares {check.columns} and filled {tuple(scores)}")
    return scores
