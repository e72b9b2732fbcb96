"""A published OUT of rows made by hand, and labels of its rows: what the commands need, in a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from annotate.calibration.labels import judged
from annotate.checks import DEFAULT_CHECKS, measured
from annotate.checks.coherence import COHERENCE
from annotate.selection import DEFAULT_THRESHOLDS, verdict
from annotate.shards.plan import make_plan
from annotate.shards.publish import publish
from annotate.tables import parts, read_rows, to_table, write_table
from schemas.calibration import Label
from schemas.row import Row
from tests.shards.world import JOB, make_tools, origin, scripted, triplet
from tests.tables.rows import make_row

ROWS = 320


def scored(number: int, skipped: tuple[str, ...] = (), **changes: float | None) -> Row:
    """A row of triplet `number` that scores .99 save for `changes`, with the verdict of these scores."""
    values = {**dict.fromkeys(("margin", "round_trip")), **dict.fromkeys(("carried", "p_match"), 0.99)}
    scores = {**values, **dict.fromkeys(DEFAULT_THRESHOLDS, 0.99), "form": 1.0, "coherent": 1.0, **changes}
    found, reasons = verdict(scores)
    return make_row(
        number,
        modification=f"make the ball blue ({number})",
        skipped_checks=skipped,
        verdict=found,
        reasons=reasons,
        **scores,
    )


def published(folder: Path, rows: Sequence[Row], early_stop: bool = False, missing: int = 0) -> Path:
    """The rows as a run publishes them; `missing` triplets of the run have no row yet."""
    triplets = [triplet(int(row.native_id)) for row in rows]
    triplets += [triplet(10**6 + number) for number in range(missing)]
    tools = make_tools(folder, scripted(), triplets[:1], early_stop=early_stop)
    write_table(to_table(rows), folder / "shard.parquet")
    plan = make_plan(triplets, JOB, shard_size=len(triplets))
    publish(plan, [folder / "shard.parquet"], folder / "out", origin(tools))
    return folder / "out"


def write_labels(path: Path, out: Path, wrong: Callable[[int], bool], count: int | None = None) -> Path:
    """Truth's labels of the first `count` annotated rows of OUT by number."""
    rows = sorted(read_rows(parts(out, "annotations")), key=lambda row: int(row.native_id))[:count]
    lines = [
        Label(
            triplet_id=row.triplet_id,
            person="truth",
            right=not wrong(int(row.native_id)),
            judged=judged(row),
        ).model_dump_json()
        for row in rows
    ]
    path.write_text("".join(line + "\n" for line in lines))
    return path


def wrong(number: int) -> bool:
    return number % 4 == 0


def row(number: int, early_stop: bool) -> Row:
    """Wrong edits are surely wrong, some right ones less sure than the default threshold wants."""
    p = 0.01 if wrong(number) else 0.08 if number % 8 == 1 else 0.98
    if not early_stop or p >= DEFAULT_THRESHOLDS["p_covers"]:
        return scored(number, p_covers=p)
    place = DEFAULT_CHECKS.index(COHERENCE) + 1
    unasked = DEFAULT_CHECKS[place:]
    return scored(
        number,
        skipped=tuple(check.name for check in unasked),
        **{**dict.fromkeys(measured(unasked)), "p_covers": p},
    )


def labels(path: Path, out: Path, count: int = ROWS) -> Path:
    return write_labels(path, out, wrong, count)
