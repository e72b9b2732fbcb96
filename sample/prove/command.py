"""`python -m sample prove`: the whole run, against a server that runs or one that is started for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from annotate.checks import CHECKS, DEFAULT_CHECKS, measured
from annotate.checks.ladder import Costs
from annotate.errors import UsageError
from annotate.files import write_atomic
from annotate.images import DEFAULT_RECIPE, ImageStore
from annotate.journal import Journal, answered_ask
from annotate.locks import hold_lock
from annotate.prompts import load_prompts, prompt_version
from annotate.selection import checked_thresholds, defaults_for
from annotate.settings.declared import CHECKOUT, SAMPLE_TEACHER
from annotate.stages import Writer
from annotate.teacher.client import TeacherClient
from annotate.teacher.opening import only_model
from annotate.teacher.server import start_server
from sample import world
from sample.prove.measure import Caught, prove
from sample.prove.table import as_json, renew, table

DOCS = CHECKOUT / "docs"
ASKED = tuple(check for check in CHECKS if check.name != "round_trip")
"""All checks but the one that needs an encoder's server."""
WATCHED: Mapping[str, float] = {"carried": 0.5, "margin": 0.4}
"""Counted, though nothing is rejected for them by default: a conclusion may rightly leave much behind, and
half of a margin says that a look-alike fits as well."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for. Without `url` the sample's teacher is started in vLLM."""

    out: Path
    url: str | None
    rows: int
    seed: int
    full: bool
    docs: bool
    thresholds: tuple[tuple[str, float], ...]


def run(wanted: Wanted) -> str:
    """Measure and write prove.json and prove.md (with `docs` also docs/trust.json and docs/trust.md); returns
    the table. Raises `CirError`; what was answered is kept, and the same command goes on."""
    if (wanted.out / "manifest.json").exists() or (wanted.out / "journal" / "job.json").exists():
        raise UsageError(f"{wanted.out} is an annotation's folder; give OUT another one")
    thresholds = checked_thresholds({**defaults_for(measured(DEFAULT_CHECKS)), **dict(wanted.thresholds)})
    with ExitStack() as held:
        held.enter_context(hold_lock(wanted.out / "journal" / "lock"))
        url = wanted.url
        if url is None:
            python = CHECKOUT / ".venv-teacher" / "bin" / "python"
            url = held.enter_context(start_server(SAMPLE_TEACHER, python, wanted.out / "teacher.log")).url
        model = only_model(url, None)
        journal = held.enter_context(Journal(wanted.out / "journal"))
        found, costs = asyncio.run(_measure(wanted, url, model, journal, thresholds))
    counted = {**thresholds, **_watched(thresholds)}
    shown = table(found, counted)
    facts = {
        "teacher": model,
        "prompt_version": prompt_version(load_prompts()),
        "seed": wanted.seed,
        "rows": wanted.rows,
        "full": wanted.full,
        "checks": [check.name for check in ASKED],
    }
    data = as_json(found, counted, costs.requests, facts)
    write_atomic(wanted.out / "prove.json", data)
    write_atomic(wanted.out / "prove.md", shown + "\n")
    if wanted.docs:
        full = " FULL=1" if wanted.full else ""
        how = (
            f"`make prove ROWS={wanted.rows} SEED={wanted.seed}{full} DOCS=1`, teacher `{model}`; "
            "percent of rows below each threshold, · for none; *clean* rows are false alarms.\n\n"
        )
        write_atomic(DOCS / "trust.json", data)
        renew(DOCS / "trust.md", how + shown)
    return shown


async def _measure(
    wanted: Wanted, url: str, model: str, journal: Journal, thresholds: dict[str, float]
) -> tuple[list[Caught], Costs]:
    def writer(domain: world.Domain) -> Writer:
        return Writer(model, load_prompts(), world.aspects(domain), DEFAULT_RECIPE)

    images = ImageStore(wanted.out / "images", DEFAULT_RECIPE)
    async with TeacherClient(url, model, None, images) as client:
        return await prove(
            answered_ask(journal, client.ask),
            writer,
            wanted.out,
            ASKED,
            thresholds,
            watched=_watched(thresholds),
            rows=wanted.rows,
            seed=wanted.seed,
            full=wanted.full,
        )


def _watched(thresholds: Mapping[str, float]) -> dict[str, float]:
    """What is only counted: not what somebody gave a threshold for."""
    return {name: least for name, least in WATCHED.items() if name not in thresholds}
