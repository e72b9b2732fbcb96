"""Flags that several commands share, and those that are the fields of a settings type."""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from annotate.files import usable_path
from retrieval.defaults import OUTPUTS, TINY
from retrieval.generator import PATIENCE
from retrieval.model import ModelSettings
from retrieval.schedule import TrainSettings
from schemas.triplet import DATASETS

SET_BY_THE_TABLE = ("seed", "init_seed", "chain", "blank", "shuffle_chains", "hold_out")
"""Settings in which the rows of `train-eval` differ; its seeds are --seeds."""


def add_training(parser: argparse.ArgumentParser, out: str, leave_out: Sequence[str] = ()) -> None:
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


def add_model(parser: argparse.ArgumentParser, embeds_many: bool = True) -> None:
    parser.add_argument("--model", type=usable_path, required=True, help="folder of a trained model")
    parser.add_argument("--base-model", type=usable_path, help="where its base model lies, if it has moved")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda [auto: a GPU where there is one]")
    if embeds_many:
        parser.add_argument("--batch", type=positive, default=32, help="embedded at a time [32]")


def add_queries(parser: argparse.ArgumentParser, datasets: Sequence[str] = DATASETS) -> None:
    """Which queries are asked, and who writes their chains."""
    parser.add_argument("--dataset", choices=datasets, required=True, help="whose protocol is followed")
    parser.add_argument("--root", type=usable_path, required=True, help="the dataset's root")
    if "fashioniq" in datasets:
        parser.add_argument("--category", help="FashionIQ: this one [all three]")
    parser.add_argument(
        "--max-tokens", type=positive, default=512, help="longest chain that is written [512]"
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


def add_circo_text(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--circo-text",
        choices=("relative", "concept+relative"),
        default="relative",
        help="CIRCO: the caption alone, or after the shared concept [relative]",
    )


def add_allow_missing(
    parser: argparse.ArgumentParser, words: str = "leave out queries without images, counted"
) -> None:
    parser.add_argument("--allow-missing", action="store_true", help=words)


def _add_fields(parser: argparse.ArgumentParser, settings: type[Any], leave_out: Sequence[str]) -> None:
    """One flag a field of a settings type, absent unless given: a new setting is a new flag."""
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


def settings_of(arguments: argparse.Namespace, settings: type[Any]) -> Any:
    """A settings value from the flags that were given; what was not is the base's recipe or the default."""
    names = {field.name for field in dataclasses.fields(settings)}
    of_a_real_model = arguments.base_model is not None or getattr(arguments, "plan", False)
    usual = {} if of_a_real_model else TINY
    given = {name: value for name, value in vars(arguments).items() if name in names}
    return settings(**{name: value for name, value in usual.items() if name in names} | given)


def positive(text: str) -> int:
    """A number of things, for argparse."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def _finite(text: str) -> float:
    """A number, for argparse; the settings say which ones they can use."""
    if math.isinf(value := float(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not finite")
    return value
