"""Content-addressed image store: a source file is decoded once, resized by a named recipe, kept as JPEG.

Folder layout: `<folder>/<recipe>/ab/<sha256 of the source file>.jpg`, or `….problem.json` for a file that
cannot be used, so that a resumed run decodes neither again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

import PIL
import tenacity

from annotate.errors import OutputError, RunIncomplete, UsageError
from annotate.files import read_regular, write_atomic
from annotate.images.decoding import ImageProblem, decode, encode, shifted
from annotate.teacher.request import Picture
from annotate.text import parse_json

DEFAULT_RECIPE = "fit448-q90-v1"
MAX_FILE_BYTES = 64 << 20
OF_THE_FILE = {
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENXIO, errno.EFBIG, errno.EINVAL),
    *(errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG),
}
"""Errors that say something about a file; others are about the file system or this process."""
ENCODED_KEPT = 64
MOVED_PART = 40
MOVED = f"-moved{MOVED_PART}-v1"
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
_LOCKS = 64


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a source becomes the picture that a teacher gets; its name is part of every request's digest."""

    name: str
    longer_side: int
    quality: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """A stored picture: JPEG bytes and their sha256, which is the `uuid` that vLLM caches it under."""

    data: bytes
    digest: str


def parse_recipe(name: str) -> Recipe:
    """`fit448-q90-v1`: shrink so that the longer side is at most 448 px; RGB; JPEG of quality 90; version 1.

    Raises `UsageError` for another grammar, a side outside 16..4096 or a quality outside 1..100.
    """
    match = re.fullmatch(r"fit([1-9]\d{1,3})-q([1-9]\d{0,2})-v1", name, re.ASCII)
    if not match or not 16 <= int(match[1]) <= 4096 or int(match[2]) > 100:
        raise UsageError(
            f"image recipe {name!r:.60} is unknown; use fit<longer side, 16 to 4096>-q<quality, 1 to 100>-v1"
            f", for example fit448-q90-v1"
        )
    return Recipe(name, int(match[1]), int(match[2]))


def moved(picture: Picture) -> Picture:
    """The same picture a little moved (`decoding.shifted`): to a model another picture of the same things."""
    return replace(picture, recipe=unmoved(picture).recipe + MOVED)


def unmoved(picture: Picture) -> Picture:
    """The picture that was moved, or the one given."""
    return replace(picture, recipe=picture.recipe.removesuffix(MOVED))


