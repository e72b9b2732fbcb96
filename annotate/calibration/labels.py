"""Labels files: JSON Lines, one judgement a line, appended as they are made; several people, agreement."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from pydantic import ValidationError

from annotate.errors import InputError, OutputError
from annotate.files import read_regular
from schemas.calibration import Label
from schemas.row import Row

MOST_BYTES = 256 << 20
"""A million labels by one person."""
JUDGED = frozenset(
    {
        "triplet_id",
        "reference_digest",
        "target_digest",
        "modification",
        "caption_claims",
        "rationale",
        "edits",
        "kept",
        "conclusion_claims",
    }
)
"""Columns that a person judges: what `annotate label` shows."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far people who judged the same rows agree: share of equal judgements over all pairs, and Cohen's
    kappa (None where all say the same)."""

    people: tuple[str, ...]
    pairs: int
    share: float | None
    kappa: float | None


def read_labels(path: Path) -> list[Label]:
    """All labels of a file; of two by one person about one row the later one. Raises `InputError`."""
    try:
        # by "\n" alone: a note may hold what else `splitlines` takes for the end of a line
        lines = read_regular(path, MOST_BYTES).decode("utf-8-sig").split("\n")
    except OSError as error:
        why = error.strerror or error
        raise InputError(f"{path}: cannot be read ({why}); make it with `annotate label`") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; give a labels file") from error
    found: dict[tuple[str, str], Label] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            label = Label.model_validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "line"
            raise InputError(
                f"{path}, line {number}: no label: {where[:80]}: {first['msg'][:200]}; mend or drop it"
            ) from error
        found[(label.triplet_id, label.person)] = label
    return list(found.values())


def append_label(path: Path, label: Label) -> None:
    """Add one label at once, so that none is lost when the person stops. Raises `OutputError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as handle:
            if handle.tell():
                handle.seek(-1, os.SEEK_END)
            end = b"" if handle.read(1) in (b"", b"\n") else b"\n"  # of a line that an editor left open
            handle.write(end + label.model_dump_json().encode() + b"\n")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); give another --labels") from error


def judged(row: Row) -> str:
    """sha256 of what a label of this row is about; of nothing that no person looks at."""
    return hashlib.sha256(row.model_dump_json(include=set(JUDGED)).encode()).hexdigest()


def outdated(labels: Iterable[Label], rows: Mapping[str, Row]) -> Label | None:
    """The first label that is of something else than these rows hold."""
    digests = {name: judged(row) for name, row in rows.items()}
    return next((label for label in labels if label.judged != digests.get(label.triplet_id)), None)


def strata_of(labels: Sequence[Label], path: Path) -> dict[str, int]:
    """How many rows each stratum of the draw has; {} for labels without a draw. Raises `InputError` for
    labels of several draws, which stand for different rows, and for strata of which nothing was labelled."""
    strata = labels[0].strata
    stratum: dict[str, str] = {}
    for label in labels:
        if label.strata != strata or stratum.setdefault(label.triplet_id, label.stratum) != label.stratum:
            raise InputError(
                f"{path}: the label of {label.triplet_id} by {label.person} was drawn from other rows than "
                f"that of {labels[0].triplet_id}; keep labels of one draw in one file"
            )
    labelled = Counter(stratum.values())
    for name, size in strata.items():
        if not labelled[name]:
            raise InputError(f"{path}: none of the {size:,} {name} rows is labelled yet; label on")
        if labelled[name] > size:
            raise InputError(
                f"{path}: labels of {labelled[name]:,} {name} rows where {size:,} were drawn from"
            )
    return dict(strata)


def labels_digest(path: Path) -> str:
    """sha256 of a labels file."""
    return hashlib.sha256(read_regular(path, MOST_BYTES)).hexdigest()


def merged(labels: Iterable[Label]) -> dict[str, Label]:
    """One label a row: right where most people say so; a tie or a doubt counts as wrong: the promise is about
    errors."""
    rows: dict[str, list[Label]] = defaultdict(list)
    for label in labels:
        rows[label.triplet_id].append(label)
    return {
        name: given[0].model_copy(update={"right": 2 * sum(one.right is True for one in given) > len(given)})
        for name, given in rows.items()
    }


def agreement(labels: Sequence[Label]) -> Agreement:
    """Over every pair of people and the rows that both judged without doubt."""
    said: dict[str, dict[str, bool]] = defaultdict(dict)
    for label in labels:
        if label.right is not None:
            said[label.person][label.triplet_id] = label.right
    people = tuple(sorted({label.person for label in labels}))
    first, second = _pairs(said, people)
    if not first:
        return Agreement(people, 0, None, None)
    share = sum(a == b for a, b in zip(first, second, strict=True)) / len(first)
    yes, also = sum(first) / len(first), sum(second) / len(second)
    by_chance = yes * also + (1 - yes) * (1 - also)
    kappa = (share - by_chance) / (1 - by_chance) if by_chance < 1 else None
    return Agreement(people, len(first), share, kappa)


def _pairs(said: Mapping[str, Mapping[str, bool]], people: Sequence[str]) -> tuple[list[bool], list[bool]]:
    first, second = [], []
    for one, other in combinations(people, 2):
        for name in sorted(said[one].keys() & said[other].keys()):
            first.append(said[one][name])
            second.append(said[other][name])
    return first, second
