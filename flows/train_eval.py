"""The retriever's study as a Prefect flow: a task for each row, progress and the table as artifacts.

The work is `retrieval.study`'s; Prefect watches. When its server goes away mid-run, the rows go on.
Deploy as `flows/train_eval.py:train_eval`; `python -m flows train-eval` runs it here.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import httpx
from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import PrefectException
from prefect.logging.handlers import APILogHandler

from annotate.errors import OutputError, RunIncomplete
from annotate.text import plain
from retrieval.__main__ import parser
from retrieval.commands import quiet
from retrieval.measured import Measured
from retrieval.model import within_memory
from retrieval.study import row_names, run_study
from retrieval.study_settings import study_of

logger = logging.getLogger(__name__)

_PREFECT_GONE = (httpx.HTTPError, PrefectException, OSError)
TABLES: ContextVar[list[Path] | None] = ContextVar("tables", default=None)


def run_flow(parameters: Mapping[str, Any]) -> str:
    """Run the flow in this process; the table as markdown. What was made stands even if Prefect fails then.

    Raises `CirError`.
    """
    tables: list[Path] = []
    TABLES.set(tables)
    try:
        train_eval(**parameters)
    except _PREFECT_GONE as error:
        if not tables:
            raise RunIncomplete(
                f"Prefect failed ({type(error).__name__}); the same command goes on, or RUNNER=local"
            ) from error
        _say(f"Prefect could not note the end of the run ({type(error).__name__}); the results are whole")
    finally:
        APILogHandler().flush()  # before the server that takes the log goes away
    return tables[-1].read_text()


@flow(name="train-eval", persist_result=False)
def train_eval(
    data: list[str] | None = None,
    image_root: list[str] | None = None,
    eval_root: list[str] | None = None,
    base_model: str | None = None,
    out: str = "outputs/train-eval",
    ablations: Literal[0, 1] = 1,
    seeds: str = "0",
    more: list[str] | None = None,
) -> str:
    """Train the retriever on annotated shards and measure every row of the table.

    Args:
        data: OUT folders of annotation runs; every complete one of one source if left out.
        image_root: where datasets' roots lie if they have moved, each [DATASET=]ROOT.
        eval_root: where to measure; the validation splits of the data's own roots if left out.
        base_model: image-text-to-text model; the sample's tiny base if left out.
        out: folder of the results.
        ablations: 0 gives ours and the two shortcuts.
        seeds: training seeds, e.g. 0,1,2.
        more: further flags as `python -m retrieval train-eval --help` lists them.
    """
    flags = [word for folder in data or () for word in ("--data", folder)]
    flags += [word for root in eval_root or () for word in ("--eval-root", root)]
    flags += [word for root in image_root or () for word in ("--image-root", root)]
    flags += ["--base-model", base_model] if base_model else []
    flags += ["--out", out, "--ablations", str(ablations), "--seeds", seeds, *(more or ())]
    log = get_run_logger()

    def say(line: str) -> None:
        _say(line)
        log.info(line)

    quiet()
    try:
        with within_memory():
            study = study_of(parser().parse_args(["train-eval", *flags]), say)
            table = run_study(study, say, _Rows(len(row_names(study))).run)[1]
    except OSError as error:  # a folder that may not be read, say, is no fault of Prefect's
        raise OutputError(f"{error}; mend that, then the same command goes on") from error
    tables = TABLES.get()
    if tables is not None:
        tables.append(table)
    with suppress(*_PREFECT_GONE):
        create_markdown_artifact(key="train-eval", markdown=table.read_text())
    return str(table)


class _Rows:
    """Runs rows as tasks and keeps a progress artifact."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._artifact: UUID | None = None
        with suppress(*_PREFECT_GONE):
            found = create_progress_artifact(0.0, key="rows", description="rows of the table")
            self._artifact = found if isinstance(found, UUID) else None

    def run(self, name: str, make: Callable[[], list[Measured]]) -> list[Measured]:
        """Make a row as a task; without Prefect if that went away (what was trained is found again)."""

        ours: list[Exception] = []

        @task(name="row", task_run_name=name, cache_policy=NO_CACHE, persist_result=False)
        def row() -> list[Measured]:
            try:
                return make()
            except Exception as error:  # of whatever kind: it is noted as ours and goes on as it came
                ours.append(error)
                raise

        try:
            lines = row()
        except _PREFECT_GONE as error:
            if ours:  # a full disk, say, is no fault of Prefect's
                raise OutputError(f"{name}: {ours[0]}; the same command goes on") from ours[0]
            logger.warning("Prefect went away (%s); going on without it", type(error).__name__)
            lines = make()
        self._done += 1
        if self._artifact is not None:
            with suppress(*_PREFECT_GONE):
                update_progress_artifact(self._artifact, 100.0 * self._done / self._total)
        return lines


def _say(line: str) -> None:
    with suppress(OSError, ValueError):
        print(plain(line), file=sys.stderr, flush=True)
