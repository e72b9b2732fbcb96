"""One shard from triplets to rows. `annotate_triplet` is the whole path as a list of steps; read that first.

Every triplet leaves as exactly one row, accepted, rejected or quarantined. Only a `CirError` (the teacher
cannot be used, OUT cannot be written) ends a shard early; its answers so far are in the journal.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from annotate.checks import CHECKS, DEFAULT_CHECKS, Check, Evidence
from annotate.checks.ladder import Costs, climb
from annotate.datasets import join_captions
from annotate.errors import OutputError, RunIncomplete
from annotate.images import ImageProblem
from annotate.prompts import prompt_version
from annotate.selection import DEFAULT_THRESHOLDS, is_rejected, verdict
from annotate.shards.attempts import Judged, second_chances
from annotate.shards.plan import Plan, Shard
from annotate.stages import Chain, Unusable, Writer, write_chain
from annotate.tables import publishable_text, to_table, write_table
from annotate.teacher.request import Ask, Picture
from annotate.teacher.retry import Unanswered
from schemas.row import Row, Verdict
from schemas.triplet import CaptionMode, Triplet

_LOOKALIKE_CHECKS = ("hard_negatives", "round_trip")
ShardCounts = Mapping[Verdict, int]
ResultT = TypeVar("ResultT")


class Images(Protocol):
    """What a run needs of `annotate.images.ImageStore`."""

    def store(self, path: Path, /) -> Picture:
        """Decode, resize and encode once. Raises `ImageProblem`."""


AT_ONCE = 96
GONE_LEAST, GONE_SHARE = 20, 0.01
"""More images than both that were found and then cannot be read end a run."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Everything a shard is annotated with. `paths` are the found images by name; `rows` is the folder of row
    files.

    `embed` asks the image-text encoder called `encoder`; `neighbours` are the images that it finds nearest to
    a target, for triplets without a subset. With `early_stop` a row that its scores reject already is asked
    no further checks; `costs` counts what they ask.

    `ask` bounds the requests in flight (over all shards); `at_once` bounds the triplets of one shard in
    flight, so that rows are finished before many others are begun and the server's prefix cache holds. `gone`
    are images of `paths` that could not be read when their turn came; many of them end the run, unless
    `allow_missing`.
    """

    ask: Ask
    writer: Writer
    images: Images
    paths: Mapping[str, Path]
    rows: Path
    source: Literal["sample", "user"]
    caption_mode: CaptionMode = "and"
    checks: tuple[Check, ...] = DEFAULT_CHECKS
    thresholds: Mapping[str, float] = field(default_factory=lambda: DEFAULT_THRESHOLDS)
    early_stop: bool = True
    embed: Ask | None = None
    encoder: str = ""
    neighbours: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    chances: int = 0
    guided: bool = False
    costs: Costs = field(default_factory=Costs)
    at_once: int = AT_ONCE
    allow_missing: bool = False
    gone: set[str] = field(default_factory=set)
    progress: Callable[[Row], None] = lambda row: None


@dataclass(frozen=True, slots=True)
class ShardResult:
    """Counts of one shard by verdict, and the file of its rows."""

    name: str
    counts: ShardCounts
    path: Path


async def run_shard(plan: Plan, shard: Shard, tools: Tools) -> ShardResult:
    """Annotate a shard and write its rows, whole or not at all. Raises `CirError` when it cannot go on."""
    triplets = plan.of(shard)
    begun = asyncio.Semaphore(tools.at_once)
    rows = await together(_reported(triplet, tools, begun) for triplet in triplets)
    counts = _accounted(triplets, rows)
    path = tools.rows / f"{shard.name}.parquet"
    try:
        await asyncio.to_thread(lambda: write_table(to_table(rows), path))
    except OSError as error:
        why = error.strerror or error
        raise OutputError(f"{path}: cannot write rows ({why}); make room and run again") from error
    return ShardResult(shard.name, counts, path)


async def annotate_triplet(triplet: Triplet, tools: Tools) -> Row:
    """The path of one triplet: dirt, images, stages, checks, selection. What goes wrong becomes its row."""
    row = blank_row(triplet, tools)
    try:
        refuse_dirt(triplet)
        modification = row["modification"] = modification_of(triplet, tools.caption_mode)
        reference = await look(triplet.reference, "reference", tools)
        row["reference_digest"] = reference.source_digest
        target = await look(triplet.target, "target", tools)
        row["target_digest"] = target.source_digest
        chain = await write_chain(tools.ask, tools.writer, reference, modification, target)
        row.update(chain_columns(chain))
        evidence = Evidence(
            tools.writer,
            reference,
            target,
            modification,
            chain,
            await lookalikes(triplet, tools),
            tools.embed,
            tools.encoder,
        )
        first = await judge(evidence, tools)
        judged = await second_chances(
            tools.ask, first, lambda again: judge(again, tools), tools.chances, tools.guided
        )
        row.update(chain_columns(judged.evidence.chain) | judged_columns(judged))
    except (Dirty, ImageProblem, Unusable, Unanswered) as problem:
        row.update(verdict="quarantined", reasons=(problem.code,), detail=publishable_text(problem.detail))
    return Row.model_validate(row)


class Dirty(Exception):
    """The record cannot be annotated, as found while reading it (docs/dirt.md)."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


def refuse_dirt(triplet: Triplet) -> None:
    """Raises `Dirty` for a record with a problem: nothing is asked about it."""
    if triplet.problem is not None:
        raise Dirty(triplet.problem, f"found while reading record {triplet.native_id}")


def modification_of(triplet: Triplet, mode: CaptionMode) -> str:
    """The one text that the teacher is given: the record's captions joined, fit to be published."""
    return publishable_text(join_captions(triplet.modifications, mode))


