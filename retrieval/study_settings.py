"""What `train-eval` was told, checked, with what it was not told found: all before anything is trained."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

from annotate.errors import UsageError
from retrieval import defaults
from retrieval.eval_sets import open_eval_sets, parse_roots
from retrieval.evaluate import Choices
from retrieval.flags import settings_of
from retrieval.model import ModelSettings, choose_device
from retrieval.rates import held_out
from retrieval.schedule import TrainSettings
from retrieval.sources import check_one_kind, default_sources, open_source, parse_image_roots
from retrieval.study import Study
from retrieval.two_tower import TwoTower


def study_of(arguments: argparse.Namespace, say: Callable[[str], None]) -> Study:
    """The study that a command line asks for. Raises `UsageError` or `InputError` for what cannot be."""
    image_roots = parse_image_roots(arguments.image_root or ())
    folders = arguments.data or default_sources(defaults.OUTPUTS)
    sources = [open_source(folder, image_roots) for folder in folders]
    check_one_kind(sources)
    seeds = tuple(_numbers("--seeds", arguments.seeds, int))
    if min(seeds) < 0 or max(seeds) >= 2**31 or len(set(seeds)) < len(seeds):
        raise UsageError(f"--seeds {arguments.seeds}: seeds are different numbers from 0 to {2**31 - 1}")
    device = choose_device(arguments.device)
    model, settings = settings_of(arguments, ModelSettings), settings_of(arguments, TrainSettings)
    rate = settings.learning_rate
    grid = (rate / 2, rate, rate * 2) if arguments.ablations else (rate,)
    rates = grid if arguments.rates is None else tuple(_numbers("--rates", arguments.rates, float))
    if not all(0 < each < math.inf for each in rates) or len(set(rates)) < len(rates):
        raise UsageError(f"--rates {arguments.rates}: rates are different numbers above 0")
    roots = parse_roots(arguments.eval_root) if arguments.eval_root else defaults.default_roots(sources, say)
    clip = arguments.clip_model or defaults.CLIP
    if arguments.ablations and not (clip / "config.json").is_file():
        raise UsageError(
            f"{clip} holds no CLIP for two rows of the table; train one (python -m sample.clip train --help),"
            " give --clip-model, or ABLATIONS=0"
        )
    if arguments.ablations:
        TwoTower(clip, device)  # refused now, not after all that is trained
        for folder in folders:
            open_source(folder, image_roots, "annotations")
    if len(rates) > 1:
        for source in sources:
            held_out(source)
    rows = sum(source.n_rows for source in sources)
    say(
        f"{rows:,} rows of {', '.join(map(str, folders))}; each trained row of the table: {settings.steps} "
        f"steps of {settings.batch} rows (each {settings.times_each(rows):.1f} times), "
        f"tuning {model.tuning}, learning rate " + " or ".join(f"{each:g}" for each in rates)
    )
    # the sample's FashionIQ lacks images as the real one does; its counts say so
    planted = not arguments.eval_root and sources[0].manifest.source == "sample"
    choices = Choices(allow_missing=arguments.allow_missing or planted)
    return Study(
        data=tuple(folders),
        image_roots=image_roots,
        base=defaults.base_of(arguments.base_model, sources, say),
        clip=clip,
        model=model,
        train=settings,
        rates=rates,
        rate_steps=arguments.rate_steps or settings.steps,
        # every picture is decoded now: a damaged one must not end the study after all that is trained
        eval_sets=tuple(
            tuple(open_eval_sets(dataset, root, choices, say=say, decode=True))
            for dataset, root in roots.items()
        ),
        gold=defaults.find_gold(arguments.gold or (), defaults.OUTPUTS, roots),
        choices=choices,
        ablations=bool(arguments.ablations),
        seeds=seeds,
        out=arguments.out,
        device=device,
        checkpoint_activations=arguments.checkpoint_activations,
        max_tokens=arguments.max_tokens or (512 if arguments.base_model else defaults.TINY_CHAIN),
    )


def _numbers(flag: str, text: str, kind: Callable[[str], Any]) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"{flag} {text!r} is no list of numbers; write them like 1,2,3") from error
