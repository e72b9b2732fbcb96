"""OUT's published files from the shards' rows: in order of triplet_id, the same bytes whatever the shards
were.

Crash-safe order: all new files are written whole into a staging folder; then the old manifest goes, the new
files take their places, and the new manifest comes last. A manifest that is there describes files that are
whole.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from annotate.card import dataset_card
from annotate.checks.duplicates import is_contamination
from annotate.checks.ladder import Costs
from annotate.errors import OutputError, UsageError
from annotate.files import write_atomic
from annotate.prompts import prompt_version
from annotate.selection import REASON_OF_SCORE, checked_thresholds, verdict
from annotate.shards.plan import Plan
from annotate.shards.published import file_digest, published_parts, read_manifest, run_thresholds
from annotate.stages import Writer
from annotate.tables import ROW_SCHEMA, read_table, write_table
from schemas.manifest import Counts, Manifest, Precision, PublishedFile, Writing

VERDICTS_OF: Mapping[str, tuple[str, ...]] = {
    "train": ("accepted",),
    "rejected": ("rejected",),
    "quarantine": ("quarantined",),
    "annotations": ("accepted", "rejected"),
}
"""Published folder -> verdicts of the rows in it."""
FILE_ROWS = 65_536
STAGING = Path("journal") / "staging"
SHARD_ROWS = Path("journal") / "shards"
_PICTURES = ("reference_digest", "target_digest")

Change = Callable[[pa.Table], pa.Table]
"""What is done to each table that is read, on its way to the published files."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What the manifest says beyond the plan: where the images were, what wrote, what judged and what that
    cost."""

    source: Literal["sample", "user"]
    root: str
    layout: str
    writer: Writer
    thresholds: Mapping[str, float]
    checks: tuple[str, ...]
    costs: Costs
    writing: Writing
    settings: Mapping[str, str]


def _unchanged(table: pa.Table) -> pa.Table:
    return table


def publish(plan: Plan, shard_files: Sequence[Path], out: Path, origin: Origin) -> Manifest:
    """Merge the shards' row files into OUT. Status is "complete" when every triplet of the plan has its row.

    Raises `OutputError` when OUT cannot be written, a row file is broken, or a triplet has two rows.
    """
    index = _index(shard_files)
    counts = _counts(index, len(plan.triplets))
    draft = Manifest(
        status="complete" if index.num_rows == counts.input else "incomplete",
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
        writing=origin.writing,
        settings=dict(origin.settings),
        thresholds=dict(origin.thresholds),
        run_thresholds=dict(origin.thresholds),
        checks=origin.checks,
        costs=_costs(origin),
        precision=None,
        pictures=_pictures(index),
        reasons=_reasons(index),
        saw_target=_saw_target(index),
        contamination=_contamination(index),
        files={},
        versions=_versions(),
    )
    return _publish(shard_files, index, out, draft, _unchanged)


def rejudge(out: Path, thresholds: Mapping[str, float], precision: Precision | None = None) -> Manifest:
    """Derive all verdicts of a published OUT anew from its stored scores, and publish again; no teacher,
    seconds. Scores without a given threshold have the one that annotate judged by, so that none given gives
    its verdicts back; with `precision`, which says what the thresholds were chosen for, none.

    Raises `UsageError` for thresholds that cannot be used, `OutputError` for an OUT without a whole manifest
    or whose files are not the manifest's.
    """
    manifest = read_manifest(out)
    sources = published_parts(out, manifest, "annotations", "quarantine")
    base = run_thresholds(manifest) if precision is None else {}
    wanted = checked_thresholds({**base, **thresholds})
    there = _measured(sources)
    unmeasured = [name for name in thresholds if name not in there]
    if unmeasured and manifest.counts.accepted + manifest.counts.rejected:
        raise UsageError(
            f"{out} has no score {unmeasured[0]} to judge by; run `annotate run` with its check first"
        )

    def judged(table: pa.Table) -> pa.Table:
        return _judged(table, wanted)

    index = _index(sources, judged)
    changes = {
        "thresholds": wanted,
        "precision": precision,
        "pictures": _pictures(index),
        "counts": _counts(index, manifest.counts.input),
        "reasons": _reasons(index),
        "saw_target": _saw_target(index),
        "contamination": _contamination(index),
        "versions": _versions(),
    }
    return _publish(sources, index, out, manifest.model_copy(update=changes), judged)


def _publish(
    sources: Sequence[Path], index: pa.Table, out: Path, draft: Manifest, change: Change
) -> Manifest:
    staging = out / STAGING
    try:
        shutil.rmtree(staging, ignore_errors=True)
        for folder, verdicts in VERDICTS_OF.items():
            chosen = index.filter(pc.is_in(index["verdict"], value_set=pa.array(verdicts)))
            _stage(sources, sorted(chosen["triplet_id"].to_pylist()), staging / folder, change)
        files = {
            str(path.relative_to(staging)): PublishedFile(rows=_rows(path), sha256=file_digest(path))
            for path in sorted(staging.glob("*/*.parquet"))
        }
        manifest = draft.model_copy(update={"files": files})
        (out / "manifest.json").unlink(missing_ok=True)
        if (report := out / "report.html").is_file():
            report.unlink()  # of the rows before; the new one comes last
        for folder in VERDICTS_OF:
            _replace_folder(staging / folder, out / folder)
        write_atomic(out / "README.md", dataset_card(manifest))
        write_atomic(out / "manifest.json", manifest.model_dump_json(indent=2) + "\n")
        shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"OUT {out} cannot be written ({error.strerror or error}); make room and run again"
        ) from error
    return manifest


def _costs(origin: Origin) -> dict[str, int]:
    """Different requests by check, whoever answered them; how long they took is no fact of the data."""
    return {name: origin.costs.requests.get(name, 0) for name in origin.checks}


def _measured(sources: Sequence[Path]) -> list[str]:
    """Scores that at least one row has."""
    tables = [read_table(path, list(REASON_OF_SCORE)) for path in sources]
    return [name for name in REASON_OF_SCORE if any(t[name].null_count < t.num_rows for t in tables)]


def _index(sources: Sequence[Path], change: Change = _unchanged) -> pa.Table:
    """Ids, verdicts and what else the manifest counts, of all rows. Raises `OutputError` when a triplet has
    two rows."""
    columns = ["triplet_id", "verdict", "reasons", "teacher_sees_target", "notes", *_PICTURES]
    tables = [change(read_table(path, [*columns, *REASON_OF_SCORE])).select(columns) for path in sources]
    index = pa.concat_tables([ROW_SCHEMA.empty_table().select(columns), *tables])
    twice = index.num_rows - pc.count_distinct(index["triplet_id"]).as_py()
    if twice:
        raise OutputError(f"{twice} triplets have two rows; give a fresh OUT and report this as a bug")
    return index


def _counts(index: pa.Table, expected: int) -> Counts:
    verdicts = Counter(index["verdict"].to_pylist())
    return Counts(
        input=expected,
        accepted=verdicts["accepted"],
        rejected=verdicts["rejected"],
        quarantined=verdicts["quarantined"],
    )


def _pictures(index: pa.Table) -> str:
    """sha256 over the judged rows' pictures, whatever the verdict, in the order of the ids."""
    judged = index.filter(pc.not_equal(index["verdict"], "quarantined")).sort_by("triplet_id")
    rows = judged.select(["triplet_id", *_PICTURES]).to_pydict()
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _saw_target(index: pa.Table) -> dict[str, int]:
    """Rows by verdict whose writer was shown the target."""
    return dict(sorted(Counter(index.filter(index["teacher_sees_target"])["verdict"].to_pylist()).items()))


