"""`python -m sample.base train`: make the retriever's base; its first 4 minutes are copies of text alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sample.base.command import train

if TYPE_CHECKING:
    from sample.base.train import BasePractice
    from sample.teacher.pictures import Pictures


def make(
    work: Path, pictures: list[Pictures], init: Path | None
) -> tuple[BasePractice, Callable[[Path], None]]:
    """The practice over the teacher's vision phase or an earlier base, and the export of its folder."""
    from sample.base.corpus import build_tokenizer
    from sample.base.train import BasePractice, Plan, going_on, new_model
    from sample.teacher.export import export
    from sample.teacher.recipe import load_model, load_tokenizer, save_tokenizer

    if init:
        plan, model, tokenizer = going_on(Plan()), load_model(init), load_tokenizer(init)
    else:
        plan, folder = Plan(), work / "base-tokenizer"
        if not folder.exists():
            save_tokenizer(build_tokenizer(), folder)
        tokenizer = load_tokenizer(folder)
        model = new_model(plan, tokenizer, work / "vision.safetensors")
    practice = BasePractice(plan, pictures, tokenizer, model)
    return practice, lambda out: export(practice.model, tokenizer, out)


if __name__ == "__main__":
    sys.exit(train("base", __doc__, 60, make, inits=True))
