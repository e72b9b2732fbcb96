"""The annotation run as a Prefect flow: one task a shard, progress and result as artifacts.

The work is `annotate.job`'s; Prefect watches. When its server goes away mid-run, the shards go on without it.
Deploy as `flows/annotation.py:annotation`; the API key comes from the environment of the executing process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import httpx
from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    aupdate_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import PrefectException
from prefect.logging.handlers import APILogHandler
from prefect.runtime import flow_run

from annotate.errors import RunIncomplete, UsageError
from annotate.job import RunShard, annotate
from annotate.preparing import Prepared, prepare, render_sample
from annotate.report import pick_examples
from annotate.settings import Configuration, api_key, resolve, shown_value
from annotate.settings.declared import BY_NAME
from annotate.settings.values import Value
from annotate.shards.plan import Shard
from annotate.shards.run import ShardResult
from annotate.telling import Watch
from annotate.text import did_you_mean, markdown_cell, plain
from schemas.manifest import Manifest

logger = logging.getLogger(__name__)

_PREFECT_GONE = (httpx.HTTPError, PrefectException, OSError)


@dataclass(slots=True)
class Console:
    """Where a flow that the command line started tells what it does, and leaves what it made."""

    watch: Watch
    prepared: Prepared | None = None
    manifest: Manifest | None = None


_PARAMETERS = frozenset(
    (
        "dataset",
        "split",
        "category",
        "root",
        "out",
        "limit",
        "seed",
        "teacher",
        "teacher_url",
        "teacher_model",
    )
)
CONSOLE: ContextVar[Console | None] = ContextVar("console", default=None)


def run_flow(configuration: Configuration, prepared: Prepared, watch: Watch) -> Manifest:
    """Run the flow in this process; what it made stands even if Prefect fails then. Raises `CirError`."""
    parameters, options = given_settings(configuration)
    console = Console(watch, prepared)
    CONSOLE.set(console)
    try:
        asyncio.run(annotation(**parameters, options=options))
    except _PREFECT_GONE as error:
        if console.manifest is None:
            raise RunIncomplete(
                f"Prefect failed ({type(error).__name__}); the same command goes on, or RUNNER=local"
            ) from error
        watch.say(
            f"Prefect could not note the end of the run ({type(error).__name__}); the results are whole"
        )
    finally:
        APILogHandler().flush()  # before the server that takes the log goes away
    if console.manifest is None:
        raise RunIncomplete("the flow ended without a result; the same command goes on")
    return console.manifest


def given_settings(configuration: Configuration) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings that somebody gave: those that are parameters of the flow, and the others as texts."""
    given = {entry.setting.name: entry.value for entry in configuration.resolved if entry.source != "default"}
    named = {name: given[name] for name in given if name in _PARAMETERS}
    parameters: dict[str, Any] = {
        name: str(value) if isinstance(value, Path) else value for name, value in named.items()
    }
    options = {name: _option(name, value) for name, value in given.items() if name not in _PARAMETERS}
    return parameters, options


def _option(name: str, value: Value) -> str:
    """A setting's value as its parser reads it back."""
    if name == "teacher_flags" and isinstance(value, tuple):
        return shlex.join(map(str, value))
    return shown_value(value)


def _flow_run_name() -> str:
    given = flow_run.parameters
    limit = f" limit {given['limit']}" if given.get("limit") else ""
    category = f" {given['category']}" if given.get("category") else ""
    return f"{given['dataset']} {given.get('split') or 'default split'}{category}{limit}"


@flow(name="annotate", flow_run_name=_flow_run_name, persist_result=False)
async def annotation(
    dataset: Literal["fashioniq", "cirr", "circo"] = "cirr",
    split: str | None = None,
    category: str | None = None,
    root: str | None = None,
    out: str | None = None,
    limit: int | None = None,
    seed: int = 7,
    teacher: str | None = None,
    teacher_url: str | None = None,
    teacher_model: str | None = None,
    options: dict[str, str] | None = None,
) -> dict[str, int]:
    """Annotate a dataset's triplets with checked chains of thought.

    Args:
        dataset: fashioniq, cirr or circo.
        split: split of the dataset; train by default, for circo val.
        category: fashioniq only: dress, shirt or toptee.
        root: folder of your dataset; the rendered sample if left out.
        out: folder of the results.
        limit: so many triplets, drawn at random by reference.
        seed: seeds the sample world and the draw.
        teacher: model folder or hub name; vLLM is started for it.
        teacher_url: OpenAI-compatible server that runs already; several, comma-separated.
        teacher_model: model name to ask that server for.
        options: further settings by name, as `python -m annotate run --help` lists them.
    """
    named: dict[str, str | int | None] = {
        "dataset": dataset,
        "split": split,
        "category": category,
        "root": root,
        "out": out,
        "limit": limit,
        "seed": seed,
        "teacher": teacher,
        "teacher_url": teacher_url,
        "teacher_model": teacher_model,
    }
    console = CONSOLE.get() or Console(_logged())
    prepared = console.prepared  # of the command line's settings, --config and environment included
    if prepared is None:
        prepared = await asyncio.to_thread(_prepared, named, options or {}, console.watch.say)
    settings = prepared.settings
    shards = _Shards(len(prepared.plan.shards))
    manifest = await annotate(prepared, api_key(os.environ), shards.run, console.watch)
    console.manifest = manifest
    with suppress(*_PREFECT_GONE):
        await acreate_markdown_artifact(
            key=f"{dataset}-{settings.split}", markdown=summary(settings.out, manifest)
        )
    return manifest.counts.model_dump()


