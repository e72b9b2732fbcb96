"""The learning rate of a row of the table: a grid, each rate tried on nine tenths of the train rows.

The held-out tenth (by reference image) judges: mean reciprocal rank of the target among that dataset's own
pictures, with chains written by the model where it was trained to write them. No evaluation split is seen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from annotate.datasets import join_captions
from annotate.errors import InputError
from annotate.files import write_output
from annotate.text import parse_json
from retrieval.checkpoint import Card
from retrieval.data import is_held_out
from retrieval.encode import QueryText, encode_images, encode_queries, model_key
from retrieval.model import CirModel
from retrieval.ranking import ranks_by_embedding
from retrieval.schedule import Blank
from retrieval.sights import KeptSights, sights_of
from retrieval.sources import Source, read_group, row_groups

QUERIES, GALLERY = 200, 1000  # at most, a source


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Held-out rows of one source: what is asked, and which of `images` (name -> file) is wanted."""

    queries: tuple[QueryText, ...]
    references: tuple[str, ...]
    targets: tuple[str, ...]
    images: dict[str, Path]


def held_out(source: Source) -> HeldOut:
    """Up to `QUERIES` of a source's held-out rows, with their images and others up to `GALLERY`, both in an
    order that nobody chose: rows and names come sorted, by category too.

    Raises `InputError` when there are none.
    """
    read = (row for file, index in row_groups(source) for row in read_group(file, index))
    all_rows = [row for row in read if is_held_out(row["reference"])]
    rows = sorted(all_rows, key=lambda row: _scattered(row["triplet_id"]))[:QUERIES]
    if not rows:
        raise InputError(
            f"{source.out}: no row to choose a learning rate on; give more data, or one rate as --rates"
        )
    needed = dict.fromkeys(name for row in rows for name in (row["reference"], row["target"]))
    others = sorted(source.images, key=_scattered)
    names = list(dict.fromkeys([*needed, *others]))[: max(GALLERY, len(needed))]
    return HeldOut(
        queries=tuple(
            QueryText(source.images[row["reference"]], join_captions(tuple(row["modifications"]), "clip4cir"))
            for row in rows
        ),
        references=tuple(row["reference"] for row in rows),
        targets=tuple(row["target"] for row in rows),
        images={name: source.images[name] for name in names},
    )


def _scattered(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def mean_reciprocal_rank(
    model: CirModel,
    card: Card,
    parts: Sequence[HeldOut],
    folder: Path,
    *,
    chain: bool,
    blank: Blank,
    recipe: str,
    max_tokens: int,
    kept: KeptSights,
) -> float:
    """1/rank of the target, the reference left out, averaged over the queries of all parts; 0 for a model
    whose vectors are no numbers. `kept`: what training saw."""
    found: list[float] = []
    references, pictures = sights_of(model, recipe, blank == "image", kept)
    for part in parts:
        gallery = encode_images(model, model_key(card), part.images, folder, pictures)
        asked = [QueryText(q.reference, "" if blank == "text" else q.text) for q in part.queries]
        queries = encode_queries(model, asked, references, chain, max_tokens=max_tokens)
        if not (np.isfinite(queries.vectors).all() and np.isfinite(gallery.vectors).all()):
            return 0.0  # no number is better than another: such a model would be first
        column = {name: index for index, name in enumerate(gallery.names)}
        places = ranks_by_embedding(
            queries.vectors,
            gallery.vectors,
            np.array([column[name] for name in part.targets], dtype=np.int64),
            np.array([column[name] for name in part.references], dtype=np.int64),
        )
        found += (1.0 / places).tolist()
    return float(np.mean(found))


def choose_rate(rates: Sequence[float], trial: Callable[[float], float]) -> float:
    """The rate whose `trial` (its mean reciprocal rank) is best, the smaller of equals; one alone is not
    tried."""
    if len(rates) == 1:
        return rates[0]
    found = {rate: trial(rate) for rate in rates}
    return max(sorted(rates), key=lambda rate: found[rate])


def noted(note: Path, measure: Callable[[], float]) -> float:
    """What was measured, from the file `note` when it stands there: a trial is not measured twice."""
    with suppress(OSError, ValueError, KeyError, TypeError):  # none yet, or a damaged one
        return float(parse_json(note.read_bytes())["mean_reciprocal_rank"])
    found = measure()
    write_output(note, json.dumps({"mean_reciprocal_rank": found}) + "\n")
    return found