class ImageStore:
    """Thread-safe; several processes may share a folder. Paths come from `annotate.datasets.find_images`."""

    def __init__(self, folder: Path, recipe: str) -> None:
        """Raises `UsageError` for an unknown recipe; the folder is made on the first write."""
        self.folder = folder
        self.recipe = parse_recipe(recipe)
        # A hostile picture takes up to 400 MB while it is decoded: the threads take turns.
        self._decoders = threading.BoundedSemaphore(max(4, os.cpu_count() or 1))
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._digests: dict[Path, str] = {}
        self._kept: OrderedDict[Picture, Encoded] = OrderedDict()
        self._kept_lock = threading.Lock()

    def store(self, path: Path) -> Picture:
        """Decode, resize and encode a source file, unless that was done before; the picture by reference.

        Raises `ImageProblem` ("missing_image", "undecodable_image", "image_too_large"); an undecodable or
        oversized picture raises the same again without being decoded again. Raises `OutputError` when the
        folder cannot be written.
        """
        known = self._digests.get(path)
        if known is not None and _is_whole(self._place(Picture(known, self.recipe.name), ".jpg")):
            return Picture(known, self.recipe.name)
        with self._decoders:
            data = read_source(path)
            digest = self._digests[path] = hashlib.sha256(data).hexdigest()
            picture = Picture(digest, self.recipe.name)
            with self._locks[int(digest[:8], 16) % _LOCKS]:
                if not _is_whole(self._place(picture, ".jpg")):
                    self._decode(data, picture)
        return picture

    def _decode(self, data: bytes, picture: Picture) -> None:
        """Write the picture, or what is wrong with it; raise the latter."""
        problem = self._place(picture, ".problem.json")
        _raise_remembered(problem)
        try:
            encoded = encode(decode(data, self.recipe.longer_side), self.recipe.quality)
        except ImageProblem as error:
            if not isinstance(error.__cause__, MemoryError):  # which says nothing about the picture
                outcome = {"code": error.code, "detail": error.detail, "pillow": PIL.__version__}
                _write(problem, json.dumps(outcome, sort_keys=True))
            raise
        _write(self._place(picture, ".jpg"), encoded)

    def encoded(self, picture: Picture) -> Encoded:
        """Stored bytes of a picture, or those of a moved one; the last few stay in memory.

        Raises `OutputError` if the stored picture is gone or cut.
        """
        with self._kept_lock:
            kept = self._kept.get(picture)
            if kept is not None:
                self._kept.move_to_end(picture)
                return kept
        data = self._stored(picture) if picture == unmoved(picture) else self._moved(picture)
        fresh = Encoded(data, hashlib.sha256(data).hexdigest())
        with self._kept_lock:
            self._kept[picture] = fresh
            while len(self._kept) > ENCODED_KEPT:
                self._kept.popitem(last=False)
        return fresh

    def _moved(self, picture: Picture) -> bytes:
        """Made of the stored picture when it is asked for: it is asked about once or twice."""
        plain = unmoved(picture)
        try:
            image = decode(self._stored(plain), self.recipe.longer_side)
        except ImageProblem as error:
            path = self._place(plain, ".jpg")
            path.unlink(missing_ok=True)
            raise OutputError(
                f"{path}: damaged ({error.detail}), and removed from the store; run the same command again"
            ) from error
        return encode(shifted(image, MOVED_PART), self.recipe.quality)

    def _stored(self, picture: Picture) -> bytes:
        path = self._place(picture, ".jpg")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise OutputError(
                f"{path}: stored picture cannot be read ({error.strerror}); run the same command again"
            ) from error
        if not (data.startswith(JPEG_START) and data.endswith(JPEG_END)):
            raise OutputError(f"{path}: stored picture is not whole; run the same command again")
        return data

    def _place(self, picture: Picture, suffix: str) -> Path:
        digest = picture.source_digest
        return self.folder / picture.recipe / digest[:2] / f"{digest}{suffix}"


def _is_whole(path: Path) -> bool:
    """Whether a stored JPEG is there from its first marker to its last; a power cut may leave less."""
    try:
        with path.open("rb") as handle:
            start = handle.read(len(JPEG_START))
            handle.seek(-len(JPEG_END), os.SEEK_END)
            return start == JPEG_START and handle.read() == JPEG_END
    except OSError:
        return False


def read_source(path: Path) -> bytes:
    """Bytes of a regular file of 64 MiB at most; `ImageProblem` for all else (a pipe would block).

    What says nothing about the file (a stale handle, no free descriptor) is tried again, and raises
    `RunIncomplete` when it stays.
    """
    try:
        return PATIENT(read_regular, path, MAX_FILE_BYTES)
    except (OSError, ValueError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        if _may_pass(error):
            raise RunIncomplete(
                f"{path}: cannot be read though it is there ({reason}); mend the file system (or remove this "
                "file, if it alone is broken) and run the same command again"
            ) from error
        if isinstance(error, OSError) and error.errno == errno.EFBIG:
            raise ImageProblem("image_too_large", f"{path.name} {reason}") from error
        raise ImageProblem("missing_image", f"{path.name} cannot be read: {reason}") from error


def _may_pass(error: BaseException) -> bool:
    """Whether a failure says something about the file system or this process, not about the file."""
    return isinstance(error, OSError) and error.errno not in OF_THE_FILE


PATIENT = tenacity.Retrying(
    retry=tenacity.retry_if_exception(_may_pass),
    wait=tenacity.wait_exponential(0.2, max=3),
    stop=tenacity.stop_after_attempt(5),
    reraise=True,
)


def _raise_remembered(path: Path) -> None:
    """Raise the outcome of an earlier attempt, unless another Pillow made it or the note is damaged."""
    try:
        outcome = parse_json(path.read_bytes())
        code, detail, pillow = (str(outcome[key]) for key in ("code", "detail", "pillow"))
    except (OSError, ValueError, KeyError, TypeError):
        return
    if pillow == PIL.__version__:
        raise ImageProblem(code, detail)


def _write(path: Path, data: bytes | str) -> None:
    try:
        write_atomic(path, data)
    except OSError as error:
        raise OutputError(
            f"{path.parent}: cannot store pictures ({error.strerror}); free space or choose another OUT"
        ) from error