def _prepared(
    named: Mapping[str, str | int | None], options: Mapping[str, str], say: Callable[[str], None]
) -> Prepared:
    """What a run of these parameters will do, the sample rendered where it is what they mean.

    Raises `UsageError`, also for an option that is no setting, and `InputError`.
    """
    for name in options:
        if name not in BY_NAME:
            advice = did_you_mean(name, BY_NAME) or "see `annotate run --help`"
            raise UsageError(f"options: {plain(name, 60)} is no setting; {advice}")
    flags = {name: None if value is None else str(value) for name, value in named.items()}
    configuration = resolve({**flags, **options}, {}, Path.cwd())
    if configuration.run.source == "sample":
        render_sample(configuration.run, say)
    return prepare(configuration)


class _Shards:
    """Runs shards as tasks, a few at a time, and keeps a progress artifact."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._artifact: UUID | None = None

    async def run(self, shards: Sequence[Shard], run: RunShard, at_once: int) -> list[ShardResult]:
        @task(
            name="shard",
            task_run_name="{name} ({triplets} triplets)",
            cache_policy=NO_CACHE,
            persist_result=False,
        )
        async def annotate_shard(name: str, triplets: int) -> ShardResult:
            result = await run(by_name[name])
            get_run_logger().info("%s: %s", name, dict(result.counts))
            return result

        async def one(shard: Shard) -> ShardResult:
            async with room:
                try:
                    result = await annotate_shard(shard.name, len(shard))
                except _PREFECT_GONE as error:
                    logger.warning("Prefect went away (%s); going on without it", type(error).__name__)
                    result = await run(shard)
                await self._tell()
                return result

        by_name = {shard.name: shard for shard in shards}
        room = asyncio.Semaphore(at_once)
        with suppress(*_PREFECT_GONE):
            self._artifact = await acreate_progress_artifact(0.0, key="progress", description="shards done")
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(shard)) for shard in shards]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [item.result() for item in tasks]

    async def _tell(self) -> None:
        self._done += 1
        if self._artifact is not None:
            with suppress(*_PREFECT_GONE):
                await aupdate_progress_artifact(self._artifact, 100.0 * self._done / self._total)


def summary(out: Path, manifest: Manifest) -> str:
    """Counts, reasons and a few examples as markdown; text from data is escaped."""
    counts = manifest.counts
    lines = [
        f"# {manifest.dataset} {manifest.split}: {counts.accepted:,} of {counts.input:,} triplets accepted",
        "",
        "| input | accepted | rejected | quarantined |",
        "|---|---|---|---|",
        f"| {counts.input} | {counts.accepted} | {counts.rejected} | {counts.quarantined} |",
        "",
        *_table("reason", "rows", {code: str(rows) for code, rows in manifest.reasons.items()}),
        f"Teacher {markdown_cell(manifest.teacher)}, thresholds {manifest.thresholds}, "
        f"files in {markdown_cell(str(out))}.",
        "",
    ]
    examples = pick_examples(out)
    for row in (examples.accepted, examples.rejected, examples.quarantined):
        if row is None:
            continue
        lines += _table(
            row.triplet_id,
            row.verdict,
            {
                "modification": row.modification,
                "caption": row.caption or "",
                "rationale": row.rationale or "",
                "conclusion": row.conclusion or "",
                "p_match": "" if row.p_match is None else f"{row.p_match:.3f}",
                "reasons": ", ".join(row.reasons),
            },
        )
    return "\n".join(lines)


def _table(left: str, right: str, rows: Mapping[str, str]) -> list[str]:
    body = [f"| {markdown_cell(name)} | {markdown_cell(value)} |" for name, value in rows.items()]
    return [f"| {markdown_cell(left)} | {markdown_cell(right)} |", "|---|---|", *body, ""] if body else []


def _logged() -> Watch:
    """For a flow that nobody watches on a console: lines go to the flow run's log."""
    log = get_run_logger()
    return Watch(say=log.info, update=lambda snapshot: None)
