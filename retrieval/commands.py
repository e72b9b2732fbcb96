"""What each command of `python -m retrieval` does: settings in, one call of the package, lines out."""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from transformers.utils import logging as transformers_logging

from annotate.errors import UsageError
from annotate.locks import hold_lock
from retrieval import checkpoint, defaults, distributed
from retrieval.checkpoint import Card
from retrieval.encode import encode_images, model_key
from retrieval.evaluate import Asking, Choices, ask, evaluate, open_eval_sets, parse_roots, query_jobs
from retrieval.explain import by_kind, explain, write_csv, write_page
from retrieval.export import export
from retrieval.generator import open_generator
from retrieval.model import CirModel, ModelSettings, choose_device, parameter_counts
from retrieval.pictures import Pictures
from retrieval.plan import plan
from retrieval.rates import held_out
from retrieval.results import TableRow, write_results
from retrieval.retriever import Retriever, images_of, named_by_stem
from retrieval.schedule import TrainSettings
from retrieval.sources import check_one_kind, default_sources, gold_chains, open_source, parse_image_roots
from retrieval.study import Study, run_study
from retrieval.submissions import TEST_SPLITS, write_circo_submission, write_cirr_submission
from retrieval.train import train
from retrieval.two_tower import TwoTower

OUTPUTS = Path("outputs")


def quiet() -> None:
    """No progress bars of transformers between our own lines."""
    transformers_logging.disable_progress_bar()


def _settings(arguments: argparse.Namespace, settings: type[Any]) -> Any:
    """A settings value from the flags that were given; what was not is the base's recipe or the default."""
    names = {field.name for field in dataclasses.fields(settings)}
    of_a_real_model = arguments.base_model is not None or getattr(arguments, "plan", False)
    usual = {} if of_a_real_model else defaults.TINY
    given = {name: value for name, value in vars(arguments).items() if name in names}
    return settings(**{name: value for name, value in usual.items() if name in names} | given)


def run_train(arguments: argparse.Namespace) -> int:
    model_settings, train_settings = _settings(arguments, ModelSettings), _settings(arguments, TrainSettings)
    if arguments.plan:
        print(plan(model_settings, train_settings))
        return 0
    image_roots = parse_image_roots(arguments.image_root or ())
    folders = arguments.data or default_sources(OUTPUTS)
    sources = [open_source(folder, image_roots, arguments.rows) for folder in folders]
    check_one_kind(sources)
    device = choose_device(arguments.device)
    base = arguments.base_model or defaults.BASE
    distributed.start_from_environment(device.type)
    try:
        model = CirModel(base, model_settings, device)
        if arguments.checkpoint_activations:
            model.checkpoint_activations()
        everything, trained = parameter_counts(model)
        rows = sum(source.n_rows for source in sources)
        _say(f"{rows:,} rows; {trained:,} of {everything:,} parameters are trained on {device}")
        one_run = nullcontext() if distributed.rank() else hold_lock(arguments.out / "lock", arguments.out)
        with one_run:
            folder = train(model, base, sources, train_settings, arguments.out, _say)
    finally:
        distributed.stop()
    _say(f"model in {folder}")
    return 0


