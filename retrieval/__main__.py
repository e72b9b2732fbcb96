"""`python -m retrieval COMMAND`: a thin shell over the package; our errors become one line on stderr."""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # models are folders; nothing here needs a hub

from annotate.errors import CirError, RunIncomplete, UsageError
from annotate.files import usable_path
from annotate.text import plain, take_any_text
from schemas.triplet import DATASETS

OUTPUTS = Path("outputs")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; exit status 0, 1 (a run that could not complete) or 2 (bad usage or input)."""
    take_any_text(sys.stdout, sys.stderr)
    try:
        arguments = parser().parse_args(argv)
        refuse_files(arguments)
        # here, so that usage errors need not wait for all of it
        from retrieval.commands import COMMANDS, quiet

        quiet()
        return COMMANDS[arguments.function](arguments)
    except CirError as error:
        print(f"error: {plain(str(error))}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return RunIncomplete.exit_status


def parser() -> argparse.ArgumentParser:
    """Every command with its flags."""
    top = argparse.ArgumentParser(prog="python -m retrieval", description="Train and evaluate the retriever.")
    commands = top.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", allow_abbrev=False, help="train on published shards")
    _add_training(train, "train")
    train.add_argument(
        "--rows",
        choices=("train", "annotations"),
        default="train",
        help="train: accepted rows; annotations: also rejected ones [train]",
    )
    train.add_argument(
        "--plan", action="store_true", help="print size, memory and time of a real run, then stop"
    )
    train.set_defaults(function="train")

    whole = commands.add_parser(
        "train-eval", allow_abbrev=False, help="train and measure every row of the table"
    )
    _add_training(whole, "train-eval", leave_out=SET_BY_THE_TABLE)
    whole.add_argument(
        "--eval-root",
        action="append",
        metavar="[DATASET=]ROOT",
        help="where to measure [the validation splits of your roots; for sample data, the sample's]",
    )
    whole.add_argument(
        "--ablations", type=int, choices=(0, 1), default=1, help="0: ours and the two shortcuts only [1]"
    )
    whole.add_argument(
        "--allow-missing",
        action="store_true",
        help="leave out queries without images, counted; the sample's own worlds lack some by design",
    )
    whole.add_argument("--seeds", default="0", help="training seeds, e.g. 0,1,2 [0]")
    whole.add_argument(
        "--rates",
        help="learning rates to choose from on a tenth of train, e.g. 5e-4,1e-3 "
        "[--learning-rate alone; with --ablations 1 also its half and its double]",
    )
    whole.add_argument(
        "--rate-steps",
        type=_positive,
        help="steps of each trial of a learning rate; few save time where there are many rows [--steps]",
    )
    whole.add_argument(
        "--gold",
        type=usable_path,
        action="append",
        help="OUT folders with the teacher's chains of the queries [those in outputs/]",
    )
    whole.add_argument("--clip-model", type=usable_path, help="CLIP or SigLIP of two rows [the sample's]")
    whole.add_argument(
        "--max-tokens", type=_positive, help="longest chain that is written [512; the sample's base: 224]"
    )
    whole.set_defaults(function="train_eval")

    encode = commands.add_parser("encode", allow_abbrev=False, help="embed a folder of images")
    _add_model(encode)
    encode.add_argument("--images", type=usable_path, required=True, help="folder of .png and .jpg files")
    encode.add_argument("--out", type=usable_path, required=True, help="folder for the embeddings")
    encode.set_defaults(function="encode")

    evaluate = commands.add_parser("evaluate", allow_abbrev=False, help="measure by a dataset's protocol")
    _add_model(evaluate)
    _add_queries(evaluate)
    evaluate.add_argument(
        "--chain",
        choices=("none", "gold", "generated"),
        help="what stands before the embedding: nothing, the teacher's chain, the model's own [as trained]",
    )
    evaluate.add_argument(
        "--gold", type=usable_path, help="OUT folder with annotations of this split, for --chain gold"
    )
    evaluate.add_argument(
        "--gallery",
        choices=("original", "val_union"),
        default="original",
        help="FashionIQ: the split file's images, or only those that the captions use [original]",
    )
    evaluate.add_argument(
        "--exclude-reference", action="store_true", help="FashionIQ: do not rank the reference itself"
    )
    evaluate.add_argument(
        "--caption-mode",
        choices=("and", "clip4cir", "searle", "cosmo", "val"),
        default="clip4cir",
        help="FashionIQ: whose way to ask its two captions [clip4cir]",
    )
    evaluate.add_argument(
        "--circo-text",
        choices=("relative", "concept+relative"),
        default="relative",
        help="CIRCO: the caption alone, or after the shared concept [relative]",
    )
    evaluate.add_argument(
        "--allow-missing", action="store_true", help="leave out queries without images, counted"
    )
    evaluate.add_argument(
        "--out",
        type=usable_path,
        default=OUTPUTS / "evaluate",
        help="folder of the results [outputs/evaluate]",
    )
    evaluate.set_defaults(function="evaluate")

    submit = commands.add_parser(
        "submit", allow_abbrev=False, help="files for the servers of CIRR test1 and CIRCO test"
    )
    _add_model(submit)
    _add_queries(submit, ("cirr", "circo"))
    submit.add_argument(
        "--chain",
        choices=("none", "generated"),
        help="what stands before the embedding: nothing, or the model's own chain [as it was trained]",
    )
    submit.add_argument(
        "--out", type=usable_path, default=OUTPUTS / "submit", help="folder of the files [outputs/submit]"
    )
    submit.set_defaults(function="submit")

    search = commands.add_parser(
        "search", allow_abbrev=False, help="find images for a picture and a modification"
    )
    _add_model(search)
    search.add_argument("--image", type=usable_path, required=True, help="the reference picture")
    search.add_argument("--text", required=True, help="the modification")
    search.add_argument("--index", type=usable_path, required=True, help="folder that encode wrote")
    search.add_argument("-k", type=_positive, default=10, help="how many images [10]")
    search.add_argument("--no-chain", action="store_true", help="do not reason first [as it was trained]")
    search.set_defaults(function="search")
    explain = commands.add_parser(
        "explain", allow_abbrev=False, help="chain, best images and rank of every query; CSV and page"
    )
    _add_model(explain)
    _add_queries(explain)
    explain.add_argument(
        "--chain",
        choices=("none", "generated"),
        help="what stands before the embedding: nothing, or the model's own chain [as it was trained]",
    )
    explain.add_argument(
        "--worst", type=_positive, default=50, help="how many queries the page shows, worst first [50]"
    )
    explain.add_argument(
        "--out",
        type=usable_path,
        default=OUTPUTS / "explain",
        help="folder of CSV and page [outputs/explain]",
    )
    explain.set_defaults(function="explain")

    export = commands.add_parser(
        "export", allow_abbrev=False, help="one plain model folder for transformers and vLLM"
    )
    _add_model(export)
    export.add_argument("--out", type=usable_path, required=True, help="folder to write the model into")
    export.add_argument(
        "--results", type=usable_path, help="results.json whose numbers go into the model card"
    )
    export.set_defaults(function="export")
    return top


SET_BY_THE_TABLE = ("seed", "init_seed", "chain", "blank", "shuffle_chains", "hold_out")
"""Settings in which the rows of `train-eval` differ; its seeds are --seeds."""


def _add_training(parser: argparse.ArgumentParser, out: str, leave_out: Sequence[str] = ()) -> None:
    from retrieval.model import ModelSettings
    from retrieval.schedule import TrainSettings

    parser.add_argument(
        "--data",
        type=usable_path,
        action="append",
        help="OUT folder of make annotate, repeatable [every complete outputs/*-train of one source]",
    )
    parser.add_argument(
        "--image-root",
        action="append",
        metavar="[DATASET=]ROOT",
        help="where a dataset's root lies if it has moved, repeatable [where it was annotated]",
    )
    parser.add_argument(
        "--base-model", type=usable_path, help="image-text-to-text model [the sample's tiny base]"
    )
    parser.add_argument(
        "--out",
        type=usable_path,
        default=OUTPUTS / out,
        help=f"folder of model and checkpoints [{OUTPUTS / out}]",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda [auto: a GPU where there is one]")
    parser.add_argument("--checkpoint-activations", action="store_true", help="less memory, more time")
    _add_fields(parser, ModelSettings, leave_out)
    _add_fields(parser, TrainSettings, leave_out)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=usable_path, required=True, help="folder of a trained model")
    parser.add_argument("--base-model", type=usable_path, help="where its base model lies, if it has moved")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda [auto: a GPU where there is one]")
    parser.add_argument("--batch", type=_positive, default=32, help="embedded at a time [32]")


def _add_queries(parser: argparse.ArgumentParser, datasets: Sequence[str] = DATASETS) -> None:
    """Which queries are asked, and who writes their chains."""
    from retrieval.generator import PATIENCE

    parser.add_argument("--dataset", choices=datasets, required=True, help="whose protocol is followed")
    parser.add_argument("--root", type=usable_path, required=True, help="the dataset's root")
    if "fashioniq" in datasets:
        parser.add_argument("--category", help="FashionIQ: this one [all three]")
    parser.add_argument(
        "--max-tokens", type=_positive, default=512, help="longest chain that is written [512]"
    )
    parser.add_argument(
        "--generator-url", help="vLLM server of the exported model that writes the chains [this process does]"
    )
    parser.add_argument(
        "--generator-patience",
        type=float,
        default=PATIENCE,
        metavar="SECONDS",
        help=f"give up when that server has written no chain for so long [{PATIENCE:g}]",
    )


def _add_fields(parser: argparse.ArgumentParser, settings: type[Any], leave_out: Sequence[str]) -> None:
    """One flag a field of a settings type, absent unless given: a new setting is a new flag."""
    from retrieval.defaults import TINY

    hints = get_type_hints(settings, include_extras=True)
    for field in dataclasses.fields(settings):
        if field.name in leave_out:
            continue
        flag = "--" + field.name.replace("_", "-")
        kind, words = get_args(hints[field.name])  # Annotated[type, help]
        usual = TINY.get(field.name, field.default)
        tiny = "" if usual == field.default else f"; the sample's base: {usual}"
        shown = "none" if field.default == "" else field.default
        about: dict[str, Any] = {"default": argparse.SUPPRESS, "help": f"{words} [{shown}{tiny}]"}
        if kind is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, **about)
        elif get_origin(kind) is Literal:
            parser.add_argument(flag, choices=get_args(kind), **about)
        else:
            parser.add_argument(flag, type=_finite if kind is float else kind, **about)


def _positive(text: str) -> int:
    """A number of things, for argparse."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def _finite(text: str) -> float:
    """A number, for argparse; the settings say which ones they can use."""
    if math.isinf(value := float(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not finite")
    return value


def refuse_files(arguments: argparse.Namespace) -> None:
    """Raise `UsageError` when something that is no folder, or an annotation run, lies where results should
    go."""
    out = getattr(arguments, "out", None)
    for place in (out, *out.parents) if isinstance(out, Path) else ():
        if place.exists() and not place.is_dir():
            raise UsageError(f"{place} is no folder; give --out another one")
    if isinstance(out, Path) and (out / "manifest.json").is_file():
        raise UsageError(f"{out} holds annotations; give --out another folder")


if __name__ == "__main__":
    sys.exit(main())
