"""FashionIQ, CIRR and CIRCO into one frozen `Triplet`; where their images lie. Opens no image."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from annotate.datasets import circo, cirr, fashioniq
from annotate.datasets.aspect_names import load_aspects
from annotate.datasets.captions import join_captions
from annotate.datasets.dirt import mark_dirt
from annotate.datasets.layouts import FoundImages, check_missing, find_images
from annotate.datasets.records import files_digest
from annotate.datasets.roots import NoRecords, check_root
from annotate.errors import UsageError
from schemas.triplet import DATASETS, Triplet

__all__ = [
    "FoundImages",
    "annotation_digest",
    "annotation_files",
    "categories",
    "check_missing",
    "default_split",
    "evaluated_images",
    "find_images",
    "join_captions",
    "load_aspects",
    "load_gallery",
    "load_triplets",
    "splits",
]


@dataclass(frozen=True, slots=True)
class _Reader:
    splits: tuple[str, ...]
    default_split: str
    categories: tuple[str, ...]
    annotation_files: Callable[[str, Path, str | None], list[Path]]
    load_triplets: Callable[[str, Path, str | None], list[Triplet]]
    load_gallery: Callable[[str, Path, str | None], list[str]]
    one_gallery: bool = False


_READERS = {
    "fashioniq": _Reader(
        fashioniq.SPLITS,
        fashioniq.DEFAULT_SPLIT,
        fashioniq.CATEGORIES,
        fashioniq.annotation_files,
        fashioniq.load_triplets,
        fashioniq.load_gallery,
    ),
    "cirr": _Reader(
        cirr.SPLITS, cirr.DEFAULT_SPLIT, (), cirr.annotation_files, cirr.load_triplets, cirr.load_gallery
    ),
    "circo": _Reader(
        circo.SPLITS,
        circo.DEFAULT_SPLIT,
        (),
        circo.annotation_files,
        circo.load_triplets,
        circo.load_gallery,
        one_gallery=True,
    ),
}


def splits(dataset: str) -> tuple[str, ...]:
    """The splits of a dataset, those without targets last."""
    return _reader(dataset).splits


def default_split(dataset: str) -> str:
    """The split that is annotated when none is named: train, for CIRCO val."""
    return _reader(dataset).default_split


def categories(dataset: str) -> tuple[str, ...]:
    """FashionIQ's three categories in their order; () for the others."""
    return _reader(dataset).categories


def load_triplets(dataset: str, split: str, root: Path, category: str | None = None) -> list[Triplet]:
    """Every record of a split in file order (FashionIQ: dress, shirt, toptee), dirt marked, none left out.

    Reads annotations only. Raises `UsageError` for an unknown dataset, split or category, `InputError` for a
    file or record that is broken or belongs elsewhere.
    """
    return mark_dirt(_checked(dataset, split, category).load_triplets(split, _root(root), category))


def evaluated_images(dataset: str, split: str, root: Path) -> dict[str, frozenset[str]]:
    """The images of the splits that are evaluated on, other than `split`: of their queries and galleries, in
    all categories, as far as their files are there. A gallery that all splits search says nothing of an image
    and is left out (CIRCO's). Raises `InputError` for a file that is there and broken: taken for an absent
    one, it would hide contamination."""
    others = [other for other in splits(dataset) if other not in (split, "train")]
    found: dict[str, set[str]] = {other: set() for other in others}
    for other, category in product(others, categories(dataset) or (None,)):
        with suppress(NoRecords):
            queries = load_triplets(dataset, other, root, category)
            found[other].update(name for each in queries for name in (each.reference, each.target) if name)
        if not _reader(dataset).one_gallery:
            with suppress(NoRecords):
                found[other].update(load_gallery(dataset, other, root, category))
    return {other: frozenset(images) for other, images in found.items()}


def load_gallery(dataset: str, split: str, root: Path, category: str | None = None) -> list[str]:
    """All image names among which a split's targets are searched, in file order, each once."""
    return _checked(dataset, split, category).load_gallery(split, _root(root), category)


def annotation_files(dataset: str, split: str, root: Path, category: str | None = None) -> list[Path]:
    """The files that `load_triplets` reads the triplets from."""
    return _checked(dataset, split, category).annotation_files(split, _root(root), category)


def annotation_digest(dataset: str, split: str, root: Path, category: str | None = None) -> str:
    """sha256 over those files: part of what a job is."""
    return files_digest(annotation_files(dataset, split, root, category))


def _root(root: Path) -> Path:
    check_root(Path(root))
    return Path(root)


def _reader(dataset: str) -> _Reader:
    if dataset not in _READERS:
        raise UsageError(f"DATASET {dataset!r} is unknown; use one of {', '.join(DATASETS)}")
    return _READERS[dataset]


def _checked(dataset: str, split: str, category: str | None) -> _Reader:
    reader = _reader(dataset)
    if split not in reader.splits:
        raise UsageError(f"SPLIT {split!r} is unknown for {dataset}; use one of {', '.join(reader.splits)}")
    if category is not None and category not in reader.categories:
        cure = f"use one of {', '.join(reader.categories)}" if reader.categories else "leave it out"
        raise UsageError(f"CATEGORY {category!r} is unknown for {dataset}; {cure}")
    return reader