def study_of(arguments: argparse.Namespace, say: Callable[[str], None]) -> Study:
    """Everything that `train-eval` was told, checked, with what it was not told found."""
    image_roots = parse_image_roots(arguments.image_root or ())
    folders = arguments.data or default_sources(OUTPUTS)
    sources = [open_source(folder, image_roots) for folder in folders]
    check_one_kind(sources)
    seeds = tuple(_numbers("--seeds", arguments.seeds, int))
    if min(seeds) < 0 or max(seeds) >= 2**31 or len(set(seeds)) < len(seeds):
        raise UsageError(f"--seeds {arguments.seeds}: seeds are different numbers from 0 to {2**31 - 1}")
    device = choose_device(arguments.device)
    model, settings = _settings(arguments, ModelSettings), _settings(arguments, TrainSettings)
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
    if arguments.ablations:
        for folder in folders:
            open_source(folder, image_roots, "annotations")
    if len(rates) > 1:
        for source in sources:
            held_out(source)
    rows = sum(source.n_rows for source in sources)
    say(
        f"{rows:,} rows of {', '.join(map(str, folders))}; each trained row of the table: {settings.steps} "
        f"steps of {settings.batch} rows, tuning {model.tuning}, learning rate "
        + " or ".join(f"{each:g}" for each in rates)
    )
    # the sample's FashionIQ lacks images as the real one does; its counts say so
    planted = not arguments.eval_root and sources[0].manifest.source == "sample"
    choices = Choices(allow_missing=arguments.allow_missing or planted)
    return Study(
        data=tuple(folders),
        image_roots=image_roots,
        base=arguments.base_model or defaults.BASE,
        clip=clip,
        model=model,
        train=settings,
        rates=rates,
        rate_steps=arguments.rate_steps or settings.steps,
        eval_sets=tuple(tuple(open_eval_sets(dataset, root, choices)) for dataset, root in roots.items()),
        gold=defaults.find_gold(arguments.gold or (), OUTPUTS, roots),
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


def run_train_eval(arguments: argparse.Namespace) -> int:
    table = run_study(study_of(arguments, _say), _say)[1]
    print(table.read_text(), end="")
    return 0


def run_encode(arguments: argparse.Namespace) -> int:
    paths = named_by_stem(images_of(arguments.images))
    model, card = checkpoint.load(arguments.model, choose_device(arguments.device), arguments.base_model)
    found = encode_images(
        model, model_key(card), paths, arguments.out, Pictures(card.recipe), arguments.batch, say=_say
    )
    print(f"{len(found.names)} vectors of {model.dim} numbers in {arguments.out}")
    return 0


def _refuse_choices_of_others(arguments: argparse.Namespace) -> None:
    """Raise `UsageError` for a protocol's choice that the dataset does not have: it would change nothing."""
    fashioniq = ("gallery", "exclude_reference", "caption_mode", "category")
    for dataset, names in (("fashioniq", fashioniq), ("circo", ("circo_text",))):
        for name in names:
            usual = getattr(Choices(), name, None)
            if arguments.dataset != dataset and getattr(arguments, name) != usual:
                raise UsageError(f"--{name.replace('_', '-')} is a choice of {dataset} only; leave it out")


def run_evaluate(arguments: argparse.Namespace) -> int:
    if arguments.chain == "gold" and arguments.gold is None:
        raise UsageError("--chain gold needs --gold OUT, the annotations of the split that is evaluated")
    _refuse_choices_of_others(arguments)
    choices = Choices(
        gallery=arguments.gallery,
        exclude_reference=arguments.exclude_reference,
        caption_mode=arguments.caption_mode,
        circo_text=arguments.circo_text,
        allow_missing=arguments.allow_missing,
    )
    eval_sets = open_eval_sets(arguments.dataset, arguments.root, choices, category=arguments.category)
    jobs = query_jobs({arguments.dataset: arguments.root}, arguments.category)
    gold = gold_chains(arguments.gold, jobs) if arguments.gold else None
    model, card = checkpoint.load(arguments.model, choose_device(arguments.device), arguments.base_model)
    asking = dataclasses.replace(_asking(arguments, card), gold=gold)
    folder = arguments.out / "embeddings"
    done = [evaluate(model, model_key(card), each, choices, asking, folder, _say) for each in eval_sets]
    queries = [evaluation.queries for evaluation in done if evaluation.queries is not None]
    count = sum(len(each.vectors) for each in queries)
    writing = sum(each.writing_seconds for each in queries)
    row = TableRow(
        label=arguments.model.parent.name,
        results=tuple(evaluation.result for evaluation in done),
        chain=asking.chain,
        seed=card.seed,
        data_digest=str(card.about.get("data", "")),
        eval_digest=" ".join(each.digest[:16] for each in eval_sets),
        model_digest=card.weights_sha256,
        learning_rate=card.learning_rate,
        ms_per_query=1000 * (writing + sum(each.embedding_seconds for each in queries)) / count,
        ms_writing=1000 * writing / count,
    )
    for evaluation in done:
        print(evaluation.result)
    paths = write_results(arguments.out, [row])
    _say(f"written: {', '.join(map(str, paths))}")
    return 0


def _asking(arguments: argparse.Namespace, card: Card) -> Asking:
    """As was asked for, else as the model was trained. Raises `UsageError` for a chain that it never wrote,
    or when the generator's server is not there."""
    url, chain = arguments.generator_url, arguments.chain
    if not card.writes_chains and chain in ("generated", "gold"):
        raise UsageError(f"{arguments.model}: was trained without chains; pass --chain none")
    return Asking(
        chain=chain or ("generated" if card.writes_chains else "none"),
        recipe=card.recipe,
        blank=card.blank,
        batch=arguments.batch,
        max_tokens=arguments.max_tokens,
        generator=open_generator(url, arguments.generator_patience) if url else None,
    )


def run_submit(arguments: argparse.Namespace) -> int:
    (eval_set,) = open_eval_sets(arguments.dataset, arguments.root, Choices(), TEST_SPLITS[arguments.dataset])
    model, card = checkpoint.load(arguments.model, choose_device(arguments.device), arguments.base_model)
    asking, folder = _asking(arguments, card), arguments.out / "embeddings"
    scores, _ = ask(model, model_key(card), eval_set, Choices(), asking, folder, _say)
    answers = (scores, eval_set.gallery, eval_set.triplets)
    if arguments.dataset == "cirr":
        paths: tuple[Path, ...] = write_cirr_submission(arguments.out, *answers)
    else:
        paths = (write_circo_submission(arguments.out / "circo.json", *answers),)
    print(
        f"{len(eval_set.triplets):,} queries for the {arguments.dataset} server: {', '.join(map(str, paths))}"
    )
    return 0


def run_search(arguments: argparse.Namespace) -> int:
    retriever = Retriever.load(arguments.model, arguments.device, arguments.base_model)
    found = retriever.open_index(arguments.index).search(
        arguments.image, arguments.text, arguments.k, chain=False if arguments.no_chain else None
    )
    if found.chain is not None:
        print(found.chain + "\n")
    for place, hit in enumerate(found.hits, 1):
        print(f"{place:3d}  {hit.score:.4f}  {hit.name}")
    return 0


def run_explain(arguments: argparse.Namespace) -> int:
    choices = Choices()
    eval_sets = open_eval_sets(arguments.dataset, arguments.root, choices, category=arguments.category)
    model, card = checkpoint.load(arguments.model, choose_device(arguments.device), arguments.base_model)
    asking = _asking(arguments, card)
    for eval_set in eval_sets:
        done = evaluate(model, model_key(card), eval_set, choices, asking, arguments.out / "embeddings", _say)
        explained = explain(eval_set, choices, done)
        name = "-".join(filter(None, (eval_set.dataset, eval_set.split, eval_set.category)))
        table = write_csv(arguments.out / f"{name}.csv", explained)
        page = write_page(
            arguments.out / f"{name}.html",
            explained[: arguments.worst],
            eval_set,
            str(done.result),
            card.recipe,
        )
        print(done.result)
        for kind, count, hit in by_kind(explained):
            print(f"  {kind:20s} {count:5d} queries, target among the best 10: {100 * hit:.1f} %")
        _say(f"written: {table}, {page}")
    return 0


def run_export(arguments: argparse.Namespace) -> int:
    model, card = checkpoint.load(arguments.model, choose_device(arguments.device), arguments.base_model)
    print(f"model in {export(model, card, arguments.out, arguments.results)}")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "train": run_train,
    "train_eval": run_train_eval,
    "encode": run_encode,
    "evaluate": run_evaluate,
    "submit": run_submit,
    "search": run_search,
    "explain": run_explain,
    "export": run_export,
}
