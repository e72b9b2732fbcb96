"""Finds the images of a dataset in whichever of the known folder layouts they lie; opens none of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from annotate.datasets import cirr, fashioniq
from annotate.datasets.records import is_plain_name
from annotate.datasets.roots import check_root
from annotate.errors import InputError
from schemas.triplet import Dataset

EXTENSIONS = (".png", ".jpg", ".jpeg")

Place = tuple[str, str]
"""A folder below ROOT ("" is ROOT itself) and a file name in it; a known extension there is only a hint."""


@dataclass(frozen=True, slots=True)
class FoundImages:
    """The layout by name, the path of each image found, the names not found, the folders looked in."""

    layout: str
    paths: Mapping[str, Path]
    missing: tuple[str, ...]
    looked_in: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """One way in which images lie below ROOT: its name, its folders (for people), where a name may be."""

    name: str
    folders: tuple[str, ...]
    places: Callable[[str], Iterable[Place]]


def find_images(
    dataset: Dataset, split: str, root: Path, names: Iterable[str], category: str | None = None
) -> FoundImages:
    """Probe every known layout below `root`; take the one with most of `names` (on a tie the first).

    Each folder is listed once, so that 46,000 names cost no 46,000 stats. CIRR's names go through its split
    file; a name that is not in there is missing. Raises `InputError` for a name that is no plain image
    name and for a symbolic link that leads out of `root`.
    """
    check_root(root)
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if not is_plain_name(name):
            raise InputError(
                f"{dataset} {split}: {name!r:.80} is not a plain image name (no folders, no '..')"
            )
    tree = _Tree(root)
    layouts = _layouts(dataset, split, root, category)
    best, best_paths = "none", dict[str, Path]()
    for layout in layouts:
        paths = {name: path for name in wanted if (path := tree.first(layout.places(name))) is not None}
        if len(paths) > len(best_paths):
            suffixes = sorted({path.suffix.lower() for path in paths.values()})
            shown = suffixes[0] if len(suffixes) == 1 else "{" + ",".join(suffixes) + "}"
            best, best_paths = f"{layout.name}*{shown}", paths
    missing = tuple(name for name in wanted if name not in best_paths)
    looked_in = tuple(root / folder for layout in layouts for folder in layout.folders)
    return FoundImages(best, best_paths, missing, looked_in)


def check_missing(found: FoundImages, limit: float = 0.10, allow: bool = False) -> None:
    """Raise `InputError`, saying which folders were looked in, if more than `limit` are missing."""
    total = len(found.paths) + len(found.missing)
    if allow or len(found.missing) <= limit * total:
        return
    folders = ", ".join(str(folder) for folder in found.looked_in)
    raise InputError(
        f"{len(found.missing)} of {total} images are missing (first: {found.missing[0]}), "
        f"more than {limit:.0%}; looked in {folders}; "
        f"put them there, or set ALLOW_MISSING=1 to quarantine their triplets"
    )


def _layouts(dataset: Dataset, split: str, root: Path, category: str | None) -> list[Layout]:
    """The layouts seen in the wild, likeliest first."""
    if dataset == "cirr":
        paths = cirr.image_paths(split, root)
        below = ["img_raw/", ""] if cirr.base(root) == root else ["", "img_raw/", "cirr/img_raw/", "cirr/"]
        return [_split_file_layout(folder, paths) for folder in below]
    if dataset == "circo":
        return [_flat_layout(folder) for folder in ("COCO2017_unlabeled/unlabeled2017", "unlabeled2017")]
    # An ASIN may be in two categories and lie in the folder of one: the asked category first, then others.
    order = sorted(fashioniq.CATEGORIES, key=lambda each: each != category)
    return [
        _flat_layout("images"),
        *(_category_layout(base, order) for base in ("images/", "", "resized_image/")),
    ]


def _flat_layout(folder: str) -> Layout:
    return Layout(f"{folder}/", (folder,), lambda name: ((folder, name),))


def _category_layout(base: str, order: list[str]) -> Layout:
    folders = tuple(base + each for each in order)
    return Layout(f"{base}<category>/", folders, lambda name: ((folder, name) for folder in folders))


def _split_file_layout(base: str, relative: Mapping[str, str]) -> Layout:
    def places(name: str) -> Iterable[Place]:
        path = relative.get(name)
        if path is None:
            return ()
        folder, _, file_name = (base + path).rpartition("/")
        return ((folder, file_name),)

    tops = dict.fromkeys(base + path.partition("/")[0] for path in relative.values())
    return Layout(f"{base}<path in split file>/", tuple(tops), places)


class _Tree:
    """Folder listings below ROOT, each read once: folder -> stem -> extension in lower case -> entry."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._resolved = root.resolve()
        self._listings: dict[str, dict[str, dict[str, os.DirEntry[str]]]] = {}

    def first(self, places: Iterable[Place]) -> Path | None:
        """The image file at the first place that has one, with any known extension."""
        for folder, file_name in places:
            stem, extension = _split_extension(file_name)
            by_extension = self._listing(folder).get(stem)
            if by_extension:
                for each in dict.fromkeys((extension, *EXTENSIONS)):
                    entry = by_extension.get(each)
                    if entry is not None and self._is_image_file(entry):
                        return Path(entry.path)
        return None

    def _listing(self, folder: str) -> dict[str, dict[str, os.DirEntry[str]]]:
        if folder not in self._listings:
            self._listings[folder] = listing = dict[str, dict[str, os.DirEntry[str]]]()
            for entry in self._entries(self._root / folder):
                stem, extension = _split_extension(entry.name)
                if extension:
                    listing.setdefault(stem, {}).setdefault(extension, entry)
        return self._listings[folder]

    def _entries(self, path: Path) -> list[os.DirEntry[str]]:
        try:
            if not path.is_dir():
                return []
            self._refuse_outside(path)
            with os.scandir(path) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(
                f"image folder {path} cannot be read ({error.strerror}); check its permissions"
            ) from error

    def _is_image_file(self, entry: os.DirEntry[str]) -> bool:
        try:
            if entry.is_symlink():
                self._refuse_outside(Path(entry.path))
            return entry.is_file()
        except OSError:  # a link to a name that is too long, or into a folder that may not be entered
            return False

    def _refuse_outside(self, path: Path) -> None:
        try:
            inside = path.resolve().is_relative_to(self._resolved)
        except RuntimeError as error:  # what pathlib makes of a circle of links
            raise InputError(f"{path} is a symbolic link in a circle; remove it") from error
        if not inside:
            raise InputError(
                f"{path} is a symbolic link that leads out of ROOT {self._root}; "
                f"put the images themselves there (or a bind mount)"
            )


def _split_extension(file_name: str) -> tuple[str, str]:
    """Stem and known extension in lower case, or the whole name and ""."""
    stem, dot, extension = file_name.rpartition(".")
    known = dot + extension.lower()
    return (stem, known) if known in EXTENSIONS else (file_name, "")
