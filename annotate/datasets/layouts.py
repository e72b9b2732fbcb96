"""Finds the images of a dataset in whichever of the known folder layouts they lie; opens none of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from annotate.datasets import cirr, fashioniq
from annotate.datasets.records import is_plain_name
from annotate.datasets.roots import check_root
from annotate.errors import InputError
from schemas.triplet import Dataset

EXTENSIONS = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class FoundImages:
    """Where the images are: the layout by name, a path for each name found, the names not found, the folders probed."""

    layout: str
    paths: Mapping[str, Path]
    missing: tuple[str, ...]
    looked_in: tuple[Path, ...]


def find_images(
    dataset: Dataset, split: str, root: Path, names: Iterable[str], category: str | None = None
) -> FoundImages:
    """Probe every known layout below `root` and take the one that holds most of `names` (the first one on a tie).

    Each folder is listed once, so 46,000 names cost no 46,000 stats. Raises `InputError` for a name that is no plain
    image name and for a symbolic link that leads out of `root`.
    """
    check_root(root)
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if not is_plain_name(name):
            raise InputError(
                f"image name {name!r:.80} of {dataset} {split} is not plain (no folders, no '..'); mend it"
            )
    folders = _Folders(root)
    best, best_paths = "none", dict[str, Path]()
    for layout, places in _layouts(dataset, split, wanted, root, category).items():
        paths = {name: path for name in wanted if (path := folders.first(places.get(name, ())))}
        if len(paths) > len(best_paths):
            best, best_paths = layout, paths
    if best_paths:
        suffixes = sorted({path.suffix.lower() for path in best_paths.values()})
        best += "/*" + (suffixes[0] if len(suffixes) == 1 else "{" + ",".join(suffixes) + "}")
    missing = tuple(name for name in wanted if name not in best_paths)
    return FoundImages(best, best_paths, missing, folders.probed())


def check_missing(found: FoundImages, limit: float = 0.10, allow: bool = False) -> None:
    """Raise `InputError`, saying which folders were looked in, when more than `limit` of the images are missing."""
    total = len(found.paths) + len(found.missing)
    if allow or len(found.missing) <= limit * total:
        return
    shown = ", ".join(str(folder) for folder in found.looked_in[:8])
    more = f" and {len(found.looked_in) - 8} more" if len(found.looked_in) > 8 else ""
    raise InputError(
        f"{len(found.missing)} of {total} images are missing (first: {found.missing[0]}), more than {limit:.0%}; "
        f"looked in {shown}{more}; put them there, or set ALLOW_MISSING=1 to quarantine their triplets"
    )


Places = Mapping[str, tuple[PurePosixPath, ...]]
"""Image name -> places where it may lie (path below ROOT, extension as a hint only), best first."""


def _layouts(
    dataset: Dataset, split: str, names: list[str], root: Path, category: str | None
) -> Mapping[str, Places]:
    if dataset == "cirr":
        relative = cirr.image_paths(split, root)
        known = [name for name in names if name in relative]
        return {
            str(base / "<split file>"): {name: (base / relative[name],) for name in known}
            for base in (PurePosixPath("img_raw"), PurePosixPath())
        }
    if dataset == "circo":
        bases = ("COCO2017_unlabeled/unlabeled2017", "unlabeled2017")
        return {base: {name: (PurePosixPath(base, name),) for name in names} for base in bases}
    # An ASIN may be in two categories but downloaded into one folder only: the asked category first, then the others.
    order = sorted(fashioniq.CATEGORIES, key=lambda name: name != category)
    layouts: dict[str, Places] = {"images": {name: (PurePosixPath("images", name),) for name in names}}
    for base in ("images", "", "resized_image"):
        folders = [PurePosixPath(base, each) for each in order]
        layouts[str(PurePosixPath(base, "<category>"))] = {
            name: tuple(folder / name for folder in folders) for name in names
        }
    return layouts


class _Folders:
    """Folder listings below ROOT, each read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._resolved = root.resolve()
        self._listings: dict[PurePosixPath, dict[str, dict[str, os.DirEntry[str]]]] = {}

    def first(self, places: Iterable[PurePosixPath]) -> Path | None:
        """The image file at the first of `places` that exists with a known extension."""
        for place in places:
            stem = place.stem if place.suffix.lower() in EXTENSIONS else place.name
            by_extension = self._listing(place.parent).get(stem)
            if by_extension:
                for extension in dict.fromkeys((place.suffix.lower(), *EXTENSIONS)):
                    entry = by_extension.get(extension)
                    if entry is not None and self._is_image_file(entry):
                        return Path(entry.path)
        return None

    def probed(self) -> tuple[Path, ...]:
        """All folders that were looked in, in that order."""
        return tuple(self._root / folder for folder in self._listings)

    def _listing(self, folder: PurePosixPath) -> dict[str, dict[str, os.DirEntry[str]]]:
        """stem -> extension in lower case -> entry; empty when there is no such folder."""
        listing = self._listings.get(folder)
        if listing is None:
            listing = self._listings[folder] = {}
            path = self._root / folder
            if path.is_dir():
                self._inside(path)
                try:
                    with os.scandir(path) as entries:
                        for entry in sorted(entries, key=lambda each: each.name):
                            stem, dot, extension = entry.name.rpartition(".")
                            if dot + extension.lower() in EXTENSIONS:
                                listing.setdefault(stem, {}).setdefault(dot + extension.lower(), entry)
                except OSError as error:
                    raise InputError(
                        f"image folder {path} cannot be read ({error.strerror}); check its permissions"
                    ) from error
        return listing

    def _is_image_file(self, entry: os.DirEntry[str]) -> bool:
        if entry.is_symlink():
            self._inside(Path(entry.path))
        return entry.is_file()

    def _inside(self, path: Path) -> None:
        try:
            target = path.resolve()
        except (OSError, RuntimeError) as error:
            raise InputError(f"{path} is a symbolic link in a circle; remove it") from error
        if not target.is_relative_to(self._resolved):
            raise InputError(
                f"{path} is a symbolic link that leads out of ROOT {self._root}; "
                f"put the images themselves (or a bind mount) there, or use their parent as ROOT"
            )
