"""`python -m sample write` makes a dataset of the sample world; `… score` marks a run by its truth; `… prove`
measures the checks on spoilt rows."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from annotate.errors import CirError, OutputError, UsageError
from annotate.files import usable_path
from annotate.settings.values import Given, thresholds
from annotate.text import plain, take_any_text
from sample.score_report import score_run, summary, write_labels
from sample.writers import WRITERS, Sizes
from sample.writers.whole import write_world


def parser() -> argparse.ArgumentParser:
    """The commands and their flags."""
    top = argparse.ArgumentParser(prog="python -m sample", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    write = commands.add_parser("write", help="write a rendered dataset in the real on-disk layout")
    write.add_argument("--dataset", required=True, choices=sorted(WRITERS))
    write.add_argument("--out", required=True, type=usable_path, help="folder to write into; new or empty")
    write.add_argument("--seed", type=int, default=7)
    write.add_argument("--train", type=int, default=1000, help="train triplets (CIRCO has no train)")
    write.add_argument("--val", type=int, default=300)
    write.add_argument("--test", type=int, default=100)
    write.add_argument("--clean", action="store_true", help="no dirt and no wrong targets")
    score = commands.add_parser("score", help="say which annotated rows are right by the truth")
    score.add_argument("out", type=usable_path, help="OUT of an annotation run")
    score.add_argument("--truth", required=True, type=usable_path, help="truth.jsonl of the sample data")
    score.add_argument("--labels", type=usable_path, help="also write truth's judgements, for calibrate")
    score.add_argument("--json", action="store_true", help="everything, a row each, as JSON")
    prove = commands.add_parser("prove", help="spoil good rows in known ways; what does each check catch?")
    prove.add_argument("--out", type=usable_path, default=Path("outputs") / "prove")
    prove.add_argument("--teacher-url", help="server that runs already [the sample's teacher is started]")
    prove.add_argument("--rows", type=int, default=200, help="good rows; and spoilt ones in all [200]")
    prove.add_argument("--full", action="store_true", help="every row spoilt in every way")
    prove.add_argument("--seed", type=int, default=90_001, help="of the rows; used for no training [90001]")
    prove.add_argument("--thresholds", default="", help="score=least, comma-separated [the defaults]")
    prove.add_argument("--docs", action="store_true", help="write the table into docs/trust.md")
    return top


def prove(arguments: argparse.Namespace) -> str:
    """Run the proving ground; UsageError for rows or thresholds that cannot be used."""
    from sample.prove.command import Wanted, run

    if arguments.rows < 2:
        raise UsageError("--rows takes a number of rows from 2")
    text = arguments.thresholds.strip()
    given = thresholds(Given("thresholds", text, "flag", "--thresholds")) if text else ()
    return run(
        Wanted(
            arguments.out,
            arguments.teacher_url,
            arguments.rows,
            arguments.seed,
            arguments.full,
            arguments.docs,
            given,
        )
    )


def write(arguments: argparse.Namespace) -> str:
    """Write a dataset and say what it holds; UsageError or OutputError when it cannot be."""
    sizes = Sizes(arguments.train, arguments.val, arguments.test)
    if min(sizes.train, sizes.val, sizes.test) < 0:
        raise UsageError("--train, --val and --test take numbers of triplets, 0 or more")
    out: Path = arguments.out
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise OutputError(f"{out} is not empty: give --out a new folder, or remove this one")
        began = time.monotonic()
        made = write_world(arguments.dataset, out, arguments.seed, sizes, arguments.clean)
    except OSError as error:
        raise OutputError(
            f"{error.filename or out}: {error.strerror}: give --out a folder that can be written"
        ) from error
    triplets = ", ".join(f"{count} {split}" for split, count in made.triplets.items())
    dirt = ", ".join(f"{name} {count}" for name, count in made.dirt.items()) or "none"
    seconds = time.monotonic() - began
    return f"{out}: {triplets} triplets, {made.images} images in {seconds:.0f} s\nplanted: {dirt}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit status: 0, or 2 with one line on stderr."""
    take_any_text(sys.stdout, sys.stderr)
    try:
        arguments = parser().parse_args(argv)
        if arguments.command == "write":
            print(write(arguments))
            return 0
        if arguments.command == "prove":
            print(prove(arguments))
            return 0
        report = score_run(arguments.out, arguments.truth)
        if arguments.labels is not None:
            write_labels(report, arguments.out, arguments.labels)
        print(json.dumps(report.as_dict(), indent=1) if arguments.json else summary(report))
        return 0
    except CirError as error:
        # it may quote a file name, a row, a line of truth
        print(f"error: {plain(str(error))}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("stopped; what `prove` was answered is kept, the same command goes on", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
