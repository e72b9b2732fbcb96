"""Asks every check about clean and spoilt rows, and counts what each score catches at its threshold."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PIL import Image

from annotate.checks import Check, Evidence
from annotate.checks.ladder import Costs, climb
from annotate.files import atomic_path
from annotate.images import ImageStore
from annotate.selection import verdict
from annotate.stages import Writer
from annotate.teacher.request import Ask, Picture
from sample import paint, world
from sample.prove.cases import Case, draw_case
from sample.prove.corruptions import CONTROLS, CORRUPTIONS
from sample.writers.whole import WORLD

AT_ONCE = 48
DOMAINS: tuple[world.Domain, ...] = ("garments", "scenes")


@dataclass(frozen=True, slots=True)
class Leaks:
    """Claims of conclusions: how many were leaked, how many of those were found; how many were not, and how
    many of those were taken for leaks."""

    leaked: int = 0
    found: int = 0
    blind: int = 0
    alarms: int = 0

    def __add__(self, other: Leaks) -> Leaks:
        return Leaks(
            self.leaked + other.leaked,
            self.found + other.found,
            self.blind + other.blind,
            self.alarms + other.alarms,
        )


@dataclass(frozen=True, slots=True)
class Judged:
    """One row: the scores below their thresholds, whether it was rejected, its claims by leakage."""

    below: frozenset[str]
    rejected: bool
    leaks: Leaks


@dataclass(frozen=True, slots=True)
class Caught:
    """Of the rows spoilt in one way: how many each score rejects, and how many are rejected at all. Of clean
    rows these are false alarms."""

    kind: str
    rows: int
    caught: Mapping[str, int]
    rejected: int
    leaks: Leaks = Leaks()

    def share(self, score: str) -> float:
        """Share of the rows that this score rejects."""
        return self.caught.get(score, 0) / self.rows

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


async def prove(
    ask: Ask,
    writer: Callable[[world.Domain], Writer],
    folder: Path,
    checks: tuple[Check, ...],
    thresholds: Mapping[str, float],
    *,
    watched: Mapping[str, float] = MappingProxyType({}),
    rows: int,
    seed: int,
    full: bool,
) -> tuple[list[Caught], Costs]:
    """Controls of `rows` good rows, half of each domain; `rows` spoilt ones in all, or of each kind if
    `full`. Scores below `watched` are counted and reject nothing. Pictures are written below `folder`. Raises
    whatever `ask` raises."""
    images = ImageStore(folder / "images", writer("garments").recipe)
    counted = {**thresholds, **watched}
    costs, room = Costs(), asyncio.Semaphore(AT_ONCE)
    found: dict[str, list[Judged]] = defaultdict(list)

    async def one(kind: str, case: Case, shown: Sequence[Picture]) -> None:
        async with room:
            reference, target, *others = shown
            evidence = Evidence(
                writer(case.reference.domain),
                reference,
                target,
                case.modification,
                case.chain,
                tuple((f"look-alike {number}", picture) for number, picture in enumerate(others)),
            )
            booked = costs if kind == "clean" else Costs()
            climbed = await climb(ask, evidence, checks, costs=booked)
            below = frozenset(
                name
                for name, least in counted.items()
                if (value := climbed.scores.get(name)) is not None and value < least
            )
            judged, _ = verdict(climbed.scores, thresholds)
            told = leaks(case, climbed.details.get("leak_claims", ()))
            found[kind].append(Judged(below, judged == "rejected", told))

    chosen = list(spoilt_rows(rows, seed, full))
    shown = await asyncio.to_thread(
        lambda: [pictures(case, folder / "rendered", images) for _, case in chosen]
    )
    await asyncio.gather(*(one(*row, seen) for row, seen in zip(chosen, shown, strict=True)))
    return [
        Caught(
            kind,
            len(told),
            {name: sum(name in one.below for one in told) for name in counted},
            sum(one.rejected for one in told),
            sum((one.leaks for one in told), Leaks()),
        )
        for kind in (*CONTROLS, *CORRUPTIONS)
        if (told := found[kind])
    ], costs


def leaks(case: Case, told: Collection[float | str]) -> Leaks:
    """A row's claims, leaked ones and others, against those that the check named."""
    claims = case.chain.conclusion.claims
    leaked = [claim for claim in claims if claim in case.leaked]
    blind = [claim for claim in claims if claim not in case.leaked]
    return Leaks(
        len(leaked), sum(claim in told for claim in leaked), len(blind), sum(claim in told for claim in blind)
    )


def spoilt_rows(rows: int, seed: int, full: bool) -> Iterator[tuple[str, Case]]:
    """Kind and row: every row clean, half of them reworded too (many questions), and every corruption of
    every row or one a row in turn."""
    kinds = tuple(CORRUPTIONS)
    for number in range(rows):
        case = draw_case(DOMAINS[number % 2], seed, number // 2)
        chosen = kinds if full else (kinds[(number // 2) % len(kinds)],)
        controls = tuple(CONTROLS) if full or number // 2 % 2 == 0 else ("clean",)
        for kind in (*controls, *chosen):
            change = CONTROLS.get(kind) or CORRUPTIONS[kind]
            made = change(case, random.Random(f"{case.name}-{kind}"))
            if made is not None:
                yield kind, made


def pictures(case: Case, folder: Path, images: ImageStore) -> list[Picture]:
    """Reference, target and look-alikes as stored pictures; the same look of the same row is the same one."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = []
    shown = (case.reference, case.target, *case.lookalikes)
    for role, look in zip(("reference", *("target",) * (len(shown) - 1)), shown, strict=True):
        key = f"{WORLD}-{case.name}-{role}-{case.treatment}-{look.attributes}"
        rng = random.Random(key)
        path = folder / f"{rng.getrandbits(96):024x}.png"
        if not path.exists():
            with atomic_path(path) as temporary:
                _treated(world.render(look, rng), case.treatment, rng).save(temporary, "PNG")
        stored.append(images.store(path))
    return stored


def _treated(picture: Image.Image, treatment: str, rng: random.Random) -> Image.Image:
    """The picture in inverted colours, noise of its size, or as it is."""
    treat = {"inverted": paint.inverted, "noise": paint.noise}.get(treatment)
    return picture if treat is None else treat(picture, rng)
