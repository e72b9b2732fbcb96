"""The endless stream of training examples: streamed row groups, seeded order, datasets mixed by weight.

A tenth of the references is left out on request (`hold_out`): what learning rates are chosen on.
The order is a function of the seed alone: example number n is the same in every run, so a run resumes by
skipping the n examples that it has seen. Skipping reads no image.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from annotate.datasets import join_captions
from annotate.errors import InputError, UsageError
from retrieval.objective import image_key
from retrieval.sources import Source, read_group, read_rows, row_chain, row_groups
from schemas.triplet import CaptionMode

TrainCaptions = Literal["both", "clip4cir", "and"]
CAPTION_MODES: Mapping[TrainCaptions, tuple[CaptionMode, ...]] = {
    "both": ("clip4cir", "reversed"),  # a chain answers both captions: with one alone it would be invented
    "clip4cir": ("clip4cir", "reversed", "first", "second"),
    "and": ("and",),
}
"""FashionIQ: the ways to put an example's captions, each as likely."""
HOLD_OUT_ONE_IN = 10
WINDOW_GROUPS = 2  # row groups shuffled together: what is in memory at once


@dataclass(frozen=True, slots=True)
class Example:
    """One triplet to train on; images by path, the positives that must not be pushed away by key."""

    triplet_id: str
    text: str
    chain: str
    reference: Path
    reference_digest: str
    target: Path
    target_digest: str
    target_key: int
    positive_keys: tuple[int, ...]
    hard: tuple[Path, ...]
    hard_keys: tuple[int, ...]


def examples(
    sources: Sequence[Source],
    seed: int,
    skip: int = 0,
    weights: Mapping[str, float] | None = None,
    captions: TrainCaptions = "both",
    hard_negatives: int = 0,
    hold_out: bool = False,
) -> Iterator[Example]:
    """The stream from example number `skip` on; it never ends.

    `weights` for each dataset (default: by rows). FashionIQ's `captions`: "both" takes c1 and c2 or c2 and
    c1, "clip4cir" (CLIP4Cir's augmentation) these, c1 or c2, "and" always the starter kit's form.
    `hard_negatives`: so many of CIRR's other members. `hold_out`: without the rows whose reference
    `is_held_out`.
    """
    chances = chances_of(sources, weights)
    choice = random.Random(f"{seed} mix")
    streams = [
        _rows(source, random.Random(f"{seed} {source.manifest.job} order"), hold_out) for source in sources
    ]
    number = 0
    while True:
        picked = choice.choices(range(len(sources)), chances)[0]
        row = next(streams[picked])
        if number >= skip:
            rng = random.Random(f"{seed} {number}")
            yield _example(row, sources[picked], rng, captions, hard_negatives)
        number += 1


def chances_of(sources: Sequence[Source], weights: Mapping[str, float] | None) -> list[float]:
    """How often each source is drawn; a dataset's weight is shared by its sources according to their rows.

    Raises `UsageError` for weights that do not weigh the sources' datasets.
    """
    rows: dict[str, int] = {}
    for source in sources:
        rows[source.dataset] = rows.get(source.dataset, 0) + source.n_rows
    chosen = rows if weights is None else weights
    if set(chosen) != set(rows) or min(chosen.values()) < 0 or not sum(chosen.values()):
        raise UsageError(
            f"weights {dict(chosen)} do not weigh the datasets {', '.join(rows)}; give each its own"
        )
    return [chosen[source.dataset] * source.n_rows / rows[source.dataset] for source in sources]


def is_held_out(reference: str) -> bool:
    """Whether a reference image is of the tenth that learning rates are chosen on; by its name alone."""
    return hashlib.sha256(reference.encode()).digest()[0] % HOLD_OUT_ONE_IN == 0


def _rows(source: Source, rng: random.Random, hold_out: bool) -> Iterator[dict[str, Any]]:
    """Rows of a source for ever: row groups in a new order each epoch, rows shuffled in a window of a few."""
    groups = row_groups(source)
    while True:
        empty = True
        rng.shuffle(groups)
        for start in range(0, len(groups), WINDOW_GROUPS):
            rows = [
                row
                for file, index in groups[start : start + WINDOW_GROUPS]
                for row in read_group(file, index)
                if not (hold_out and is_held_out(row["reference"]))
            ]
            rng.shuffle(rows)
            empty = empty and not rows
            yield from rows
        if empty:
            raise InputError(f"{source.out}: every reference is held out; give more data")


def _example(
    row: dict[str, Any], source: Source, rng: random.Random, captions: TrainCaptions, hard_negatives: int
) -> Example:
    mode = rng.choice(CAPTION_MODES[captions])
    candidates = _look_alikes(row, source)
    hard = rng.sample(list(candidates), min(hard_negatives, len(candidates)))
    return Example(
        triplet_id=row["triplet_id"],
        text=join_captions(tuple(row["modifications"]), mode),
        chain=row_chain(row),
        reference=source.images[row["reference"]],
        reference_digest=row["reference_digest"],
        target=source.images[row["target"]],
        target_digest=row["target_digest"],
        target_key=image_key(source.dataset, row["target"]),
        positive_keys=tuple(image_key(source.dataset, name) for name in _fitting(row)),
        hard=tuple(candidates[name] for name in hard),
        hard_keys=tuple(image_key(source.dataset, name) for name in hard),
    )


def hard_negatives_a_row(sources: Sequence[Source], asked: int) -> float:
    """How many of the hard negatives that are `asked` for a row has on average: FashionIQ knows none."""
    columns = ["reference", "target", "subset", "positives", "also_matches"]
    found = [
        min(asked, len(_look_alikes(row, source)))
        for source in sources
        for path in source.files
        for row in read_rows(path, columns)
    ]
    return sum(found) / len(found)


def _fitting(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Every image that is known to answer the row, its target first."""
    return (row["target"], *row["positives"], *row["also_matches"])


def _look_alikes(row: Mapping[str, Any], source: Source) -> dict[str, Path]:
    """The members of the row's subset that are wrong answers, and where those that are there lie."""
    wrong = [name for name in row["subset"] if name not in (row["reference"], *_fitting(row))]
    found = {name: source.images.get(name) or source.members.get(name) for name in wrong}
    return {name: path for name, path in found.items() if path is not None}
