"""What training and measuring put on disk: whole or absent, never over what is not ours; else one line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from annotate.errors import OutputError
from annotate.files import atomic_path


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """What the system has against writing at `place` becomes an `OutputError`."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or error
        raise OutputError(
            f"{place}: cannot be written ({why}); make room or name another place, the same command goes on"
        ) from error


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file. Raises `OutputError`."""
    with writing(path), atomic_path(path) as temporary:
        save_file(dict(tensors), temporary, dict(metadata) if metadata else None)


@contextmanager
def whole_folder(folder: Path, mark: str) -> Iterator[Path]:
    """Yield a temporary folder that then takes the place of `folder`; on an error it is removed.

    Raises `OutputError` when `folder` holds something else (`only_ours`) or cannot be written.
    """
    only_ours(folder, mark)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        with writing(folder):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            yield temporary
            replace_folder(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def only_ours(folder: Path, mark: str) -> None:
    """Raise `OutputError` unless `folder` is absent, empty, or has the file `mark` that ours have."""
    content = folder.iterdir() if folder.is_dir() else [folder] if folder.exists() else []
    if any(content) and not (folder / mark).is_file():
        raise OutputError(f"{folder}: holds something else, which would be lost; give a new or empty folder")


def replace_folder(temporary: Path, folder: Path) -> None:
    """Put a finished folder in place of `folder`; what was there before is removed afterwards."""
    for path in temporary.iterdir():
        with path.open("rb+") as handle:
            os.fsync(handle.fileno())
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    temporary.rename(folder)
    descriptor = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    shutil.rmtree(old, ignore_errors=True)
