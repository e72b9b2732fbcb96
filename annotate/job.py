"""A whole run, from settings to a published OUT, read top to bottom. The shells pass how shards are run.

settings -> triplets, images, plan -> what is still to be asked -> teacher, canary -> shards -> files, report
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from annotate.checks import Check, choose, measured
from annotate.checks.duplicates import with_notes
from annotate.datasets import (
    annotation_digest,
    check_missing,
    find_images,
    load_aspects,
    load_triplets,
    other_splits,
)
from annotate.datasets.layouts import FoundImages
from annotate.errors import OutputError, RunIncomplete
from annotate.files import remove_leftovers
from annotate.images import ImageStore
from annotate.journal import Journal, answered_ask
from annotate.locks import hold_lock
from annotate.prompts import load_prompts
from annotate.report import stored_pictures, write_report
from annotate.selection import checked_thresholds, defaults_for
from annotate.settings import Configuration, RunSettings, published_settings
from annotate.shards.pending import Pending, count_pending
from annotate.shards.plan import Job, Plan, Shard, claim_out, make_plan
from annotate.shards.publish import SHARD_ROWS, Origin, publish, read_manifest
from annotate.shards.run import LOOKALIKE_CHECKS, ShardResult, Tools, run_shard
from annotate.shards.writing import writing_of
from annotate.stages import Writer
from annotate.stopping import Drain, Signals
from annotate.teacher.client import Stats
from annotate.teacher.launch import served_name
from annotate.teacher.opening import OpenTeacher, encoder_model, only_model, open_encoder, open_teacher
from annotate.teacher.request import Request, Sampling
from annotate.telling import Teller, Watch, cost_words, size_words, wait_words
from schemas.manifest import Manifest

logger = logging.getLogger(__name__)

SHARDS_AT_ONCE = 2  # while the last triplets of one shard finish, the next one keeps the server busy

RunShard = Callable[[Shard], Awaitable[ShardResult]]
RunShards = Callable[[Sequence[Shard], RunShard], Awaitable[list[ShardResult]]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run will do, as far as files and folders say; nothing written, nothing asked."""

    settings: RunSettings
    shown: Mapping[str, str]
    plan: Plan
    images: FoundImages
    aspects: tuple[str, ...]
    thresholds: Mapping[str, float]
    checks: tuple[Check, ...]


def prepare(configuration: Configuration) -> Prepared:
    """Read the annotation files, find the images, make the plan. Raises `InputError` and `UsageError`."""
    settings = configuration.run
    given = checked_thresholds(dict(settings.thresholds)) if settings.thresholds else {}
    checks = choose(settings.checks, given, encoder=settings.encoder_url is not None)
    thresholds = checked_thresholds({**defaults_for(measured(checks)), **given})
    where = (settings.dataset, settings.split, settings.root, settings.category)
    triplets = with_notes(load_triplets(*where), other_splits(*where))
    job = Job(settings.dataset, settings.split, settings.category, annotation_digest(*where))
    plan = make_plan(triplets, job, limit=settings.limit, seed=settings.seed, shard_size=settings.shard_size)
    names = dict.fromkeys(n for t in plan.triplets if t.problem is None for n in (t.reference, t.target) if n)
    images = find_images(settings.dataset, settings.split, settings.root, names, settings.category)
    check_missing(images, allow=settings.allow_missing)
    images = _with_lookalikes(images, plan, settings, checks)
    aspects = load_aspects(settings.dataset, settings.root)
    shown = published_settings(configuration)
    return Prepared(settings, shown, plan, images, aspects, thresholds, checks)


def _with_lookalikes(
    images: FoundImages, plan: Plan, settings: RunSettings, checks: Sequence[Check]
) -> FoundImages:
    """Also the other members of the subsets, where a check asks about them; a missing one counts for nothing:
    the check does without it."""
    if not any(check.name in LOOKALIKE_CHECKS for check in checks):
        return images
    names = dict.fromkeys(n for t in plan.triplets for n in t.subset if n not in images.paths)
    found = find_images(settings.dataset, settings.split, settings.root, names, settings.category)
    return replace(images, paths={**found.paths, **images.paths})


