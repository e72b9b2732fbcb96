"""What a check is: a name, a cost, the score columns it fills, and a question about one annotated triplet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from annotate.stages import Chain, Writer
from annotate.teacher.request import Ask, Picture

Scores = Mapping[str, float]
"""Score column -> value. Scores are facts and are stored; `annotate.selection` derives verdicts from them."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a check may look at: the triplet's pictures and text, its chain, and how the teacher is asked."""

    writer: Writer
    reference: Picture
    target: Picture
    modification: str
    chain: Chain


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `cost` is its number of requests a triplet; `run` fills exactly `columns`."""

    name: str
    columns: tuple[str, ...]
    cost: int
    run: Callable[[Ask, Evidence], Awaitable[Scores]]
