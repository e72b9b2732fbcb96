"""`python -m annotate COMMAND`: a thin shell over the package; our errors become one line on stderr."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from annotate.errors import CirError, RunIncomplete, UsageError
from annotate.files import usable_path
from annotate.images import ImageStore
from annotate.job import annotate, run_locally
from annotate.locks import hold_lock
from annotate.preparing import Prepared, prepare, render_sample
from annotate.progress import Progress
from annotate.report import final_screen, pick_examples, stored_pictures, write_report
from annotate.settings import (
    Configuration,
    add_arguments,
    api_key,
    from_arguments,
    show_config,
)
from annotate.settings import values as setting_values
from annotate.settings.values import Given
from annotate.shards.publish import rejudge
from annotate.shards.published import read_finished, read_manifest
from annotate.telling import Watch, reset_words, toy_words
from annotate.text import plain, take_any_text
from schemas.manifest import Manifest


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; exit status 0, 1 (a run that could not complete) or 2 (bad usage or input)."""
    take_any_text(sys.stdout, sys.stderr)
    try:
        arguments = _parser().parse_args(argv)
        command: Callable[[argparse.Namespace], int] = arguments.function
        return command(arguments)
    except CirError as error:
        print(f"error: {plain(str(error))}", file=sys.stderr)  # it may quote a dataset, a server, a file name
        return error.exit_status
    except KeyboardInterrupt:
        print("interrupted; what was answered is kept, the same command goes on", file=sys.stderr)
        return RunIncomplete.exit_status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of our output has gone
        return RunIncomplete.exit_status


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m annotate", description="Checked chain-of-thought annotations for CIR."
    )
    commands = top.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="annotate a dataset")
    add_arguments(run)
    run.add_argument(
        "--show-config", action="store_true", help="print every setting with its source, and stop"
    )
    run.set_defaults(function=_run)

    select = commands.add_parser("select", help="derive the verdicts anew from stored scores; no teacher")
    select.add_argument("--out", default="", help="folder of a finished run")
    select.add_argument(
        "--thresholds",
        default="",
        help="score=least, comma-separated, e.g. p_edits=0.9; the others are the run's [docs/trust.md]",
    )
    select.add_argument("--precision", type=float, help="use thresholds that were calibrated to keep it")
    select.add_argument("--calibration", type=usable_path, help="thresholds.json to use [that of OUT]")
    select.set_defaults(function=_select)

    label = commands.add_parser("label", help="judge a random sample of rows by hand, blind to the verdict")
    label.add_argument("--out", required=True, type=usable_path, help="folder of a finished run")
    label.add_argument(
        "--labels", required=True, type=usable_path, help="file of judgements, continued if there"
    )
    label.add_argument("--person", required=True, help="who judges; several people may share a file")
    label.add_argument("--count", type=_whole("--count", 1, 750), default=750, help="rows to draw [750]")
    label.add_argument(
        "--seed", type=_whole("--seed", 0, 1), default=0, help="of the draw; the same for everybody [0]"
    )
    label.set_defaults(function=_label)

    calibrate = commands.add_parser("calibrate", help="thresholds that keep a precision, from labelled rows")
    calibrate.add_argument(
        "--out", required=True, type=usable_path, help="folder of a finished run (EARLY_STOP=0)"
    )
    calibrate.add_argument("--labels", required=True, type=usable_path, help="file of judgements of its rows")
    calibrate.add_argument("--precision", type=float, default=0.99, help="least share of right rows [0.99]")
    calibrate.set_defaults(function=_calibrate)

    inspect = commands.add_parser("inspect", help="print one triplet's whole chain")
    inspect.add_argument("triplet", help="e.g. cirr/train/12063")
    inspect.add_argument(
        "--out",
        type=usable_path,
        help="folder of the run [outputs/user-<dataset>-<split> of the triplet, or the sample's]",
    )
    inspect.set_defaults(function=_inspect)

    doctor = commands.add_parser("doctor", help="check machine, environments, ports, server and data")
    add_arguments(doctor)
    doctor.set_defaults(function=_doctor)

    serve = commands.add_parser("serve-teacher", help="start the teacher in vLLM and keep it until Ctrl-C")
    add_arguments(serve)
    serve.set_defaults(function=_serve_teacher)

    journal = commands.add_parser(
        "journal", help="what the teacher has answered: stats, verify, compact, export, forget"
    )
    journal.add_argument("action", choices=("stats", "verify", "compact", "export", "forget"))
    journal.add_argument("--out", required=True, type=usable_path, help="folder of the run")
    journal.set_defaults(function=_journal)
    return top


