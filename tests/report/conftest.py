"""A published OUT as the report reads it: rows made by hand, real Parquet files, a real manifest."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from annotate.checks import CHECKS
from annotate.tables import to_table, write_table
from schemas.answers import Edit
from schemas.manifest import Counts, Manifest
from schemas.row import Row

MakeRow = Callable[..., Row]
Publish = Callable[..., Manifest]


@pytest.fixture
def make_row() -> MakeRow:
    """`make_row(number, **changes)`: an accepted CIRR row about a ball that turns blue."""

    def make(number: int, **changes: Any) -> Row:
        values: dict[str, Any] = {
            "triplet_id": f"cirr/train/{number}",
            "dataset": "cirr",
            "split": "train",
            "category": None,
            "reference": f"ref-{number}",
            "reference_digest": "a" * 64,
            "target": f"target-{number}",
            "target_digest": "b" * 64,
            "modification": "make the ball blue",
            "modifications": ("make the ball blue",),
            "subset": (),
            "positives": (),
            "native_id": str(number),
            "notes": (),
            "caption": "red ball, sand background",
            "caption_claims": ("red ball", "sand background"),
            "rationale": "turn the ball blue",
            "edits": (Edit.model_validate({"aspect": "ball", "from": "red", "to": "blue"}),),
            "kept": ("background",),
            "conclusion": "blue ball, sand background",
            "conclusion_claims": ("blue ball", "sand background"),
            **{column: None for check in CHECKS for column in check.columns},
            **{column: () for check in CHECKS for column in check.details},
            "skipped_checks": (),
            "attempt": 0,
            "p_match": 0.99,
            "verdict": "accepted",
            "reasons": (),
            "detail": None,
            "teacher": "some-teacher",
            "teacher_sees_target": False,
            "prompt_version": "c" * 64,
            "source": "user",
        }
        return Row(**{**values, **changes})

    return make


@pytest.fixture
def rejected(make_row: MakeRow) -> MakeRow:
    """A row whose conclusion does not fit its target."""
    return lambda number, **changes: make_row(
        number, **{"verdict": "rejected", "reasons": ("target_mismatch",), "p_match": 0.25, **changes}
    )


@pytest.fixture
def quarantined(make_row: MakeRow) -> MakeRow:
    """A row without a chain."""
    empty: dict[str, Any] = dict.fromkeys(("caption", "rationale", "conclusion", "p_match", "target_digest"))
    empty |= dict.fromkeys(("caption_claims", "edits", "kept", "conclusion_claims"), ())
    return lambda number, **changes: make_row(
        number,
        **{**empty, "verdict": "quarantined", "reasons": ("missing_image",), "detail": "gone", **changes},
    )


@pytest.fixture
def publish(tmp_path: Path) -> Publish:
    """`publish(rows, **changes)`: writes OUT (= tmp_path) as `annotate.shards.publish` lays it out."""

    def write(rows: Sequence[Row], **changes: Any) -> Manifest:
        folders = {
            "train": ("accepted",),
            "rejected": ("rejected",),
            "quarantine": ("quarantined",),
            "annotations": ("accepted", "rejected"),
        }
        for folder, verdicts in folders.items():
            chosen = sorted((r for r in rows if r.verdict in verdicts), key=lambda row: row.triplet_id)
            write_table(to_table(chosen), tmp_path / folder / "part-00000.parquet")
        counts = Counter(row.verdict for row in rows)
        values: dict[str, Any] = {
            "status": "complete",
            "counts": Counts(
                input=len(rows),
                accepted=counts["accepted"],
                rejected=counts["rejected"],
                quarantined=counts["quarantined"],
            ),
            "job": "d" * 64,
            "dataset": "cirr",
            "split": "train",
            "category": None,
            "source": "user",
            "root": "data/CIRR",
            "layout": "img_raw",
            "image_recipe": "fit448-q90-v1",
            "limit": None,
            "seed": 7,
            "teacher": "some-teacher",
            "teacher_sees_target": False,
            "prompts": {"caption": "e" * 64},
            "prompt_version": "c" * 64,
            "thresholds": {"p_match": 0.95},
            "checks": ("target_match",),
            "costs": {"target_match": 4},
            "precision": None,
            "reasons": dict(sorted(Counter(code for row in rows for code in row.reasons).items())),
            "files": {},
            "versions": {"python": "3.11"},
        }
        manifest = Manifest(**{**values, **changes})
        (tmp_path / "manifest.json").write_text(manifest.model_dump_json())
        return manifest

    return write


@pytest.fixture
def jpeg() -> bytes:
    """A stored picture, larger than the report shows."""
    buffer = io.BytesIO()
    Image.new("RGB", (448, 300), "red").save(buffer, "JPEG")
    return buffer.getvalue()
