"""What a check is: a name, a cost, the columns it fills, and a question about one annotated triplet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from annotate.stages import Chain, Writer
from annotate.teacher.request import Ask, Picture

Finding = float | None | tuple[float, ...] | tuple[str, ...]
Findings = Mapping[str, Finding]
"""Column -> what a check found. Scores are facts and are stored; `annotate.selection` derives verdicts."""

T = TypeVar("T")

SURE = 0.95
"""A statement as a whole that is this probable needs no questions about its parts."""
HOLDS = 0.5
"""Least probability of a claim that counts as holding. Both are part of the checks; thresholds are not."""


async def all_of(questions: Iterable[Awaitable[T]]) -> list[T]:
    """The answers in the order given. Raises the first error in that order, and only when all have ended:
    none goes on as an orphan, and what a run has asked does not hang on which answer came first."""
    ended = await asyncio.gather(*questions, return_exceptions=True)
    answers = []
    for each in ended:
        if isinstance(each, BaseException):
            raise each
        answers.append(each)
    return answers


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a check may look at: the triplet's pictures and text, its chain, and how the teacher is asked.

    `lookalikes` are other pictures of the gallery that might be mistaken for the target, by name; `embed`
    asks the image-text encoder of the name `encoder`, where there is one.
    """

    writer: Writer
    reference: Picture
    target: Picture
    modification: str
    chain: Chain
    lookalikes: tuple[tuple[str, Picture], ...] = ()
    embed: Ask | None = None
    encoder: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `run` fills exactly `columns` (scores in [0, 1], better is higher, None where it has no
    meaning) and `details` (lists).

    `cost` is its usual number of requests a triplet, `cost_per_reference` those that triplets of one
    reference share. `always` names the rows that it is asked of even after their verdict is decided.
    """

    name: str
    columns: tuple[str, ...]
    cost: int
    run: Callable[[Ask, Evidence], Awaitable[Findings]]
    details: tuple[str, ...] = ()
    cost_per_reference: int = 0
    always: Callable[[Evidence], bool] = lambda evidence: False
