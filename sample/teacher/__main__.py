"""`python -m sample.teacher {train,export,evaluate}`: make the tiny teacher, export it, measure its bars."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from annotate.errors import CirError, TeacherRefused, UsageError
from annotate.text import plain
from annotate.urls import checked_url
from sample.teacher.evaluate import evaluate
from sample.training_flags import check_training

PROMPTS = Path("prompts")


def parser() -> argparse.ArgumentParser:
    """The three commands and their flags."""
    top = argparse.ArgumentParser(prog="python -m sample.teacher", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    train = commands.add_parser(
        "train", help="render, train and export; the same command goes on where it stopped"
    )
    train.add_argument("--minutes", type=float, default=90, help="training time, rendering not counted")
    train.add_argument(
        "--pictures", type=int, default=60_000, help="pictures a domain, a multiple of 1,000, at least 2,000"
    )
    train.add_argument("--work", type=Path, required=True, help="folder for pictures (6 GB) and checkpoints")
    train.add_argument("--out", type=Path, required=True, help="model folder to write")
    train.add_argument(
        "--init",
        type=Path,
        help="model folder to go on from, in a --work without checkpoints",
    )
    train.add_argument("--threads", type=int, default=2)
    export = commands.add_parser("export", help="write the model folder of the newest checkpoint")
    export.add_argument("--work", type=Path, required=True)
    export.add_argument("--out", type=Path, required=True)
    bars = commands.add_parser("evaluate", help="measure the bars through a running server; prints JSON")
    bars.add_argument("--url", required=True, help="the server's API, say http://127.0.0.1:8000/v1")
    bars.add_argument("--model", required=True, help="the served model's name: teacher@…")
    bars.add_argument("--count", type=int, default=500, help="held-out triplets a domain")
    bars.add_argument("--blank", type=int, default=100, help="triplets asked again with gray pictures")
    bars.add_argument("--in-flight", type=int, default=32)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 2 and one line on stderr when something given cannot be used."""
    arguments = parser().parse_args(argv)
    try:
        if not (PROMPTS / "caption.md").is_file():
            raise UsageError("prompts/caption.md is not here: run this from the project's root")
        if arguments.command == "evaluate":
            print(json.dumps(_evaluated(arguments), indent=2))
            return 0
        # torch and transformers take seconds to import; measuring does without them.
        from sample.teacher.recipe import export_newest, train_teacher

        if arguments.command == "train":
            check_training(arguments.minutes, arguments.threads, arguments.out)
        if arguments.command == "export":
            export_newest(arguments.work, arguments.out)
        else:
            train_teacher(
                arguments.work,
                arguments.out,
                PROMPTS,
                arguments.minutes,
                arguments.pictures,
                arguments.init,
                arguments.threads,
            )
    except CirError as error:
        print(f"error: {plain(str(error))}", file=sys.stderr)
        return error.exit_status
    return 0


def _evaluated(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The bars. Raises `TeacherRefused` for a server that cannot be asked."""
    try:
        return asyncio.run(
            evaluate(
                checked_url(arguments.url, "--url"),
                arguments.model,
                PROMPTS,
                arguments.count,
                arguments.blank,
                arguments.in_flight,
            )
        )
    except (aiohttp.ClientError, OSError) as error:
        raise TeacherRefused(
            f"--url {arguments.url}: no teacher answers there ({error}); start one with `make serve-teacher`"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
