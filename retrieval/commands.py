"""What each command of `python -m retrieval` does: settings in, one call of the package, lines out."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path

from transformers.utils import logging as transformers_logging

from annotate.errors import InputError, UsageError
from annotate.files import remove_leftovers
from annotate.images import parse_recipe
from annotate.locks import hold_lock
from annotate.text import plain
from retrieval import checkpoint, defaults, distributed
from retrieval.checkpoint import Card
from retrieval.conversation import ChainMode
from retrieval.encode import encode_images, model_key, remove_replaced
from retrieval.eval_sets import open_eval_sets, query_jobs
from retrieval.evaluate import Asking, Choices, EvalSet, ask, evaluate, with_chains_only
from retrieval.explain import by_kind, explain, write_csv, write_page
from retrieval.export import export
from retrieval.flags import settings_of
from retrieval.generator import open_generator
from retrieval.measured import Origin, line
from retrieval.model import CirModel, ModelSettings, choose_device, parameter_counts
from retrieval.pictures import Pictures, damaged
from retrieval.plan import plan
from retrieval.results import keep_others, write_results
from retrieval.retriever import Retriever, images_of, named_by_stem
from retrieval.schedule import TrainSettings
from retrieval.sources import check_one_kind, default_sources, gold_chains, open_source, parse_image_roots
from retrieval.study import run_study
from retrieval.study_settings import study_of
from retrieval.submissions import TEST_SPLITS, write_circo_submission, write_cirr_submission
from retrieval.train import train


def quiet() -> None:
    """No progress bars of transformers between our own lines."""
    transformers_logging.disable_progress_bar()


def run_train(arguments: argparse.Namespace) -> int:
    model_settings = settings_of(arguments, ModelSettings)
    train_settings = settings_of(arguments, TrainSettings)
    if arguments.plan:
        print(plan(model_settings, train_settings, arguments.checkpoint_activations))
        return 0
    image_roots = parse_image_roots(arguments.image_root or ())
    folders = arguments.data or default_sources(defaults.OUTPUTS)
    sources = [open_source(folder, image_roots, arguments.rows) for folder in folders]
    check_one_kind(sources)
    device = choose_device(arguments.device)
    base = defaults.base_of(arguments.base_model, sources, _say)
    distributed.start_from_environment(device.type)
    try:
        model = CirModel(base, model_settings, device)
        if arguments.checkpoint_activations:
            model.checkpoint_activations()
        everything, trained = parameter_counts(model)
        rows = sum(source.n_rows for source in sources)
        side = parse_recipe(sources[0].manifest.image_recipe).longer_side
        _say(
            f"{rows:,} rows, each {train_settings.times_each(rows):.1f} times; a picture of {side} x {side} "
            f"is {model.reader.places(side):,} tokens; {trained:,} of {everything:,} parameters are trained "
            f"on {device}"
        )
        one_run = nullcontext() if distributed.rank() else hold_lock(arguments.out / "lock", arguments.out)
        with one_run:
            if not distributed.rank():
                remove_leftovers(arguments.out)
            folder = train(model, base, sources, train_settings, arguments.out, _say)
    finally:
        distributed.stop()
    _say(f"model in {folder}")
    return 0


def run_train_eval(arguments: argparse.Namespace) -> int:
    table = run_study(study_of(arguments, _say), _say)[1]
    print(table.read_text(), end="")
    return 0


def run_encode(arguments: argparse.Namespace) -> int:
    paths = named_by_stem(images_of(arguments.images))
    if arguments.allow_missing:
        unusable = damaged(paths, "images", _say)
        paths = {name: path for name, path in paths.items() if name not in unusable}
        if not paths:
            raise InputError(f"{arguments.images}: none of its pictures can be used; give another folder")
        if unusable:
            _say(f"left out: {len(unusable):,} pictures, the first is {next(iter(unusable.values()))}")
    model, card = checkpoint.load(arguments.model, choose_device(arguments.device), arguments.base_model)
    found = encode_images(
        model, model_key(card), paths, arguments.out, Pictures(card.recipe), arguments.batch, say=_say
    )
    remove_replaced(arguments.out)
    print(f"{len(found.names)} vectors of {model.dim} numbers in {arguments.out}")
    return 0


def _refuse_choices_of_others(arguments: argparse.Namespace) -> None:
    """Raise `UsageError` for a protocol's choice that the dataset does not have: it would change nothing."""
    fashioniq = ("gallery", "exclude_reference", "caption_mode", "category")
    for dataset, names in (("fashioniq", fashioniq), ("circo", ("circo_text",))):
        for name in names:
            usual = getattr(Choices(), name, None)
            if arguments.dataset != dataset and getattr(arguments, name, usual) != usual:
                raise UsageError(f"--{name.replace('_', '-')} is a choice of {dataset} only; leave it out")


