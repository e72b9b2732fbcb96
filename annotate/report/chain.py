"""One row's chain as plain lines for a terminal; every foreign text passes `plain`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping

from annotate.checks import left_out
from annotate.report.rows import SCORES
from annotate.selection import REASONS
from annotate.text import plain
from schemas.manifest import Manifest
from schemas.row import Row

LABEL = 12


def labelled(label: str, text: str, width: int, lines: int | None = None) -> list[str]:
    """`label` and `text` in two columns, wrapped at `width`, cut with "…" after `lines`."""
    wrapped = textwrap.wrap(text, max(width - LABEL, 20), max_lines=lines, placeholder=" …") or [""]
    indented = [f"{label:<{LABEL}}{wrapped[0]}", *(" " * LABEL + line for line in wrapped[1:])]
    return [line.rstrip() for line in indented]


def chain(row: Row, width: int, lines: int | None = None) -> list[str]:
    """Asked text, caption, edits, kept, conclusion: what there is of them. `lines` bounds each of them."""

    def text(label: str, value: str) -> list[str]:
        return labelled(label, value, width, lines) if value else []

    edits = "; ".join(f"{_one(e.aspect)}: {_one(e.from_)} -> {_one(e.to)}" for e in row.edits)
    return [
        *text("asked", f'"{_one(row.modification)}"'),
        *text("caption", _joined(row.caption_claims)),
        *text("because", _one(row.rationale or "")),
        *text("edits", edits),
        *text("kept", _joined(row.kept)),
        *text("conclusion", _joined(row.conclusion_claims)),
    ]


def score_words(row: Row, thresholds: Mapping[str, float]) -> str:
    """`p_match 0.031 (threshold 0.95)` for every score there is."""
    words = []
    for name in SCORES:
        value = getattr(row, name)
        if value is not None:
            least = f" (threshold {thresholds[name]:g})" if name in thresholds else ""
            words.append(f"{name} {value:.3f}{least}")
    return ", ".join(words)


def decisive_scores(row: Row, thresholds: Mapping[str, float]) -> str:
    """Of an accepted row the two scores that are least above their thresholds, else those below theirs.

    A threshold of 1 leaves nothing above it, so that score is the same for every accepted row.
    """
    found = {name: value for name in thresholds if (value := getattr(row, name)) is not None}
    below = [name for name, value in found.items() if value < thresholds[name]]
    telling = [name for name in found if thresholds[name] < 1] or list(found)
    nearest = sorted(telling, key=lambda name: found[name] - thresholds[name])[:2]
    chosen = below if row.verdict == "rejected" else nearest
    words = (f"{name} {found[name]:.3f} (threshold {thresholds[name]:g})" for name in chosen[:2])
    return ", ".join(words) + (f" and {len(chosen) - 2} more" if len(chosen) > 2 else "")


def cost_words(manifest: Manifest) -> str:
    """Requests of the checks a triplet, by check, and in all for an accepted row."""
    judged = manifest.counts.accepted + manifest.counts.rejected
    if not judged or not manifest.costs:
        return ""
    total = sum(manifest.costs.values())
    each = ", ".join(f"{name} {requests / judged:.1f}" for name, requests in manifest.costs.items())
    kept = f", {total / manifest.counts.accepted:.1f} an accepted row" if manifest.counts.accepted else ""
    return f"{total / judged:.1f} check requests a triplet ({each}){kept}"


def threshold_words(manifest: Manifest) -> str:
    """The thresholds in force as THRESHOLDS= takes them."""
    return ", ".join(f"{name}={least:g}" for name, least in manifest.thresholds.items())


def left_out_words(manifest: Manifest) -> str:
    """How many rows were left out, and how often each reason stands there: a row may have several."""
    rows = manifest.counts.rejected + manifest.counts.quarantined
    named = sorted(manifest.reasons.items(), key=lambda entry: (-entry[1], entry[0]))
    total = sum(manifest.reasons.values())
    several = "" if total == rows else f", {total:,} reasons"
    return f"{rows:,} rows{several}: " + ", ".join(f"{code} {count:,}" for code, count in named)


def unchecked_words(manifest: Manifest) -> str:
    """Which default checks never ran; "" where all did."""
    unchecked = left_out(manifest.checks)
    if not unchecked:
        return ""
    return f"{', '.join(unchecked)} never ran (CHECKS): no row was rejected for what they detect"


def saw_target_words(manifest: Manifest) -> str:
    """How many rows were written with the target shown, where others were not; "" for none."""
    if manifest.teacher_sees_target or not manifest.saw_target:
        return ""
    shown, counts = manifest.saw_target, manifest.counts
    rejected = (
        f" and {shown['rejected']:,} of {counts.rejected:,} rejected ones" if shown.get("rejected") else ""
    )
    return (
        f"{shown.get('accepted', 0):,} of {counts.accepted:,} accepted rows{rejected} were written with the "
        "target shown (GUIDED=1): of another kind than blind rows, marked by teacher_sees_target"
    )


def contamination_words(manifest: Manifest) -> str:
    """How many rows have an image that an evaluated split has, too, by note."""
    return ", ".join(
        f"{note}: {rows.get('accepted', 0):,} accepted rows of {sum(rows.values()):,}"
        for note, rows in manifest.contamination.items()
    )


def precision_words(manifest: Manifest) -> str:
    """The estimated precision with its interval and how it was obtained; that there is none."""
    precision = manifest.precision
    if precision is None:
        return "not estimated (docs/trust.md says how: label, calibrate, select)"
    return (
        f"{precision.estimate:.1%}, {precision.confidence:.0%} interval {precision.low:.1%} to "
        f"{precision.high:.1%}, promised {precision.promised:g}; {precision.method}, "
        f"{precision.kept_labels:,} kept labels"
    )


def reason_lines(row: Row, width: int, lines: int | None = None) -> list[str]:
    """Each reason code with its words."""
    return [
        line
        for code in row.reasons
        for line in labelled(
            "reason", f"{plain(code)}: {REASONS.get(code, 'unknown to this version')}", width, lines
        )
    ]


def _one(text: str) -> str:
    return plain(text, 600)


def _joined(texts: Iterable[str]) -> str:
    return ", ".join(_one(text) for text in texts)