def _whole(flag: str, least: int, example: int) -> Callable[[str], int]:
    """Parser of a whole number, for argparse."""
    parse = setting_values.whole(least, 2**31 - 1, example)
    return lambda text: parse(Given(flag, text.strip(), "flag", flag))


def _run(arguments: argparse.Namespace) -> int:
    configuration = from_arguments(arguments, os.environ, Path.cwd())
    if arguments.show_config:
        print(show_config(configuration, os.environ))
        return 0
    settings = configuration.run
    _say(f"{settings.dataset} {settings.split} from {settings.root} into {settings.out}")
    if toy := toy_words(settings):
        _say("; ".join(toy))
    if settings.source == "sample":
        render_sample(settings, _say)
    prepared = prepare(configuration)
    with Progress(f"{settings.dataset} {settings.split}") as progress:
        watch = Watch(say=_say, update=progress.update)
        run = _with_prefect if settings.runner == "prefect" else _without_prefect
        manifest = run(configuration, prepared, watch)
    print(_last_screen(settings.out, manifest), end="")
    return 0


def _without_prefect(configuration: Configuration, prepared: Prepared, watch: Watch) -> Manifest:
    return asyncio.run(annotate(prepared, api_key(os.environ), run_locally, watch))


def _with_prefect(configuration: Configuration, prepared: Prepared, watch: Watch) -> Manifest:
    """The same run as a Prefect flow. Should Prefect fail after the work is done, the work stands."""
    from flows.prefect_api import HOME, prefect_api

    with prefect_api(configuration.run.prefect_api, HOME) as url:
        watch.say(f"Prefect: {url.removesuffix('/api')}")
        from flows.annotation import run_flow  # only now: Prefect reads its settings on import

        return run_flow(configuration, prepared, watch)


def _written(out: Path) -> list[tuple[str, str]]:
    return [
        ("train", f"{out}/train/"),
        ("scores", f"{out}/annotations/"),
        ("left out", f"{out}/rejected/, {out}/quarantine/"),
        ("report", f"{out}/report.html"),
        ("card", f"{out}/README.md, {out}/manifest.json"),
    ]


def _last_screen(out: Path, manifest: Manifest) -> str:
    """What `run` and `select` end with: counts, examples, paths, and commands that work as they stand."""
    examples, where = pick_examples(out), shlex.quote(str(out))
    shown = next(filter(None, (examples.accepted, examples.rejected, examples.quarantined)), None)
    for_make = re.fullmatch(r"[\w./+-]+", str(out)) is not None  # make takes no blanks and quotes
    steps = []
    if shown is not None:
        name = shlex.quote(shown.triplet_id)
        steps.append(("one chain", f".venv/bin/python -m annotate inspect {name} --out {where}"))
    truth = Path(manifest.root) / "truth.jsonl"
    if os.path.exists(truth):  # noqa: PTH110 (Path's own raises where it may not enter)
        known = shlex.quote(str(truth))
        steps.append(("score by truth", f".venv/bin/python -m sample score {where} --truth {known}"))
    if manifest.counts.accepted and for_make:
        steps.append(("other threshold", f"make select OUT={where} THRESHOLDS=p_edits=0.9"))
        if manifest.split == "train":
            steps.append(("a retriever", f"make train-eval ABLATIONS=0 DATA={where}"))
    return final_screen(manifest, examples, _written(out), steps)


