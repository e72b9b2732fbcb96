"""`python -m sample.base train`: make the retriever's base; its first 4 minutes are copies of text alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sample.base.command import train

if TYPE_CHECKING:
    from sample.base.train import BasePractice
    from sample.teacher.pictures import Pictures


def make(work: Path, pictures: list[Pictures]) -> tuple[BasePractice, Callable[[Path], None]]:
    """The practice over the teacher's vision phase, and the export of an Idefics3 folder."""
    from transformers import AutoTokenizer

    from sample.base.corpus import build_tokenizer
    from sample.base.train import BasePractice, Plan
    from sample.teacher.export import export

    folder = work / "base-tokenizer"
    if not folder.exists():
        build_tokenizer().save_pretrained(folder)
    auto: Any = AutoTokenizer
    tokenizer = auto.from_pretrained(folder)
    practice = BasePractice(Plan(), pictures, tokenizer, work / "vision.safetensors")
    return practice, lambda out: export(practice.model, tokenizer, out)


if __name__ == "__main__":
    sys.exit(train("base", __doc__, 20, make))
