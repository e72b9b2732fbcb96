"""Writes a whole world with its stamp, which says what drew it: another version draws other pictures."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from annotate.errors import OutputError
from annotate.files import write_output
from annotate.text import parse_json
from sample.writers import WRITERS, Sizes, Written

WORLD = 2
"""Grows with every change of what the same seed draws (tests/sample/test_stamp.py holds the drawn bytes)."""
STAMP = "sample.json"


def write_world(dataset: str, root: Path, seed: int, sizes: Sizes, clean: bool) -> Written:
    """Write the sample world of a dataset into the empty folder `root`, the stamp last."""
    made = WRITERS[dataset](root, seed, sizes, clean)
    facts = {"world": WORLD, "dataset": dataset, "seed": seed, "clean": clean}
    write_output(root / STAMP, json.dumps(facts) + "\n")
    return made


def write_whole(dataset: str, root: Path, seed: int) -> None:
    """Write a world of the default sizes whole or not at all. Raises `OutputError` when the disk does not
    let us."""
    temporary = root.with_name(f".{root.name}.{os.getpid()}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        write_world(dataset, temporary, seed, Sizes(), False)
        temporary.replace(root)
    except OSError as error:
        raise OutputError(
            f"{root}: cannot write the sample ({error.strerror}); make room, or give ROOT"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def stale_words(root: Path) -> str:
    """That a rendered world may not be what this version would render, and the cure; empty when it is."""
    try:
        world = parse_json((root / STAMP).read_bytes()).get("world")
    except (OSError, ValueError, AttributeError):
        world = None
    if world == WORLD:
        return ""
    was = "does not say which version rendered it" if world is None else "was rendered by another version"
    return f"{root} {was}: its pictures may be older than this code; for new ones remove it and OUT"
