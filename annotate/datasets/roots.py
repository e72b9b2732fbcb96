"""Is this ROOT there, and whose is it? Every complaint about a dataset folder is made here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from annotate.errors import InputError
from schemas.triplet import DATASETS, Dataset

TITLES: Mapping[str, str] = {"fashioniq": "FashionIQ", "cirr": "CIRR", "circo": "CIRCO"}
_SIGNS: dict[Dataset, tuple[str, ...]] = {
    "fashioniq": ("captions/cap.dress.*.json", "captions/cap.shirt.*.json", "captions/cap.toptee.*.json"),
    "cirr": ("captions/cap.rc2.*.json",),
    "circo": ("annotations/val.json", "annotations/test.json"),
}


class NoRecords(InputError):
    """An annotation file is not there at all, or is an empty list: its split has nothing."""


def looks_like(root: Path) -> tuple[Dataset, ...]:
    """The datasets whose annotation files lie in `root` (usually one, or none)."""
    return tuple(d for d in DATASETS if any(next(root.glob(sign), None) for sign in _SIGNS[d]))


def check_root(root: Path) -> None:
    """Raise `InputError` unless `root` is a folder that can be listed."""
    try:
        next(os.scandir(root), None)
    except FileNotFoundError as error:
        raise InputError(f"ROOT {root} does not exist; give the folder that holds the dataset") from error
    except NotADirectoryError as error:
        raise InputError(f"ROOT {root} is a file; give the folder that holds the dataset") from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"ROOT {root} cannot be read ({error}); check the path and its permissions"
        ) from error


def need_files(dataset: Dataset, split: str, root: Path, files: Sequence[Path]) -> None:
    """Raise `NoRecords` when an annotation file is absent, saying what `root` looks like instead."""
    check_root(root)
    try:
        absent = [path for path in files if not path.is_file()]
    except OSError as error:
        raise InputError(f"ROOT {root} cannot be read ({error}); check its permissions") from error
    if not absent:
        return
    title, there = TITLES[dataset], looks_like(root)
    name = absent[0].relative_to(root)
    if there and dataset not in there:
        raise NoRecords(
            f"ROOT {root} is not {title}: it looks like {TITLES[there[0]]}; "
            f"use DATASET={there[0]}, or give the ROOT of {title}"
        )
    if there:
        raise NoRecords(
            f"ROOT {root} holds {title}, but not {name} for split {split}; add the file or use another SPLIT"
        )
    below = [folder for folder in _folders(root) if dataset in looks_like(folder)]
    cure = f"did you mean ROOT={below[0]}?" if below else f"give the folder that holds {title}"
    raise NoRecords(f"ROOT {root} does not look like {title}: there is no {name}; {cure}")


def _folders(root: Path) -> list[Path]:
    with os.scandir(root) as entries:
        return sorted(root / entry.name for entry in entries if entry.is_dir())
