"""Reads what a report shows from a published OUT: a few rows chosen without chance, scores, one triplet."""

from __future__ import annotations

import hashlib
import heapq
import types
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.compute as pc

from annotate.tables import as_row, parts, read_batches, read_table
from schemas.row import Row, Verdict

FOLDERS: Mapping[Verdict, str] = {"accepted": "train", "rejected": "rejected", "quarantined": "quarantine"}
SCORES: tuple[str, ...] = tuple(
    name
    for name, field in Row.model_fields.items()
    if set(get_args(field.annotation)) == {float, types.NoneType}
)
"""Score columns of the published rows."""


def pick(out: Path, verdict: Verdict, count: int) -> tuple[Row, ...]:
    """Up to `count` rows of a verdict, the same whenever the rows are the same.

    Each reason code gives in turn its row with the smallest sha256 of the triplet id: no code is left out for
    being rare while there is room, and nobody's favourite rows are shown.
    """
    by_reason: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path in parts(out, FOLDERS[verdict]):
        table = read_table(path, columns=["triplet_id", "reasons"])
        for name, reasons in zip(table["triplet_id"].to_pylist(), table["reasons"].to_pylist(), strict=True):
            by_reason[reasons[0] if reasons else ""].append((_order(name), name))
    queues = [heapq.nsmallest(count, by_reason[reason]) for reason in sorted(by_reason)]
    rounds = [entry[1] for turn in zip_longest(*queues) for entry in turn if entry is not None]
    chosen = rounds[:count]
    rows = {row.triplet_id: row for row in load(parts(out, FOLDERS[verdict]), chosen)}
    return tuple(rows[name] for name in chosen)


def load(paths: Sequence[Path], triplet_ids: Sequence[str]) -> Iterator[Row]:
    """Rows with these ids, in file order; other rows are never made into objects."""
    wanted = pa.array(triplet_ids, pa.string())
    for path in paths if triplet_ids else ():
        for batch in read_batches(path, 4_096):
            for values in batch.filter(pc.is_in(batch["triplet_id"], value_set=wanted)).to_pylist():
                yield as_row(values, path)


def all_ids(out: Path) -> list[str]:
    """Every published triplet id, sorted."""
    files = [path for folder in FOLDERS.values() for path in parts(out, folder)]
    return sorted(
        name for path in files for name in read_table(path, ["triplet_id"])["triplet_id"].to_pylist()
    )


def scores(out: Path) -> dict[str, list[float]]:
    """Score column -> the values of all annotated rows that have one; columns without any are left out."""
    found: dict[str, list[float]] = {name: [] for name in SCORES}
    for path in parts(out, "annotations"):
        table = read_table(path, columns=SCORES)
        for name in SCORES:
            found[name].extend(value for value in table[name].to_pylist() if value is not None)
    return {name: values for name, values in found.items() if values}


def _order(triplet_id: str) -> str:
    return hashlib.sha256(triplet_id.encode("utf-8", "replace")).hexdigest()