async def annotate(prepared: Prepared, api_key: str | None, run_shards: RunShards, watch: Watch) -> Manifest:
    """Annotate what `prepared` plans and publish it to OUT; what has been answered before is not asked again.

    Raises `CirError`; every answer had until then is in the journal, and the same command goes on. A run that
    ends early (SIGTERM, Ctrl-C, a teacher that is gone) publishes the shards that are finished.
    """
    settings, plan, out = prepared.settings, prepared.plan, prepared.settings.out
    signals = Signals()
    claim_out(out, plan.job)
    with ExitStack() as held:
        held.enter_context(hold_lock(out / "journal" / "lock"))
        held.enter_context(signals.handled())
        remove_leftovers(out)
        journal = held.enter_context(Journal(out / "journal"))
        images = ImageStore(out / "journal" / "images", settings.image_recipe)
        tools = Tools(
            ask=_never_asked,
            writer=await asyncio.to_thread(_writer, prepared, api_key),
            images=images,
            paths=prepared.images.paths,
            rows=out / SHARD_ROWS,
            source=settings.source,
            caption_mode=settings.caption_mode,
            checks=prepared.checks,
            thresholds=prepared.thresholds,
            early_stop=settings.early_stop,
            encoder=await asyncio.to_thread(encoder_model, settings, api_key),
            chances=settings.chances,
            guided=settings.guided,
        )
        finished: list[ShardResult] = []

        def published() -> Manifest:
            watch.say(f"publishing {sum(sum(shard.counts.values()) for shard in finished):,} rows")
            manifest = publish(plan, [shard.path for shard in finished], out, _origin(prepared, tools))
            try:
                write_report(out, manifest, stored_pictures(images), prepared.shown)
            except OSError as error:
                why = error.strerror or error
                raise OutputError(
                    f"{out}: cannot write the report ({why}); make room and run again"
                ) from error
            return manifest

        watch.say(size_words(plan, prepared.images))
        pending = await count_pending(plan, tools, journal.get, journal.count, journal.explain)
        watch.say(cost_words(pending))
        async with (
            _teacher(pending, settings, api_key, images, tools.writer.model, watch) as teacher,
            open_encoder(settings, api_key, images, tools.encoder) as embed,
        ):
            teller = Teller(len(plan.triplets), pending, teacher.stats, watch)
            drain = signals.drain = Drain(watch.say)
            tools = replace(
                tools,
                ask=drain.gate(answered_ask(journal, teacher.ask), teacher.stop_sending),
                embed=None if embed is None else answered_ask(journal, embed),
                progress=teller.row,
            )

            async def run(shard: Shard) -> ShardResult:
                result = await run_shard(plan, shard, tools)
                finished.append(result)
                teller.shard(len(shard))
                return result

            try:
                await drain.until_done(run_shards(plan.shards, run))
            except RunIncomplete as error:
                kept = _publish_early(out, finished, len(plan.triplets), published)
                raise RunIncomplete(f"{error}; {kept}") from error
        if tools.costs.seconds:
            watch.say(wait_words(tools.costs.seconds))
        manifest = published()
    if manifest.status != "complete":
        raise RunIncomplete(f"{out}: not every triplet is accounted for; the same command goes on")
    return manifest


def _publish_early(
    out: Path, finished: Sequence[ShardResult], triplets: int, published: Callable[[], Manifest]
) -> str:
    """Publish the finished shards of a run that ends early, unless OUT shows as much; says what was done."""
    rows = sum(sum(shard.counts.values()) for shard in finished)
    try:
        before = sum(file.rows for name, file in read_manifest(out).files.items() if _counted(name))
    except OutputError:
        before = 0
    if rows <= before:
        return f"{out} stays as it was ({before:,} rows)"
    published()
    return f"{rows:,} of {triplets:,} triplets are finished and published as incomplete"


def _counted(name: str) -> bool:
    """Whether a published file is of the three folders that hold every row once."""
    return not name.startswith("annotations/")


def _origin(prepared: Prepared, tools: Tools) -> Origin:
    return Origin(
        source=prepared.settings.source,
        root=str(prepared.settings.root),
        layout=prepared.images.layout,
        writer=tools.writer,
        thresholds=tools.thresholds,
        checks=tuple(check.name for check in tools.checks),
        costs=tools.costs,
        writing=writing_of(tools),
    )


async def run_locally(shards: Sequence[Shard], run: RunShard) -> list[ShardResult]:
    """Run shards in this process, a few at a time, in order; the first error ends the others."""
    room = asyncio.Semaphore(SHARDS_AT_ONCE)

    async def one(shard: Shard) -> ShardResult:
        async with room:
            return await run(shard)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(shard)) for shard in shards]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def _writer(prepared: Prepared, api_key: str | None) -> Writer:
    """Everything that determines the questions. A server without a given model is asked which one it has."""
    settings = prepared.settings
    if settings.teacher is not None:
        model = served_name(settings.teacher)
    elif settings.teacher_model is not None:
        model = settings.teacher_model
    else:
        model = only_model(settings.urls[0], api_key)
    return Writer(
        model=model,
        prompts=load_prompts(),
        aspects=prepared.aspects,
        recipe=settings.image_recipe,
        sampling=Sampling(settings.temperature, settings.top_p, settings.sampling_seed),
        sees_target=settings.teacher_sees_target,
        max_tokens={
            "caption": settings.caption_tokens,
            "reasoning": settings.reasoning_tokens,
            "conclusion": settings.conclusion_tokens,
        },
    )


@asynccontextmanager
async def _teacher(
    pending: Pending,
    settings: RunSettings,
    api_key: str | None,
    images: ImageStore,
    model: str,
    watch: Watch,
) -> AsyncIterator[OpenTeacher]:
    """The teacher; when nothing is to be asked, none."""
    if not pending.requests:
        yield OpenTeacher(_never_asked, Stats(), lambda: None)
        return
    async with open_teacher(settings, api_key, images, model, watch.say) as opened:
        yield opened


async def _never_asked(request: Request) -> NoReturn:
    raise RuntimeError(f"a {request.stage} request was not counted as still to be asked")


def sample_root_missing(settings: RunSettings) -> bool:
    """Whether the default root, the rendered sample, has yet to be written."""
    return settings.source == "sample" and not Path(settings.root).exists()
