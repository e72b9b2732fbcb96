"""What is measured on: the queries and the gallery of a dataset's split, found and checked before anything is
asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from annotate.datasets import annotation_digest, categories, find_images, load_gallery, load_triplets
from annotate.datasets.roots import check_root, looks_like
from annotate.errors import InputError, UsageError
from annotate.shards.plan import job_digest
from retrieval.evaluate import Choices, EvalSet
from retrieval.pictures import damaged
from retrieval.protocols import Expected
from retrieval.queries import fashioniq_gallery
from retrieval.sources import split_root
from schemas.triplet import DATASETS, Dataset, Triplet

EVALUATION_SPLIT = "val"


def open_eval_sets(
    dataset: Dataset,
    root: Path,
    choices: Choices,
    split: str = EVALUATION_SPLIT,
    category: str | None = None,
    say: Callable[[str], None] = lambda line: None,
    decode: bool = False,
) -> list[EvalSet]:
    """The evaluation sets of a dataset: one, or one per FashionIQ category.

    Raises `InputError` naming an image or a query that is lacking, with `decode` also a picture that is
    damaged. With `choices.allow_missing` every picture is tried, queries whose images are gone or damaged
    are left out, and the counts say so.
    """
    chosen: list[str | None] = [category] if category else [*categories(dataset)] or [None]
    return [_open(dataset, root, choices, split, each, say, decode) for each in chosen]


def query_jobs(roots: Mapping[Dataset, Path], category: str | None = None) -> set[str]:
    """The annotation jobs of the queries that are evaluated: what an OUT with their chains must be of."""
    return {
        job_digest(dataset, EVALUATION_SPLIT, part, annotation_digest(dataset, EVALUATION_SPLIT, root, part))
        for dataset, root in roots.items()
        for part in {None, category}
    }


def parse_roots(given: Sequence[str]) -> dict[Dataset, Path]:
    """`DATASET=ROOT`, or just ROOT: then by the annotation files in it, or in the folders directly below it.

    Raises `UsageError` for an unknown dataset or a folder in which no dataset is recognised.
    """
    found: list[tuple[Dataset, Path]] = []
    for text in given:
        dataset, root = split_root(text)
        if dataset is not None:
            found.append((dataset, root))
            continue
        pairs = [(name, folder) for folder in _folders(root) for name in looks_like(folder)]
        if not pairs:
            raise UsageError(f"--eval-root {text}: holds none of {', '.join(DATASETS)}; pass DATASET=ROOT")
        found += pairs
    for dataset, _ in found:
        if len({folder for name, folder in found if name == dataset}) > 1:
            raise UsageError(f"--eval-root: several folders of {dataset}; pass one as {dataset}=ROOT")
    return dict(found)


def _folders(root: Path) -> list[Path]:
    """A folder and those directly below it; raises `InputError` when it cannot be listed."""
    check_root(root)
    return [*sorted((path for path in root.iterdir() if path.is_dir()), reverse=True), root]


def _open(
    dataset: Dataset,
    root: Path,
    choices: Choices,
    split: str,
    category: str | None,
    say: Callable[[str], None],
    decode: bool,
) -> EvalSet:
    triplets = load_triplets(dataset, split, root, category)
    names: Sequence[str] = load_gallery(dataset, split, root, category)
    if dataset == "fashioniq":
        names = fashioniq_gallery(names, triplets, choices.gallery)
    needed = dict.fromkeys([*names, *(triplet.reference for triplet in triplets)])
    found = find_images(dataset, split, root, needed, category)
    what = " ".join(filter(None, (dataset, split, category)))
    if found.missing and not choices.allow_missing:
        raise InputError(
            f"{root}: gallery image {found.missing[0]} and {len(found.missing) - 1} more are missing of "
            f"{what}; {_cure(split)}"
        )
    paths = dict(found.paths)
    if decode or choices.allow_missing:
        broken = damaged(paths, what, say)
        if broken and not choices.allow_missing:
            first = next(iter(broken.values()))
            raise InputError(f"{first}; {len(broken) - 1} more of {what} are damaged: {_cure(split)}")
        paths = {name: path for name, path in paths.items() if name not in broken}
    present = tuple(name for name in names if name in paths)
    have = set(present)
    kept = tuple(t for t in triplets if _askable(t, have, paths, dataset))
    if not kept:
        raise InputError(f"{root}: no query of {what} has its images; check the root")
    if len(kept) < len(triplets) and not choices.allow_missing:
        lost = next(t for t in triplets if not _askable(t, have, paths, dataset))
        raise InputError(
            f"{root}: {lost.triplet_id} and {len(triplets) - len(kept) - 1} more queries name an image that "
            f"the gallery of {what} lacks; take captions and split files of one release"
        )
    expected = Expected([t.triplet_id for t in triplets], names, choices.allow_missing)
    digest = hashlib.sha256(annotation_digest(dataset, split, root, category).encode()).hexdigest()
    return EvalSet(dataset, split, category, kept, present, paths, expected, digest)


def _cure(split: str) -> str:
    if split != EVALUATION_SPLIT:
        return "put them back, for a submission needs every image"
    return "put them back, or pass --allow-missing (to make: ALLOW_MISSING=1) and have the counts say so"


def _askable(triplet: Triplet, gallery: set[str], paths: Mapping[str, Path], dataset: str) -> bool:
    needed = {triplet.target, *triplet.subset} if dataset == "cirr" else {triplet.target, *triplet.positives}
    return triplet.reference in paths and all(name in gallery for name in needed if name is not None)
