"""Triplets as they are planned, before anything is written, and their lines in truth.jsonl."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sample.looks import Edit, Look, apply, differences

# Image name -> what it shows, for one gallery (a split, a category, a whole dataset).
Gallery = dict[str, Look]


@dataclass(slots=True, kw_only=True)
class Planned:
    """One triplet: names of images, what the text asks, the text(s), and the dirt planted in it.

    `extra` holds what only one dataset's files say (CIRR's subset and ranks, CIRCO's right targets).
    """

    reference: str
    target: str
    edits: list[Edit]
    texts: list[str]
    category: str | None = None
    dirt: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


def fulfils(look: Look, edits: Iterable[Edit]) -> bool:
    """Whether a picture shows every edit's new value."""
    values = look.as_dict()
    return all(values[edit.aspect] == edit.new for edit in edits)


def unmentioned(reference: Look, edits: Iterable[Edit], target: Look) -> list[Edit]:
    """What differs between reference and target in the aspects that no edit touches."""
    edits = list(edits)
    touched = {edit.aspect for edit in edits}
    return [edit for edit in differences(apply(reference, edits), target) if edit.aspect not in touched]


def truth_line(triplet_id: str, planned: Planned, gallery: Mapping[str, Look]) -> str:
    """The triplet's line in truth.jsonl; a wrong target is described as it is, not as it should be."""
    reference, target = gallery[planned.reference], gallery[planned.target]
    line = {
        "triplet_id": triplet_id,
        "reference": {"image": planned.reference, "attributes": reference.as_dict()},
        "target": {"image": planned.target, "attributes": target.as_dict()},
        "edits": [edit.as_dict() for edit in planned.edits],
        "unmentioned": [edit.as_dict() for edit in unmentioned(reference, planned.edits, target)],
        "dirt": planned.dirt,
    }
    return json.dumps(line, ensure_ascii=False) + "\n"


def write_json(path: Path, value: object, indent: int | None = None) -> None:
    """JSON as the real files have it: UTF-8, no final newline."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=indent), encoding="utf-8")
