"""One triplet of an OUT in full: its images, its chain, its scores, its verdict in words."""

from __future__ import annotations

import difflib
from pathlib import Path

from annotate.checks.check import HOLDS
from annotate.errors import UsageError
from annotate.report import rows
from annotate.report.chain import LABEL, chain, labelled, reason_lines, score_words
from annotate.shards.published import read_manifest
from annotate.tables import parts, publishable_text
from annotate.text import plain
from schemas.manifest import Manifest
from schemas.row import Row

WIDTH = 100
NEAR = 5
_COMPARED = 400


def inspect(out: Path, triplet_id: str, width: int = WIDTH) -> str:
    """Everything that OUT says about a triplet, as plain lines. A unique end of an id will do.

    Raises `UsageError` with near matches for an unknown id, `OutputError` for an OUT without results.
    """
    manifest = read_manifest(out)
    files = [path for folder in rows.FOLDERS.values() for path in parts(out, folder)]
    wanted = publishable_text(triplet_id.strip())  # as ids are published
    found = next(rows.load(files, [wanted]), None)
    if found is None:
        ids = rows.all_ids(out)
        ends = [name for name in ids if name.endswith("/" + wanted)] if wanted else []
        if len(ends) != 1:
            raise UsageError(f"{out} has no triplet {plain(wanted, 80)!r}; {_advice(wanted, ends, ids)}")
        found = next(rows.load(files, ends))
    return "\n".join(_lines(found, manifest, width)) + "\n"


def near_matches(wanted: str, ids: list[str]) -> list[str]:
    """Up to `NEAR` ids that look like `wanted`, best first; quick for hundreds of thousands of ids."""
    inside = [name for name in ids if wanted and wanted in name]
    if len(inside) >= NEAR:
        return inside[:NEAR]
    alike = sorted(ids, key=lambda name: (-_shared(name, wanted), abs(len(name) - len(wanted)), name))
    close = difflib.get_close_matches(wanted, alike[:_COMPARED], n=NEAR, cutoff=0.5)
    return list(dict.fromkeys([*inside, *close]))[:NEAR]


def _shared(one: str, other: str) -> int:
    """Length of the common beginning."""
    pairs = zip(one, other, strict=False)
    return next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _advice(wanted: str, ends: list[str], ids: list[str]) -> str:
    if ends:
        return f"several end like that: {', '.join(ends[:NEAR])}"
    near = near_matches(wanted, ids)
    if near:
        return f"near matches: {', '.join(plain(name, 80) for name in near)}"
    return f"ids there look like {plain(ids[0], 80)}" if ids else "it has no rows at all"


def _lines(row: Row, manifest: Manifest, width: int) -> list[str]:
    def text(label: str, value: str | None) -> list[str]:
        return labelled(label, plain(value), width) if value else []

    lines = [f"{plain(row.triplet_id)}: {row.verdict}"]
    lines += reason_lines(row, width)
    lines += text("scores", score_words(row, manifest.thresholds))
    lines += text("doubtful", ", ".join(_doubtful(row, manifest.thresholds.get("p_grounded", HOLDS))))
    lines += text("not asked", ", ".join(row.skipped_checks))
    lines += text("detail", row.detail)
    lines += ["", *_image("reference", row.reference, row.reference_digest)]
    lines += _image("target", row.target, row.target_digest)
    lines += text("images in", f"{manifest.root} ({manifest.layout})")
    lines += ["", *chain(row, width)]
    lines += text("leaks", ", ".join(row.leak_claims))
    if len(row.modifications) > 1:
        lines += [
            line
            for index, words in enumerate(row.modifications, 1)
            for line in text(f"text {index}", f'"{words}"')
        ]
    lines.append("")
    lines += text("notes", ", ".join(row.notes))
    lines += text("positives", ", ".join(row.positives))
    lines += text("subset", ", ".join(row.subset))
    lines += text("fits also", ", ".join(row.also_matches))
    lines += text("record", row.native_id)
    shown = (
        "the target was shown to the writer"
        if row.teacher_sees_target
        else "the writer did not see the target"
    )
    lines += text("teacher", f"{row.teacher} ({shown}), prompts {row.prompt_version[:16]}, {row.source} data")
    return lines


def _doubtful(row: Row, least: float) -> list[str]:
    """Caption claims less probable than `p_grounded` must be; none where they were not asked one by one."""
    pairs = zip(row.caption_claims, row.claim_grounded, strict=False)
    return [f"{claim} ({p:.3f})" for claim, p in pairs if p < least]


def _image(label: str, name: str | None, digest: str | None) -> list[str]:
    known = f"sha256 {digest}" if digest else "not read"
    return [f"{label:<{LABEL}}{plain(name or 'none')}  ({known})"]