def run_evaluate(arguments: argparse.Namespace) -> int:
    out = arguments.out or defaults.OUTPUTS / "evaluate" / arguments.dataset
    if (out / "runs").is_dir():
        raise UsageError(f"{out} holds the table of train-eval; give --out another folder")
    if arguments.chain == "gold" and arguments.gold is None:
        raise UsageError("--chain gold needs --gold OUT, the annotations of the split that is evaluated")
    if arguments.gold and arguments.chain != "gold":
        raise UsageError("--gold holds chains that only --chain gold asks with; give both or neither")
    _refuse_choices_of_others(arguments)
    choices = Choices(
        gallery=arguments.gallery,
        exclude_reference=arguments.exclude_reference,
        caption_mode=arguments.caption_mode,
        circo_text=arguments.circo_text,
        allow_missing=arguments.allow_missing,
    )
    eval_sets = open_eval_sets(
        arguments.dataset, arguments.root, choices, category=arguments.category, say=_say
    )
    jobs = query_jobs({arguments.dataset: arguments.root}, arguments.category)
    gold = gold_chains(arguments.gold, jobs) if arguments.gold else {}
    if gold:
        eval_sets = [_with_gold_chains(each, gold, arguments.gold) for each in eval_sets]
    model, card = checkpoint.load(arguments.model, choose_device(arguments.device), arguments.base_model)
    asking = dataclasses.replace(_asking(arguments, card), gold=gold)
    key = model_key(card)
    done = [evaluate(model, key, each, choices, asking, each.kept_in(out), _say) for each in eval_sets]
    origin = Origin(card.seed, str(card.about.get("data", "")), card.weights_sha256, card.learning_rate)
    row = line(arguments.model.resolve().parent.name, tuple(eval_sets), done, asking.chain, origin).row
    for evaluation in done:
        print(evaluation.result)
    if kept := keep_others(out, row):
        _say(f"results of another measurement are kept: {', '.join(map(str, kept))}")
    paths = write_results(out, [row])
    _say(f"written: {', '.join(map(str, paths))}")
    return 0


def _with_gold_chains(eval_set: EvalSet, gold: Mapping[str, str], out: Path) -> EvalSet:
    """The queries that the teacher has a chain for: those that it could not answer have none."""
    found = with_chains_only(eval_set, gold)
    if found is None:
        raise InputError(
            f"--gold {out}: holds no chain of any query of {eval_set.category or eval_set.dataset}"
        )
    return found


def _asking(arguments: argparse.Namespace, card: Card) -> Asking:
    """As was asked for, else as the model was trained. Raises `UsageError` for a chain that it never wrote,
    for a generator that nothing would be asked of, or when its server is not there."""
    url = arguments.generator_url
    if not card.writes_chains and arguments.chain in ("generated", "gold"):
        raise UsageError(f"{arguments.model}: was trained without chains; pass --chain none")
    chain: ChainMode = arguments.chain or ("generated" if card.writes_chains else "none")
    if url and chain != "generated":
        raise UsageError(
            f"--generator-url writes chains, and with chain {chain} there is none to write; leave it out"
        )
    return Asking(
        chain=chain,
        recipe=card.recipe,
        blank=card.blank,
        batch=arguments.batch,
        max_tokens=arguments.max_tokens,
        generator=open_generator(url, arguments.generator_patience) if url else None,
    )


def run_submit(arguments: argparse.Namespace) -> int:
    _refuse_choices_of_others(arguments)
    choices = Choices(circo_text=arguments.circo_text)
    (eval_set,) = open_eval_sets(arguments.dataset, arguments.root, choices, TEST_SPLITS[arguments.dataset])
    model, card = checkpoint.load(arguments.model, choose_device(arguments.device), arguments.base_model)
    asking = _asking(arguments, card)
    folder = eval_set.kept_in(arguments.out)
    scores, _ = ask(model, model_key(card), eval_set, choices, asking, folder, _say)
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
        print("\n".join(map(plain, found.chain.splitlines())) + "\n")
    for place, hit in enumerate(found.hits, 1):
        print(f"{place:3d}  {hit.score:.4f}  {plain(hit.name)}")
    return 0


def run_explain(arguments: argparse.Namespace) -> int:
    choices = Choices(allow_missing=arguments.allow_missing)
    eval_sets = open_eval_sets(
        arguments.dataset, arguments.root, choices, category=arguments.category, say=_say
    )
    model, card = checkpoint.load(arguments.model, choose_device(arguments.device), arguments.base_model)
    asking = _asking(arguments, card)
    for eval_set in eval_sets:
        folder = eval_set.kept_in(arguments.out)
        done = evaluate(model, model_key(card), eval_set, choices, asking, folder, _say)
        explained = explain(eval_set, choices, done)
        name = "-".join(filter(None, (eval_set.dataset, eval_set.split, eval_set.category)))
        table = write_csv(arguments.out / f"{name}.csv", explained)
        page = write_page(
            arguments.out / f"{name}.html",
            explained,
            arguments.worst,
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
    print(plain(line), file=sys.stderr, flush=True)


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
