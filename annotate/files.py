"""The one atomic write: data, fsync, rename, fsync of the folder. A file is whole or absent.

And the one way to look at files that users name: paths that can be looked up, regular files of bounded size.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from annotate.errors import OutputError, UsageError

LONGEST_PATH = 3_000
"""Bytes; Linux takes 4,095 with all that we put below a folder."""
LONGEST_NAME = 200
"""Bytes of one name; Linux takes 255 with all that a temporary file adds."""

SAMPLES, SAMPLE_BYTES = 64, 64 << 10
"""Of a large file of weights: 4 MiB are read, in at most 64 places."""

_TEMPORARY = re.compile(r"\..+\.\d+\.(tmp|old)")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and renamed to `path`, on an error
    removed.

    Renaming is atomic on one file system; the folder is synced so that the new name survives a power cut. Two
    writers of the same path in one process must not overlap (the temporary name carries the process id only).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `data` (text as UTF-8) to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def remove_leftovers(folder: Path, below: bool = True) -> None:
    """Remove temporary files and folders that killed processes left in `folder`, and `below` it; nobody may
    be writing there."""
    for place, folders, names in os.walk(folder):
        for name in filter(_TEMPORARY.fullmatch, names):
            with suppress(OSError):
                (Path(place) / name).unlink()
        for name in filter(_TEMPORARY.fullmatch, folders):
            shutil.rmtree(Path(place) / name, ignore_errors=True)
        if not below:
            return


def write_output(path: Path, data: bytes | str) -> None:
    """`write_atomic` for a file that the user named: what stands in its way is one line (`OutputError`)."""
    try:
        write_atomic(path, data)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); make room or name another place"
        ) from error


def read_regular(path: Path, most: int) -> bytes:
    """Contents of a regular file of at most `most` bytes. Raises `OSError`, also for what is no such file: a
    pipe would be waited for, a device never ends. Its `errno` is EFBIG for one that is larger."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as handle:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, "is no regular file")
        data = handle.read(most + 1) if facts.st_size <= most else None
    if data is None or len(data) > most:
        raise OSError(errno.EFBIG, f"is larger than {most >> 20:,} MiB")
    return data


def weight_samples(handle: BinaryIO, size: int) -> Iterator[bytes]:
    """What tells a large safetensors file from a retrained one without reading it: its header and evenly
    spaced samples, the last bytes among them. `handle` is at its start."""
    length = min(int.from_bytes(handle.read(8), "little"), size)
    yield handle.read(length)
    first, last = 8 + length, max(0, size - SAMPLE_BYTES)
    for k in range(SAMPLES):
        handle.seek(first + (last - first) * k // (SAMPLES - 1))
        yield handle.read(SAMPLE_BYTES)


def usable_path(text: str) -> Path:
    """`text` as a path that the system can look up, `~` expanded, whether something lies there or not.

    Raises `UsageError`: a user that is not known, a name longer than any, a folder that may not be entered.
    """
    shown = ascii(text[:80])
    try:
        path = Path(text).expanduser()
        if max((len(os.fsencode(part)) for part in path.parts), default=0) > LONGEST_NAME:
            raise UsageError(f"{shown}…: a name of more than {LONGEST_NAME} bytes; give a shorter path")
        if len(os.fsencode(path)) > LONGEST_PATH:
            raise UsageError(f"{shown}…: a path of more than {LONGEST_PATH:,} bytes; give a shorter one")
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except OSError as error:
        raise UsageError(f"{shown}: cannot be looked up ({error.strerror}); give another path") from error
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"{shown} is no usable path ({error}); write it out in full") from error
    return path
