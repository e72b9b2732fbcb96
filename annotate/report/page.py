"""`report.html` of an OUT: counts, reasons, scores, examples with their pictures; one file, no scripts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from annotate.files import write_output
from annotate.report import rows
from annotate.report.chain import contamination_words, saw_target_words, unchecked_words
from annotate.report.histogram import HEIGHT, WIDTH, Histogram, histogram
from annotate.report.pictures import Pictures, data_uri
from annotate.selection import REASONS
from annotate.text import plain
from schemas.manifest import Manifest
from schemas.row import Row, Verdict

FOLDER = Path(__file__).resolve().parent
EXAMPLES = 12
MAX_TEXT = 1_200


@dataclass(frozen=True, slots=True)
class Example:
    """A row with its two pictures, and which claims differ between caption and conclusion."""

    row: Row
    reference: Markup | None
    target: Markup | None
    gone: frozenset[str]
    new: frozenset[str]
    scores: tuple[tuple[str, float, float | None], ...]


def write_report(out: Path, manifest: Manifest, pictures: Pictures, examples: int = EXAMPLES) -> Path:
    """Write OUT/report.html from the published files; returns its path.

    The same rows, pictures and manifest give the same bytes. Raises `OutputError` for broken published files.
    """
    path = out / "report.html"
    write_output(path, render(out, manifest, pictures, examples))
    return path


def render(out: Path, manifest: Manifest, pictures: Pictures, examples: int = EXAMPLES) -> str:
    """The page as text. Every text passes `plain` and is escaped; styles are allowed by digest."""
    styles = (FOLDER / "page.css").read_text(encoding="utf-8")
    shown: dict[Verdict, tuple[Example, ...]] = {
        verdict: tuple(_example(row, manifest, pictures) for row in rows.pick(out, verdict, examples))
        for verdict in rows.FOLDERS
    }
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            manifest=manifest,
            counts=manifest.counts,
            guided=saw_target_words(manifest),
            unchecked=unchecked_words(manifest),
            contamination=contamination_words(manifest),
            share=_shares(manifest),
            styles=Markup(styles),  # our own file
            style_digest=base64.b64encode(hashlib.sha256(styles.encode()).digest()).decode("ascii"),
            reasons=[(code, REASONS.get(code, ""), count) for code, count in _by_count(manifest.reasons)],
            histograms=_histograms(out, manifest),
            chart=(WIDTH, HEIGHT),
            examples=shown,
            reason_words=REASONS,
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["thousands"] = lambda number: f"{number:,}"
    environment.filters["percent"] = _percent
    return environment


def _shown(value: Any) -> Any:
    """Whatever a template prints: text becomes one harmless, bounded line; escaping follows."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return plain(value, MAX_TEXT)
    return value


def _percent(share: float) -> str:
    """A share as "93.4 %"; what is neither none nor all never rounds to it."""
    percent = 100 * share
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %" if percent not in (0, 100) else f"{percent:.0f} %"


def _shares(manifest: Manifest) -> dict[str, float]:
    counts = manifest.counts
    total = max(counts.input, 1)
    return {
        "accepted": counts.accepted / total,
        "rejected": counts.rejected / total,
        "quarantined": counts.quarantined / total,
    }


def _by_count(reasons: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0]))


def _histograms(out: Path, manifest: Manifest) -> list[Histogram]:
    return [
        histogram(name, Row.model_fields[name].description or "", values, manifest.thresholds.get(name))
        for name, values in rows.scores(out).items()
    ]


def _example(row: Row, manifest: Manifest, pictures: Pictures) -> Example:
    before, after = set(row.caption_claims), set(row.conclusion_claims)
    return Example(
        row=row,
        reference=_picture(row.reference_digest, pictures),
        target=_picture(row.target_digest, pictures),
        gone=frozenset(before - after) if after else frozenset(),
        new=frozenset(after - before),
        scores=tuple(
            (name, value, manifest.thresholds.get(name))
            for name in rows.SCORES
            if (value := getattr(row, name)) is not None
        ),
    )


def _picture(digest: str | None, pictures: Pictures) -> Markup | None:
    return data_uri(pictures(digest)) if digest else None