def _contamination(index: pa.Table) -> dict[str, dict[str, int]]:
    """Rows by verdict of every note that says that an evaluated split has the row's image, too."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for judged, notes in zip(index["verdict"].to_pylist(), index["notes"].to_pylist(), strict=True):
        for note in filter(is_contamination, notes):
            found[note][judged] += 1
    return {note: dict(sorted(rows.items())) for note, rows in sorted(found.items())}


def _reasons(index: pa.Table) -> dict[str, int]:
    return dict(sorted(Counter(pc.list_flatten(index["reasons"]).to_pylist()).items()))


def _stage(sources: Sequence[Path], ids: Sequence[str], folder: Path, change: Change) -> None:
    """Write the rows with these ids (sorted) into files of `FILE_ROWS` rows; memory holds one file's rows.

    Each file reads all sources: shards are cut by reference, so any of them may hold any id.
    """
    for number, start in enumerate(range(0, max(len(ids), 1), FILE_ROWS)):
        own = pa.array(ids[start : start + FILE_ROWS], pa.string())
        pieces = [ROW_SCHEMA.empty_table()]
        for path in sources:
            table = change(read_table(path))
            pieces.append(table.filter(pc.is_in(table["triplet_id"], value_set=own)))
        merged = pa.concat_tables(pieces)
        ordered = merged.take(pc.sort_indices(merged["triplet_id"]))
        write_table(ordered, folder / f"part-{number:05d}.parquet")


def _replace_folder(staged: Path, published: Path) -> None:
    published.mkdir(parents=True, exist_ok=True)
    names = {path.name for path in staged.iterdir()}
    for name in sorted(names):
        (staged / name).replace(published / name)
    for path in published.glob("part-*.parquet"):
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


def _versions() -> dict[str, str]:
    """Versions that the bytes or the rows depend on; "unknown" for a checkout that is not installed."""
    versions = {"python": platform.python_version()}
    for name in ("cir-cot", "pillow", "pyarrow", "pydantic"):
        versions[name] = "unknown"
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions
