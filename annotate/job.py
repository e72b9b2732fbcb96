"""A whole run, from settings to a published OUT, read top to bottom. The shells pass how shards are run.

settings -> triplets, images, plan -> what is still to be asked -> teacher, canary -> shards -> files, report
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from annotate.errors import OutputError, RunIncomplete
from annotate.files import remove_leftovers
from annotate.images import ImageStore
from annotate.journal import Journal, answered_ask
from annotate.locks import hold_lock
from annotate.mounts import network_file_system, network_words
from annotate.preparing import Prepared, changes_of
from annotate.prompts import load_prompts
from annotate.report import stored_pictures, write_report
from annotate.settings import RunSettings
from annotate.shards.neighbours import find_neighbours
from annotate.shards.pending import Pending, count_pending
from annotate.shards.plan import OURS, Shard, claim_out, refuse_others
from annotate.shards.publish import SHARD_ROWS, Origin, publish
from annotate.shards.published import read_manifest
from annotate.shards.run import AT_ONCE, ShardResult, Tools, run_shard
from annotate.shards.writing import writing_of
from annotate.stages import Writer
from annotate.stopping import Drain, Signals
from annotate.teacher.client import Stats
from annotate.teacher.launch import served_name
from annotate.teacher.opening import OpenServer, encoder_model, only_model, open_encoder, open_teacher
from annotate.teacher.request import Request, Sampling
from annotate.telling import Teller, Watch, asked_words, cost_words, size_words, wait_words
from schemas.manifest import Manifest

RunShard = Callable[[Shard], Awaitable[ShardResult]]
RunShards = Callable[[Sequence[Shard], RunShard, int], Awaitable[list[ShardResult]]]
"""Runs shards, as many at once as the number says."""


async def annotate(prepared: Prepared, api_key: str | None, run_shards: RunShards, watch: Watch) -> Manifest:
    """Annotate what `prepared` plans and publish it to OUT; what has been answered before is not asked again.

    Raises `CirError`; every answer had until then is in the journal, and the same command goes on. A run that
    ends early (SIGTERM, Ctrl-C, a teacher that is gone) publishes the shards that are finished.
    """
    settings, plan, out = prepared.settings, prepared.plan, prepared.settings.out
    signals = Signals()
    refuse_others(out, plan.job)  # before a lock is put into somebody's folder
    with ExitStack() as held:
        held.enter_context(hold_lock(out / "journal" / "lock"))
        claim_out(out, plan.job)
        held.enter_context(signals.handled())
        remove_leftovers(out, below=False)  # what lies deeper may be another run's
        for name in ("journal", *OURS):
            remove_leftovers(out / name)
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
            allow_missing=settings.allow_missing,
            at_once=max(AT_ONCE, settings.concurrency // 2),
        )
        finished: list[ShardResult] = []

        def published() -> Manifest:
            watch.say(f"publishing {sum(sum(shard.counts.values()) for shard in finished):,} rows")
            manifest = publish(plan, [shard.path for shard in finished], out, _origin(prepared, tools))
            try:
                write_report(out, manifest, stored_pictures(images))
            except OSError as error:
                why = error.strerror or error
                raise OutputError(
                    f"{out}: cannot write the report ({why}); make room and run again"
                ) from error
            return manifest

        if kind := network_file_system(out.absolute()):
            watch.say("warning: " + "; ".join(network_words(out, kind)))
        watch.say(size_words(plan, prepared.images))
        for line in await asyncio.to_thread(changes_of, prepared):
            watch.say(line)
        async with open_encoder(settings, api_key, images, tools.encoder, watch.say) as encoder:
            if encoder is not None:
                embed = answered_ask(journal, encoder.ask)
                neighbours = await find_neighbours(plan, tools, embed, watch.say)
                tools = replace(tools, embed=embed, neighbours=neighbours)
            pending = await count_pending(plan, tools, journal.get, journal.count, journal.explain)
            watch.say(cost_words(pending))
            async with _teacher(pending, settings, api_key, images, tools.writer.model, watch) as teacher:
                teller = Teller(len(plan.triplets), pending, teacher.stats, watch)
                drain = signals.drain = Drain(watch.say)
                ask = drain.gate(answered_ask(journal, teacher.ask), teacher.stop_sending)
                tools = replace(tools, ask=ask, progress=teller.row)
                if encoder is not None:
                    gated = drain.gate(answered_ask(journal, encoder.ask), encoder.stop_sending)
                    tools = replace(tools, embed=gated)

                async def run(shard: Shard) -> ShardResult:
                    result = await run_shard(plan, shard, tools)
                    finished.append(result)
                    teller.shard(len(shard))
                    return result

                at_once = shards_at_once(settings)
                try:
                    await drain.until_done(run_shards(plan.shards, run, at_once))
                except RunIncomplete as error:
                    kept = _publish_early(out, finished, len(plan.triplets), published)
                    raise RunIncomplete(f"{error}; {kept}") from error
                if teacher.stats.requests:
                    watch.say(asked_words(teacher.stats))
        manifest = published()
        if tools.gone:
            watch.say(
                f"{len(tools.gone):,} images that were there at the start could not be read later; their "
                "triplets are quarantined as missing_image, and the same command looks for them again"
            )
        if waits := wait_words(tools.costs.seconds, manifest.counts.accepted):
            watch.say(waits)
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
    done = f"{rows:,} of {triplets:,} triplets are finished and published as incomplete"
    return f"{done} (whole shards are; the answers of others wait in the journal)"


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
        settings=prepared.shown,
    )


def shards_at_once(settings: RunSettings) -> int:
    """Shards that hold twice as many triplets as there may be requests, for a triplet asks mostly one thing
    after the other; at least two: while the last triplets of one finish, the next keeps the server busy."""
    return math.ceil(2 * settings.concurrency / settings.shard_size) + 1


async def run_locally(shards: Sequence[Shard], run: RunShard, at_once: int) -> list[ShardResult]:
    """Run shards in this process, a few at a time, in order; the first error ends the others."""
    room = asyncio.Semaphore(at_once)

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
        model = served_name(settings.teacher, settings.teacher_flags)
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
) -> AsyncIterator[OpenServer]:
    """The teacher; when nothing is to be asked, none."""
    if not pending.requests:
        yield OpenServer(_never_asked, Stats(), lambda: None)
        return
    async with open_teacher(settings, api_key, images, model, watch.say) as opened:
        yield opened


async def _never_asked(request: Request) -> NoReturn:
    raise RuntimeError(f"a {request.stage} request was not counted as still to be asked")
