"""The last screen of a run: counts, three examples, what was written and where, what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from annotate.report import rows
from annotate.report.chain import (
    LABEL,
    chain,
    cost_words,
    decisive_scores,
    labelled,
    left_out_words,
    precision_words,
    reason_lines,
    saw_target_words,
    threshold_words,
    unchecked_words,
)
from annotate.selection import REASONS
from annotate.text import plain
from schemas.manifest import Manifest
from schemas.row import Row, Verdict

WIDTH = 100
MAX_LINES = 40


@dataclass(frozen=True, slots=True)
class Examples:
    """At most one row of each verdict."""

    accepted: Row | None
    rejected: Row | None
    quarantined: Row | None


def pick_examples(out: Path) -> Examples:
    """One row of each verdict of a published OUT, the same whenever the rows are the same."""

    def first(verdict: Verdict) -> Row | None:
        return next(iter(rows.pick(out, verdict, 1)), None)

    return Examples(first("accepted"), first("rejected"), first("quarantined"))


def final_screen(
    manifest: Manifest,
    examples: Examples,
    paths: Sequence[tuple[str, str]],
    next_steps: Sequence[tuple[str, str]],
    width: int = WIDTH,
) -> str:
    """At most some 40 lines of at most `width` columns.

    `paths` are (what, path), `next_steps` (what for, command line); both shown whole, since they are copied.
    """
    tail = [f"{plain(what):<{LABEL}}{plain(path)}" for what, path in paths]
    if next_steps:
        column = max(len(plain(what)) for what, _ in next_steps) + 2
        tail += ["", "Next"]
        tail += [f"  {plain(what):<{column}}{plain(command)}" for what, command in next_steps]
    head = [*_head(manifest, width), ""]
    for chain_lines in (2, 1):
        body = _examples(examples, manifest, width, chain_lines)
        if len(head) + len(body) + len(tail) <= MAX_LINES:
            break
    return "\n".join([*head, *body, *tail]) + "\n"


def _examples(examples: Examples, manifest: Manifest, width: int, chain_lines: int) -> list[str]:
    lines: list[str] = []
    if examples.accepted:
        lines += _example("accepted", examples.accepted, manifest, width, chain_lines)
    if examples.rejected:
        lines += _example("rejected", examples.rejected, manifest, width, chain_lines=1)
    if examples.quarantined:
        lines += _example("quarantined", examples.quarantined, manifest, width, chain_lines=0)
    return lines


def _head(manifest: Manifest, width: int) -> list[str]:
    counts = manifest.counts
    where = "/".join(part for part in (manifest.dataset, manifest.split, manifest.category) if part)
    drawn = "" if manifest.limit is None else f" (LIMIT={manifest.limit})"
    lines = [
        f"{where}: {counts.input:,} triplets{drawn} = {counts.accepted:,} accepted "
        f"+ {counts.rejected:,} rejected + {counts.quarantined:,} quarantined"
    ]
    if counts.input and not counts.accepted:
        lines += labelled(
            "NOTHING", f"was accepted, so there is nothing to train on; {_most(manifest)}", width
        )
    if manifest.reasons:
        lines += labelled("left out", left_out_words(manifest), width, 2)
    lines += labelled("thresholds", threshold_words(manifest), width, 2)
    if unchecked := unchecked_words(manifest):
        lines += labelled("NOT CHECKED", unchecked, width, 1)
    if cost := cost_words(manifest):
        lines += labelled("cost", cost, width, 2)
    if manifest.precision is not None:
        lines += labelled("precision", precision_words(manifest), width, 2)
    if manifest.teacher_sees_target:
        lines += labelled("LEAKAGE", "the writer was shown the target; every row is marked", width)
    if guided := saw_target_words(manifest):
        lines += labelled("LEAKAGE", guided, width, 2)
    missing = counts.input - counts.accepted - counts.rejected - counts.quarantined
    if manifest.status != "complete":
        lines += labelled(
            "INCOMPLETE", f"{missing:,} triplets have no row yet; the same command goes on", width
        )
    return lines


def _most(manifest: Manifest) -> str:
    """Why most rows were left out, and where to look."""
    if not manifest.reasons:
        return "no row is finished yet"
    code, rows = max(manifest.reasons.items(), key=lambda entry: entry[1])
    words = REASONS.get(code, "a reason unknown to this version").rstrip(".")
    return f"{rows:,} rows as {code}: {words}. Look at the examples, then at the teacher and the images"


def _example(verdict: str, row: Row, manifest: Manifest, width: int, chain_lines: int) -> list[str]:
    scores = decisive_scores(row, manifest.thresholds)
    title = f"{verdict}: {plain(row.triplet_id, 60)}"
    lines = [title + (f", {scores}" if scores else "")]
    if chain_lines:
        lines += ["  " + line for line in chain(row, width - 2, chain_lines)]
    elif row.modification:
        lines += ["  " + line for line in labelled("asked", f'"{plain(row.modification)}"', width - 2, 1)]
    lines += ["  " + line for line in reason_lines(row, width - 2, 1)]
    return [*lines, ""]
