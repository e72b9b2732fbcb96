"""What every training of a tiny model is told, checked before anything is drawn or trained."""

from __future__ import annotations

import math
from pathlib import Path

from annotate.errors import UsageError


def check_training(minutes: float, threads: int, out: Path) -> None:
    """Raise `UsageError` for a training that would export what it never trained, or nowhere."""
    if not 0 < minutes < math.inf:
        raise UsageError(f"--minutes is {minutes:g}; it must be a number above 0")
    if not 0 < threads < 10_000:
        raise UsageError(f"--threads is {threads}; it must be a number above 0")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is no folder; give --out another one")
