"""Writes a world of the default sizes whole or not at all, for whoever finds that it is not there yet."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from annotate.errors import OutputError
from sample.writers import WRITERS, Sizes


def write_whole(dataset: str, root: Path, seed: int) -> None:
    """Write the sample world of a dataset into `root`. Raises `OutputError` when the disk does not let us."""
    temporary = root.with_name(f".{root.name}.{os.getpid()}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        WRITERS[dataset](temporary, seed, Sizes(), False)
        temporary.replace(root)
    except OSError as error:
        raise OutputError(
            f"{root}: cannot write the sample ({error.strerror}); make room, or give ROOT"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
