"""Walks the checks in order, stops where the verdict can't change any more, and counts what each one asks."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from annotate.checks import DEFAULT_CHECKS, Check, Evidence, Findings
from annotate.teacher.request import Ask, Reply, Request

Decided = Callable[[Mapping[str, float | None]], bool]
"""Whether these scores alone settle the verdict, whatever the checks still to come find."""


@dataclass(frozen=True, slots=True)
class Climbed:
    """What the checks found: scores, lists, and the names of the checks that were not asked."""

    scores: dict[str, float | None]
    details: dict[str, tuple[float, ...] | tuple[str, ...]]
    skipped: tuple[str, ...]


@dataclass(slots=True)
class Costs:
    """Different requests and seconds of waiting for their answers, by check, over all rows of a run.

    A question that several triplets share counts once for each check that asks it, so that counts do not
    depend on who asked first. Requests count whether the journal or the teacher answers them; seconds are
    those of this run. Eight bytes a question are kept: a run of 46,000 triplets asks half a million.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    _asked: dict[str, array[int]] = field(default_factory=dict)

    @property
    def requests(self) -> dict[str, int]:
        """Different requests of each check."""
        return {check: len(np.unique(np.array(keys))) for check, keys in self._asked.items()}

    def counted(self, ask: Ask, check: str) -> Ask:
        """`ask` with its requests booked to this check."""

        async def asking(request: Request) -> Reply:
            self._asked.setdefault(check, array("Q")).append(int(request.digest()[:15], 16))
            began = time.monotonic()
            try:
                return await ask(request)
            finally:
                self.seconds[check] = self.seconds.get(check, 0.0) + time.monotonic() - began

        return asking


def _never(scores: Mapping[str, float | None]) -> bool:
    return False


async def climb(
    ask: Ask,
    evidence: Evidence,
    checks: tuple[Check, ...] = DEFAULT_CHECKS,
    decided: Decided = _never,
    costs: Costs | None = None,
) -> Climbed:
    """Ask one check after the other, until the verdict is decided. Raises whatever `ask` raises."""
    costs = Costs() if costs is None else costs
    climbed = Climbed({}, {}, ())
    skipped = []
    for check in checks:
        if decided(climbed.scores) and not check.always(evidence):
            skipped.append(check.name)
            continue
        counted = costs.counted(ask, check.name)
        embed = costs.counted(evidence.embed, check.name) if evidence.embed is not None else None
        _file(climbed, check, await check.run(counted, replace(evidence, embed=embed)))
    return replace(climbed, skipped=tuple(skipped))


def requests_per_triplet(checks: tuple[Check, ...] = DEFAULT_CHECKS) -> int:
    """Requests that the checks usually ask about one triplet."""
    return sum(check.cost for check in checks)


def requests_per_reference(checks: tuple[Check, ...] = DEFAULT_CHECKS) -> int:
    """Requests that the checks usually ask once for all triplets of a reference."""
    return sum(check.cost_per_reference for check in checks)


def _file(climbed: Climbed, check: Check, findings: Findings) -> None:
    """A check fills its own columns, all of them: a silently absent score would be a silent acceptance."""
    if set(findings) != {*check.columns, *check.details}:
        raise RuntimeError(f"check {check.name} declares {check.columns} and filled {tuple(findings)}")
    for name, value in findings.items():
        if name in check.details and isinstance(value, tuple):
            climbed.details[name] = value
        elif name in check.columns and (value is None or isinstance(value, float | int)):
            climbed.scores[name] = value
        else:
            raise RuntimeError(f"check {check.name} filled {name} with {type(value).__name__}")
