"""`python -m retrieval COMMAND`: a thin shell over the package; our errors become one line on stderr."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # models are folders; nothing here needs a hub

from annotate.errors import CirError, RunIncomplete, UsageError
from annotate.files import usable_path
from annotate.text import plain, take_any_text
from retrieval import distributed
from retrieval.commands import COMMANDS, quiet
from retrieval.defaults import OUTPUTS
from retrieval.flags import (
    SET_BY_THE_TABLE,
    add_allow_missing,
    add_circo_text,
    add_model,
    add_queries,
    add_training,
    positive,
)
from retrieval.model import within_memory


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; exit status 0, 1 (a run that could not complete) or 2 (bad usage or input)."""
    take_any_text(sys.stdout, sys.stderr)
    try:
        arguments = parser().parse_args(argv)
        refuse_files(arguments)
        if arguments.function != "train" and distributed.started_by_torchrun():
            raise UsageError(
                "torchrun starts `train` only, a process a GPU; run this command once, without it"
            )
        quiet()
        with within_memory():
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
    add_training(train, "train")
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
    add_training(whole, "train-eval", leave_out=SET_BY_THE_TABLE)
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
        type=positive,
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
        "--max-tokens", type=positive, help="longest chain that is written [512; the sample's base: 224]"
    )
    whole.set_defaults(function="train_eval")

    encode = commands.add_parser("encode", allow_abbrev=False, help="embed a folder of images")
    add_model(encode)
    encode.add_argument("--images", type=usable_path, required=True, help="folder of .png and .jpg files")
    encode.add_argument("--out", type=usable_path, required=True, help="folder for the embeddings")
    add_allow_missing(encode, "leave out pictures that cannot be decoded, counted")
    encode.set_defaults(function="encode")

    evaluate = commands.add_parser("evaluate", allow_abbrev=False, help="measure by a dataset's protocol")
    add_model(evaluate)
    add_queries(evaluate)
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
    add_circo_text(evaluate)
    add_allow_missing(evaluate)
    evaluate.add_argument("--out", type=usable_path, help="folder of the results [outputs/evaluate/DATASET]")
    evaluate.set_defaults(function="evaluate")

    submit = commands.add_parser(
        "submit", allow_abbrev=False, help="files for the servers of CIRR test1 and CIRCO test"
    )
    add_model(submit)
    add_queries(submit, ("cirr", "circo"))
    submit.add_argument(
        "--chain",
        choices=("none", "generated"),
        help="what stands before the embedding: nothing, or the model's own chain [as it was trained]",
    )
    add_circo_text(submit)
    submit.add_argument(
        "--out", type=usable_path, default=OUTPUTS / "submit", help="folder of the files [outputs/submit]"
    )
    submit.set_defaults(function="submit")

    search = commands.add_parser(
        "search", allow_abbrev=False, help="find images for a picture and a modification"
    )
    add_model(search, embeds_many=False)
    search.add_argument("--image", type=usable_path, required=True, help="the reference picture")
    search.add_argument("--text", required=True, help="the modification")
    search.add_argument("--index", type=usable_path, required=True, help="folder that encode wrote")
    search.add_argument("-k", type=positive, default=10, help="how many images [10]")
    search.add_argument("--no-chain", action="store_true", help="do not reason first [as it was trained]")
    search.set_defaults(function="search")
    explain = commands.add_parser(
        "explain", allow_abbrev=False, help="chain, best images and rank of every query; CSV and page"
    )
    add_model(explain)
    add_queries(explain)
    explain.add_argument(
        "--chain",
        choices=("none", "generated"),
        help="what stands before the embedding: nothing, or the model's own chain [as it was trained]",
    )
    add_allow_missing(explain)
    explain.add_argument(
        "--worst", type=positive, default=50, help="how many queries the page shows, worst first [50]"
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
    add_model(export, embeds_many=False)
    export.add_argument("--out", type=usable_path, required=True, help="folder to write the model into")
    export.add_argument(
        "--results", type=usable_path, help="results.json whose numbers go into the model card"
    )
    export.set_defaults(function="export")
    return top


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
