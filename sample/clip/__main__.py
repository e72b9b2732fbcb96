"""`python -m sample.clip train`: make the table's tiny CLIP."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sample.base.command import train

if TYPE_CHECKING:
    from sample.clip.train import ClipPractice
    from sample.teacher.pictures import Pictures


def make(
    work: Path, pictures: list[Pictures], init: Path | None
) -> tuple[ClipPractice, Callable[[Path], None]]:
    """The practice, and the export of a CLIP folder; it always begins from nothing."""
    from sample.clip.model import build_clip_tokenizer, export_clip
    from sample.clip.train import ClipPractice, Plan

    tokenizer = build_clip_tokenizer()
    practice = ClipPractice(Plan(), pictures, tokenizer)
    return practice, lambda out: export_clip(practice.model, tokenizer, out)


if __name__ == "__main__":
    sys.exit(train("clip", __doc__, 10, make))
