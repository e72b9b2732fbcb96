"""Rows for tests."""

from __future__ import annotations

from typing import Any

from annotate.checks import CHECKS
from schemas.answers import Edit
from schemas.row import Row


def make_row(number: int, **changes: Any) -> Row:
    """An accepted CIRR row; `changes` override columns."""
    values: dict[str, Any] = {
        "triplet_id": f"cirr/train/{number}",
        "dataset": "cirr",
        "split": "train",
        "category": None,
        "reference": f"ref-{number}",
        "reference_digest": "a" * 64,
        "target": f"target-{number}",
        "target_digest": "b" * 64,
        "modification": "make it blue",
        "modifications": ("make it blue",),
        "subset": (),
        "positives": (),
        "native_id": str(number),
        "notes": (),
        "caption": "red ball",
        "caption_claims": ("red ball",),
        "rationale": "blue now",
        "edits": (Edit(aspect="ball", from_="red", to="blue"),),
        "kept": ("background",),
        "conclusion": "blue ball",
        "conclusion_claims": ("blue ball",),
        **{column: 1.0 for check in CHECKS for column in check.columns},
        **{column: () for check in CHECKS for column in check.details},
        "skipped_checks": (),
        "attempt": 0,
        "p_match": 0.99,
        "verdict": "accepted",
        "reasons": (),
        "detail": None,
        "teacher": "tiny",
        "teacher_sees_target": False,
        "prompt_version": "c" * 64,
        "source": "sample",
        **changes,
    }
    return Row.model_validate(values)
