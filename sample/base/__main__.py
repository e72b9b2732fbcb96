"""`python -m sample.base train`: make the retriever's tiny base model."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from annotate.errors import CirError


def parser() -> argparse.ArgumentParser:
    """The command and its flags."""
    top = argparse.ArgumentParser(prog="python -m sample.base", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train and export; the same command goes on where it stopped")
    train.add_argument("--minutes", type=float, default=20)
    train.add_argument(
        "--work", type=Path, required=True, help="the teacher's --work: its pictures and vision"
    )
    train.add_argument("--vision", type=Path, help="checkpoint of the vision phase [WORK/vision.safetensors]")
    train.add_argument("--count", type=int, default=60_000, help="pictures a domain that were rendered")
    train.add_argument("--out", type=Path, required=True, help="model folder to write")
    train.add_argument("--threads", type=int, default=2)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 2 and one line on stderr when something given cannot be used."""
    arguments = parser().parse_args(argv)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # torch and transformers take seconds to import; usage errors need not wait for them
    import torch
    from transformers import AutoTokenizer

    from sample.base.corpus import DOMAINS, build_tokenizer
    from sample.base.loop import practise
    from sample.base.train import BasePractice, Plan
    from sample.teacher.export import export
    from sample.teacher.pictures import open_pictures

    torch.set_num_threads(arguments.threads)
    work: Path = arguments.work
    try:
        if not (work / "base-tokenizer").exists():
            build_tokenizer().save_pretrained(work / "base-tokenizer")
        auto: Any = AutoTokenizer
        tokenizer = auto.from_pretrained(work / "base-tokenizer")
        pictures = [open_pictures(work / "pictures", domain, arguments.count) for domain in DOMAINS]
        vision = arguments.vision or work / "vision.safetensors"
        practice = BasePractice(Plan(), pictures, tokenizer, vision)
        practise(practice, arguments.minutes, work / "base.safetensors")
        export(practice.model, tokenizer, arguments.out)
    except CirError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