def _select(arguments: argparse.Namespace) -> int:
    given = Given("thresholds", arguments.thresholds, "flag", "--thresholds")
    thresholds = dict(setting_values.thresholds(given)) if arguments.thresholds.strip() else {}
    precision = None
    out = _published(arguments.out)
    known = read_manifest(out)  # a folder that is no run's is refused before a lock is put into it
    if arguments.precision is not None:
        from annotate.calibration.thresholds import FILE, promised

        if thresholds:
            raise UsageError("PRECISION chooses the thresholds itself; leave THRESHOLDS out")
        path = arguments.calibration or out / FILE
        thresholds, precision = promised(path, arguments.precision, read_finished(out))
    with hold_lock(out / "journal" / "lock"):
        manifest = rejudge(out, thresholds, precision)
        if precision is None and (changed := reset_words(out, known, manifest.thresholds, given=True)):
            _say(changed)
        images = ImageStore(out / "journal" / "images", manifest.image_recipe)
        write_report(out, manifest, stored_pictures(images))
    print(_last_screen(out, manifest), end="")
    return 0


def _published(given: str) -> Path:
    """The folder to select in. Raises `UsageError`, naming those that could be meant, for none or another."""
    if given and ((out := usable_path(given)) / "manifest.json").exists():
        return out
    known = [str(path.parent) for path in sorted(Path("outputs").glob("*/manifest.json"))]
    what = f"{given} holds no manifest.json" if given else "no OUT is given"
    there = (
        f"there are {', '.join(known)}" if known else "there is none in outputs/ yet: run make annotate first"
    )
    raise UsageError(f"{what}; give OUT=outputs/…, a folder with the results of a run ({there})")


def _label(arguments: argparse.Namespace) -> int:
    from annotate.calibration.label import at_best, label

    manifest = read_finished(arguments.out)
    print(at_best(manifest.counts.accepted, manifest.counts.rejected, arguments.count))
    images = ImageStore(arguments.out / "journal" / "images", manifest.image_recipe)
    print(
        label(
            arguments.out,
            arguments.labels,
            arguments.person,
            arguments.count,
            arguments.seed,
            stored_pictures(images),
            input,
        )
    )
    return 0


def _calibrate(arguments: argparse.Namespace) -> int:
    from annotate.calibration.thresholds import calibrate, needed_words, summary

    found = calibrate(arguments.out, arguments.labels, arguments.precision)
    print(summary(found))
    if found.promise is None:
        raise RunIncomplete(needed_words(found))
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    from annotate.inspect_triplet import inspect

    out = arguments.out
    if out is None:
        parts = arguments.triplet.split("/")
        if len(parts) < 3:
            raise UsageError(f"{arguments.triplet}: not a triplet id; it looks like cirr/train/12063")
        own, sample = (usable_path(f"outputs/{whose}{parts[0]}-{parts[1]}") for whose in ("user-", ""))
        out = own if own.is_dir() else sample
    print(inspect(out, arguments.triplet))
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from annotate.doctor import doctor, shown

    findings = doctor(from_arguments(arguments, os.environ, Path.cwd()).run, api_key(os.environ))
    print(shown(findings))
    return 0 if all(finding.ok for finding in findings) else 1


def _serve_teacher(arguments: argparse.Namespace) -> int:
    from annotate.teacher.server import serve_forever

    settings = from_arguments(arguments, os.environ, Path.cwd()).run
    if settings.teacher is None:
        raise UsageError("serve-teacher starts a server; leave TEACHER_URL out")
    log = Path("outputs") / "teacher.log"
    flags = settings.teacher_flags
    serve_forever(settings.teacher, settings.teacher_python, log, settings.port, flags, say=_say)


def _journal(arguments: argparse.Namespace) -> int:
    from annotate import journal_tools

    action: Callable[[Path], str] = getattr(journal_tools, arguments.action)
    print(action(arguments.out / "journal"))
    return 0


def _say(line: str) -> None:
    """Progress lines go to stderr, results to stdout; a reader who went away is no reason to stop."""
    with suppress(OSError, ValueError):
        print(plain(line), file=sys.stderr, flush=True)
