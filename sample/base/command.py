"""`python -m sample.base train` and `python -m sample.clip train`: the same flags, another practice."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from annotate.errors import CirError, InputError
from annotate.text import plain
from sample.training_flags import check_training

if TYPE_CHECKING:
    from sample.loop import Phase
    from sample.teacher.pictures import Pictures

Make = Callable[[Path, "list[Pictures]", Path | None], "tuple[Phase, Callable[[Path], None]]"]
"""From the work folder, its pictures and a model of before: what practises, and what writes the folder."""


def train(
    name: str,
    about: str,
    minutes: float,
    make: Make,
    argv: Sequence[str] | None = None,
    *,
    inits: bool = False,
) -> int:
    """Train and export; 2 and one line on stderr when something given cannot be used. `inits`: with a flag
    to go on from a model."""
    top = argparse.ArgumentParser(prog=f"python -m sample.{name}", description=about)
    commands = top.add_subparsers(dest="command", required=True)
    flags = commands.add_parser("train", help="train and export; the same command goes on where it stopped")
    flags.add_argument("--minutes", type=float, default=minutes)
    flags.add_argument("--work", type=Path, required=True, help="the teacher's --work: pictures and vision")
    flags.add_argument("--count", type=int, default=60_000, help="pictures a domain that were rendered")
    flags.add_argument("--out", type=Path, required=True, help="model folder to write")
    flags.add_argument("--threads", type=int, default=2)
    if inits:
        flags.add_argument(
            "--init",
            type=Path,
            help="model folder to go on from, in a --work without a checkpoint",
        )
    given = top.parse_args(argv)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # torch and transformers take seconds to import; usage errors need not wait for them
    import torch

    from sample.base.corpus import DOMAINS
    from sample.loop import Budget, run
    from sample.teacher.pictures import open_pictures

    work: Path = given.work
    try:
        check_training(given.minutes, given.threads, given.out)
        torch.set_num_threads(given.threads)
        if not (work / "pictures").is_dir():  # opening them would make them, empty
            raise InputError(f"{work} holds no pictures; give the --work of `python -m sample.teacher train`")
        pictures = [open_pictures(work / "pictures", domain, given.count) for domain in DOMAINS]
        practice, export = make(work, pictures, given.init if inits else None)
        budget = Budget(given.minutes, 25, 150, 2.0, 2, 10)  # its steps are long
        run(practice, budget, work / f"{name}.safetensors")
        export(given.out)
    except CirError as error:
        print(f"error: {plain(str(error))}", file=sys.stderr)
        return error.exit_status
    return 0
