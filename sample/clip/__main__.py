"""`python -m sample.clip train`: make the table's tiny CLIP."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from annotate.errors import CirError


def parser() -> argparse.ArgumentParser:
    """The command and its flags."""
    top = argparse.ArgumentParser(prog="python -m sample.clip", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train and export; the same command goes on where it stopped")
    train.add_argument("--minutes", type=float, default=10)
    train.add_argument("--work", type=Path, required=True, help="the teacher's --work: its pictures")
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

    from sample.base.corpus import DOMAINS
    from sample.base.loop import practise
    from sample.clip.model import build_clip_tokenizer, export_clip
    from sample.clip.train import ClipPractice, Plan
    from sample.teacher.pictures import open_pictures

    torch.set_num_threads(arguments.threads)
    work: Path = arguments.work
    try:
        tokenizer = build_clip_tokenizer()
        pictures = [open_pictures(work / "pictures", domain, arguments.count) for domain in DOMAINS]
        practice = ClipPractice(Plan(), pictures, tokenizer)
        practise(practice, arguments.minutes, work / "clip.safetensors")
        export_clip(practice.model, tokenizer, arguments.out)
    except CirError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
