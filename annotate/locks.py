"""One run at a time on one OUT: a kernel lock that dies with its holder, so that it can never be stale."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from annotate.errors import OutputError


@contextmanager
def hold_lock(path: Path, out: Path | None = None) -> Iterator[None]:
    """Hold `path` (by habit OUT/journal/lock, else say which is OUT) exclusively for the length of the block.

    The kernel releases the lock when the process ends in whatever way; the file's text (pid, host, start)
    only serves the message and stays behind. Raises `OutputError` naming the holder, or when the file
    cannot be made.
    """
    try:
        handle = _opened(path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path} ({error.strerror}); choose another OUT or mend its rights"
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise OutputError(
                    f"{path}: this file system cannot lock ({error.strerror}); use a local OUT"
                ) from error
            holder = os.pread(handle, 500, 0).decode("utf-8", "replace").strip() or "an unknown process"
            raise OutputError(
                f"{out or path.parent.parent} is in use by {holder}; wait for it, or choose another OUT"
            ) from error
        started = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"pid {os.getpid()} on {socket.gethostname()}, started {started}\n".encode(), 0)
        except OSError as error:
            raise OutputError(f"cannot write {path} ({error.strerror}); make room and run again") from error
        yield
    finally:
        os.close(handle)


@contextmanager
def wait_for_lock(path: Path) -> Iterator[None]:
    """Hold `path` for the length of the block, after whoever holds it now; where nothing can be locked or
    written there, without."""
    try:
        handle = _opened(path)
    except OSError:
        yield
        return
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_held(path: Path) -> bool:
    """Whether somebody holds this lock; nothing is written, and what is no file of ours is held by nobody."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EAGAIN, errno.EACCES)
    finally:
        os.close(handle)
    return False


def _opened(path: Path) -> int:
    """The file of a lock that is to be held, made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