async def look(name: str | None, role: str, tools: Tools) -> Picture:
    """The stored picture of an image by name, off the event loop.

    Raises `ImageProblem` (docs/reasons.md), and `RunIncomplete` when many images that were found at the start
    are gone: then it is ROOT that went away.
    """
    if name is None:
        raise ImageProblem("missing_image", f"the record names no {role} image")
    path = tools.paths.get(name)
    if path is None:
        raise ImageProblem("missing_image", f"{role} image {name} is not in the image folder")
    try:
        return await asyncio.to_thread(tools.images.store, path)
    except ImageProblem as problem:
        if problem.code == "missing_image" and not tools.allow_missing:
            tools.gone.add(name)
            if len(tools.gone) > max(GONE_LEAST, GONE_SHARE * len(tools.paths)):
                raise RunIncomplete(
                    f"{len(tools.gone)} images that were there when the run began cannot be read any more "
                    f"(last: {problem.detail}); mend ROOT and run the same command again, or set "
                    "ALLOW_MISSING=1 to quarantine their triplets"
                ) from problem
        raise


async def judge(evidence: Evidence, tools: Tools) -> Judged:
    """The scores of one chain, as far as they can change its verdict, and the verdict."""

    def decided(scores: Mapping[str, float | None]) -> bool:
        return tools.early_stop and is_rejected(scores, tools.thresholds)

    climbed = await climb(tools.ask, evidence, tools.checks, decided, tools.costs)
    return Judged(evidence, climbed, *verdict(climbed.scores, tools.thresholds))


def asks_lookalikes(checks: Iterable[Check]) -> bool:
    """Whether any of the checks looks at pictures that might be mistaken for the target."""
    return any(check.name in _LOOKALIKE_CHECKS for check in checks)


async def lookalikes(triplet: Triplet, tools: Tools) -> tuple[tuple[str, Picture], ...]:
    """The subset's other members (without a subset: the target's neighbours) with their pictures, where a
    check asks about them. Known right targets are none; those that are missing or broken are left out: no
    fault of this triplet."""
    if not asks_lookalikes(tools.checks):
        return ()
    found = []
    for name in triplet.subset or tools.neighbours.get(triplet.target or "", ()):
        if name not in (triplet.reference, triplet.target, *triplet.positives) and name in tools.paths:
            with suppress(ImageProblem):
                found.append((name, await look(name, "look-alike", tools)))
    return tuple(found)


def blank_row(triplet: Triplet, tools: Tools) -> dict[str, Any]:
    """The columns known before anything is looked at or asked; the others are empty."""
    return {
        "triplet_id": triplet.triplet_id,
        "dataset": triplet.dataset,
        "split": triplet.split,
        "category": triplet.category,
        "reference": triplet.reference,
        "reference_digest": None,
        "target": triplet.target,
        "target_digest": None,
        "modification": "",
        "modifications": triplet.modifications,
        "subset": triplet.subset,
        "positives": triplet.positives,
        "native_id": triplet.native_id,
        "notes": triplet.notes,
        "caption": None,
        "caption_claims": (),
        "rationale": None,
        "edits": (),
        "kept": (),
        "conclusion": None,
        "conclusion_claims": (),
        **{column: None for check in CHECKS for column in check.columns},
        **{column: () for check in CHECKS for column in check.details},
        "skipped_checks": (),
        "attempt": 0,
        "detail": None,
        "teacher": tools.writer.model,
        "teacher_sees_target": tools.writer.sees_target,
        "prompt_version": prompt_version(dict(tools.writer.prompts)),
        "source": tools.source,
    }


def chain_columns(chain: Chain) -> dict[str, Any]:
    """The published columns of a chain; texts are the claims joined with commas."""
    return {
        "caption": ", ".join(chain.caption.claims),
        "caption_claims": chain.caption.claims,
        "rationale": chain.reasoning.rationale,
        "edits": chain.reasoning.edits,
        "kept": chain.reasoning.kept,
        "conclusion": ", ".join(chain.conclusion.claims),
        "conclusion_claims": chain.conclusion.claims,
    }


def judged_columns(judged: Judged) -> dict[str, Any]:
    """What the checks found, the verdict, and which attempt it is about."""
    return {
        **judged.climbed.scores,
        **judged.climbed.details,
        "skipped_checks": judged.climbed.skipped,
        "attempt": judged.attempt,
        "verdict": judged.verdict,
        "reasons": judged.reasons,
        "teacher_sees_target": judged.evidence.writer.sees_target,
    }


async def together(work: Iterable[Awaitable[ResultT]]) -> list[ResultT]:
    """Results of all; the first error cancels the others, waits for their end, and is raised as it is."""
    tasks = [asyncio.ensure_future(item) for item in work]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def _reported(triplet: Triplet, tools: Tools, begun: asyncio.Semaphore) -> Row:
    async with begun:
        row = await annotate_triplet(triplet, tools)
    tools.progress(row)
    return row


def _accounted(triplets: Sequence[Triplet], rows: Sequence[Row]) -> ShardCounts:
    """Counts by verdict. A triplet without its row, or with two, is a bug of ours and ends the run loudly."""
    if [row.triplet_id for row in rows] != [triplet.triplet_id for triplet in triplets]:
        raise RuntimeError(f"{len(triplets)} triplets went in and other rows came out")
    counts = Counter(row.verdict for row in rows)
    verdicts: tuple[Verdict, ...] = ("accepted", "rejected", "quarantined")
    if sum(counts[name] for name in verdicts) != len(triplets):
        raise RuntimeError(f"{len(triplets)} triplets went in, verdicts are {dict(counts)}")
    return {name: counts[name] for name in verdicts}
