"""OUT's published files from the shards' rows: in order of triplet_id, the same bytes whatever the shards
were.

Crash-safe order: all new files are written whole into a staging folder; then the old manifest goes, the new
files take their places, and the new manifest comes last. A manifest that is there describes files that are
whole.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from annotate.card import dataset_card
from annotate.errors import OutputError
from annotate.files import write_atomic
from annotate.prompts import prompt_version
from annotate.selection import checked_thresholds, verdict
from annotate.shards.plan import Plan
from annotate.stages import Writer
from annotate.tables import ROW_SCHEMA, parts, read_table, write_table
from schemas.manifest import Counts, Manifest, PublishedFile

FOLDERS: Mapping[str, tuple[str, ...]] = {
    "train": ("accepted",),
    "rejected": ("rejected",),
    "quarantine": ("quarantined",),
    "annotations": ("accepted", "rejected"),
}
"""Published folder -> verdicts of the rows in it."""
FILE_ROWS = 65_536
STAGING = Path("journal") / "staging"
SHARD_ROWS = Path("journal") / "shards"

Change = Callable[[pa.Table], pa.Table]


@dataclass(frozen=True, slots=True)
class Origin:
    """What the manifest says beyond the plan: where the images were, what wrote and what judged."""

    source: Literal["sample", "user"]
    root: str
    layout: str
    writer: Writer
    thresholds: Mapping[str, float]


def publish(plan: Plan, shard_files: Sequence[Path], out: Path, origin: Origin) -> Manifest:
    """Merge the shards' row files into OUT. Status is "complete" when every triplet of the plan has its row.

    Raises `OutputError` when OUT cannot be written, a row file is broken, or a triplet has two rows.
    """
    counts, reasons = _tally(shard_files, len(plan.triplets))
    done = counts.accepted + counts.rejected + counts.quarantined
    draft = Manifest(
        status="complete" if done == counts.input else "incomplete",
        counts=counts,
        job=plan.job.digest,
        dataset=plan.job.dataset,
        split=plan.job.split,
        category=plan.job.category,
        source=origin.source,
        root=origin.root,
        layout=origin.layout,
        image_recipe=origin.writer.recipe,
        limit=plan.limit,
        seed=plan.seed,
        teacher=origin.writer.model,
        teacher_sees_target=origin.writer.sees_target,
        prompts={name: prompt.digest for name, prompt in sorted(origin.writer.prompts.items())},
        prompt_version=prompt_version(dict(origin.writer.prompts)),
        thresholds=dict(origin.thresholds),
        reasons=reasons,
        files={},
        versions=_versions(),
    )
    return _publish(shard_files, out, draft, lambda table: table)


def rejudge(out: Path, thresholds: Mapping[str, float]) -> Manifest:
    """Derive all verdicts of a published OUT anew from its stored scores, and publish again; no teacher,
    seconds.

    Raises `UsageError` for thresholds that cannot be used, `OutputError` for an OUT without a whole manifest.
    """
    wanted = checked_thresholds(thresholds)
    manifest = read_manifest(out)
    sources = [*parts(out, "annotations"), *parts(out, "quarantine")]
    counts, reasons = _tally(sources, manifest.counts.input, lambda table: _judged(table, wanted))
    draft = manifest.model_copy(
        update={"thresholds": wanted, "counts": counts, "reasons": reasons, "versions": _versions()}
    )
    return _publish(sources, out, draft, lambda table: _judged(table, wanted))


def read_manifest(out: Path) -> Manifest:
    """The manifest of a published OUT. Raises `OutputError` when there is none or it is broken."""
    path = out / "manifest.json"
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise OutputError(
            f"{out} holds no manifest.json: nothing is published there; run annotate first"
        ) from error
    except (OSError, ValidationError) as error:
        raise OutputError(f"{path} cannot be read; run annotate again") from error


def _publish(sources: Sequence[Path], out: Path, draft: Manifest, change: Change) -> Manifest:
    staging = out / STAGING
    try:
        shutil.rmtree(staging, ignore_errors=True)
        for folder, verdicts in FOLDERS.items():
            _stage(sources, staging / folder, verdicts, change)
        files = {
            str(path.relative_to(staging)): PublishedFile(rows=_rows(path), sha256=_sha256(path))
            for path in sorted(staging.glob("*/*.parquet"))
        }
        manifest = draft.model_copy(update={"files": files})
        (out / "manifest.json").unlink(missing_ok=True)
        for folder in FOLDERS:
            _replace_folder(staging / folder, out / folder)
        write_atomic(out / "README.md", dataset_card(manifest))
        write_atomic(out / "manifest.json", manifest.model_dump_json(indent=2) + "\n")
        shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"OUT {out} cannot be written ({error.strerror or error}); make room and run again"
        ) from error
    return manifest


def _tally(
    sources: Sequence[Path], expected: int, change: Change = lambda table: table
) -> tuple[Counts, dict[str, int]]:
    """Counts by verdict and by reason code, and that no triplet has two rows."""
    columns = ["triplet_id", "verdict", "reasons"]
    verdicts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    seen: set[str] = set()
    rows = 0
    for path in sources:
        table = change(read_table(path)).select(columns)
        rows += table.num_rows
        seen.update(table["triplet_id"].to_pylist())
        verdicts.update(table["verdict"].to_pylist())
        reasons.update(code for codes in table["reasons"].to_pylist() for code in codes)
    if len(seen) != rows:
        raise OutputError(
            f"{rows - len(seen)} triplets have two rows; give a fresh OUT and report this as a bug"
        )
    counts = Counts(
        input=expected,
        accepted=verdicts["accepted"],
        rejected=verdicts["rejected"],
        quarantined=verdicts["quarantined"],
    )
    return counts, dict(sorted(reasons.items()))


def _stage(sources: Sequence[Path], folder: Path, verdicts: tuple[str, ...], change: Change) -> None:
    """Write the rows with these verdicts by triplet_id (plain string order) into files of `FILE_ROWS` rows.

    Memory holds one file's rows and the ids of all; beyond one file the sources are read once more a file.
    """
    wanted = pa.array(verdicts)

    def chosen(path: Path) -> pa.Table:
        table = change(read_table(path))
        return table.filter(pc.is_in(table["verdict"], value_set=wanted))

    ids = sorted(name for path in sources for name in chosen(path)["triplet_id"].to_pylist())
    for number, start in enumerate(range(0, max(len(ids), 1), FILE_ROWS)):
        own = ids[start : start + FILE_ROWS]
        pieces = [ROW_SCHEMA.empty_table()]
        for path in sources:
            table = chosen(path)
            if own and len(own) < len(ids):
                inside = pc.and_(
                    pc.greater_equal(table["triplet_id"], own[0]), pc.less_equal(table["triplet_id"], own[-1])
                )
                table = table.filter(inside)
            pieces.append(table)
        merged = pa.concat_tables(pieces)
        write_table(merged.take(pc.sort_indices(merged["triplet_id"])), folder / f"part-{number:05d}.parquet")


def _replace_folder(staged: Path, published: Path) -> None:
    published.mkdir(parents=True, exist_ok=True)
    names = {path.name for path in staged.iterdir()}
    for name in sorted(names):
        (staged / name).replace(published / name)
    for path in published.glob("*.parquet"):
        if path.name not in names:
            path.unlink()
    handle = os.open(published, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _judged(table: pa.Table, thresholds: Mapping[str, float]) -> pa.Table:
    """The table with verdict and reasons derived anew; quarantined rows stay as they are."""
    scores = table.select(list(thresholds)).to_pylist()
    verdicts, reasons = table["verdict"].to_pylist(), table["reasons"].to_pylist()
    for index, old in enumerate(verdicts):
        if old != "quarantined":
            verdicts[index], reasons[index] = verdict(scores[index], thresholds)
    for name, values in (("verdict", verdicts), ("reasons", reasons)):
        field = ROW_SCHEMA.field(name)
        table = table.set_column(table.schema.get_field_index(name), field, pa.array(values, field.type))
    return table


def _rows(path: Path) -> int:
    return int(read_table(path, columns=["triplet_id"]).num_rows)


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _versions() -> dict[str, str]:
    """Versions that the bytes or the rows depend on; "unknown" for a checkout that is not installed."""
    versions = {"python": platform.python_version()}
    for name in ("cir-cot", "pillow", "pyarrow", "pydantic"):
        versions[name] = "unknown"
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions
