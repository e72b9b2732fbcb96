"""`make train-eval`: every row of the table trained with the same base, steps and rows seen, then measured
alike.

OUT/runs/<row>/ holds each run, OUT/rates/ how learning rates were chosen, OUT/model the model with chains,
OUT/results.{json,md} the table. A finished run or embedding is not done again, so an interrupted study goes
on.
"""

from __future__ import annotations

import dataclasses
import gc
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import torch

from annotate.files import remove_leftovers
from annotate.locks import hold_lock
from retrieval import checkpoint, train
from retrieval.conversation import ChainMode
from retrieval.encode import model_key
from retrieval.evaluate import (
    Asking,
    Choices,
    EvalSet,
    Evaluation,
    chains_of,
    chance,
    evaluate,
    with_chains_only,
)
from retrieval.measured import Measured, Origin, Sets, comparisons, line
from retrieval.model import CirModel, ModelSettings
from retrieval.rates import choose_rate, held_out, mean_reciprocal_rank, noted
from retrieval.results import write_results
from retrieval.saving import whole_folder
from retrieval.schedule import Blank, TrainSettings
from retrieval.sights import KeptSights
from retrieval.sources import ImageRoots, Rows, data_digest, open_source
from retrieval.two_tower import TwoTower, conclusion_alone, sum_of_image_and_text

TRIAL_SEED = 0
"""Of the trials of learning rates, whatever seeds the rows have: seeds that come later need no new trials."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One trained row: what differs from the run with chains."""

    label: str
    chain: bool = True
    blank: Blank = "none"
    shuffle_chains: bool = False
    rows: Rows = "train"


OURS = Variant("ours with chain")
SHORTCUTS = (
    Variant("image only", chain=False, blank="text"),
    Variant("text only", chain=False, blank="image"),
)
ABLATIONS = (
    Variant("ours without chain", chain=False),
    Variant("chain from unfiltered annotations", rows="annotations"),
    Variant("chain shuffled between triplets", shuffle_chains=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What to train on, with what, and where to measure."""

    data: tuple[Path, ...]
    image_roots: ImageRoots
    base: Path
    clip: Path
    model: ModelSettings
    train: TrainSettings
    rates: tuple[float, ...]
    rate_steps: int  # of each trial of a rate
    eval_sets: tuple[Sets, ...]  # outer: datasets, inner: FashionIQ's categories
    gold: Mapping[str, str]  # the teacher's chains of queries, as far as it was asked
    choices: Choices
    ablations: bool
    seeds: tuple[int, ...]
    out: Path
    device: torch.device
    checkpoint_activations: bool = False
    max_tokens: int = 512


class RunRow(Protocol):
    """How a row is made: in this process as it is (`plainly`), or as a task that somebody watches."""

    def __call__(self, name: str, make: Callable[[], list[Measured]]) -> list[Measured]:
        """Make the row called `name`."""


def plainly(name: str, make: Callable[[], list[Measured]]) -> list[Measured]:
    """Make a row without anybody watching."""
    return make()


def run_study(study: Study, say: Callable[[str], None], run_row: RunRow = plainly) -> tuple[Path, Path]:
    """Train and measure every row; returns the paths of results.json and results.md."""
    lines: list[Measured] = []
    train.refuse_a_run(study.out)
    with hold_lock(study.out / "lock", study.out):
        remove_leftovers(study.out)
        for name, make in _rows(study, lines, say).items():
            say(f"== {name}")
            lines += run_row(name, make)
        _publish_model(_folder(study, OURS, study.seeds[0]) / "model", study.out / "model")
        return write_results(study.out, [each.row for each in lines], comparisons(lines, OURS.label))


def row_names(study: Study) -> tuple[str, ...]:
    """What `run_study` will make, in its order."""
    return tuple(_rows(study, [], lambda line: None))


def _rows(
    study: Study, done: list[Measured], say: Callable[[str], None]
) -> dict[str, Callable[[], list[Measured]]]:
    """Every row by name; the last ones look at what is `done` by then."""
    seen = KeptSights()
    rows: dict[str, Callable[[], list[Measured]]] = {"chance": partial(_chance, study)}
    for variant in (OURS, *SHORTCUTS, *(ABLATIONS if study.ablations else ())):
        for seed in study.seeds:
            rows[f"{variant.label}, seed {seed}"] = partial(_trained, study, variant, seed, seen, say)
    if study.ablations:
        rows["zero-shot"] = partial(_zero_shot, study, done)
    return rows


def _chance(study: Study) -> list[Measured]:
    seed = study.seeds[0]
    return [
        line("chance", sets, [chance(each, study.choices, seed) for each in sets], "none", Origin(seed))
        for sets in study.eval_sets
    ]


def _trained(
    study: Study, variant: Variant, seed: int, seen: KeptSights, say: Callable[[str], None]
) -> list[Measured]:
    """Train one row (or find it trained), then measure it; ours also with the teacher's chains."""
    folder = _folder(study, variant, seed)
    rate = _rate(study, variant, seen, say)
    data = _train(study, variant, rate, seed, folder, seen, say)
    origin = Origin(seed, data, checkpoint.read_card(folder / "model").weights_sha256, rate)
    lines = []
    for sets in study.eval_sets:
        modes: list[tuple[ChainMode, Iterable[EvalSet | None]]] = [
            ("generated" if variant.chain else "none", sets)
        ]
        if variant == OURS and study.gold:
            modes.append(("gold", [with_chains_only(each, study.gold) for each in sets]))
        for chain, asked in modes:
            present = tuple(each for each in asked if each is not None)
            if len(present) == len(sets):
                done = _measure(study, folder, present, chain, seen, say)
                lines.append(line(variant.label, present, done, chain, origin))
                say(" ".join(str(evaluation.result) for evaluation in done))
    return lines


def _folder(study: Study, variant: Variant, seed: int) -> Path:
    return study.out / "runs" / f"{variant.label.replace(' ', '-')}-seed{seed}"


def _rate(study: Study, variant: Variant, seen: KeptSights, say: Callable[[str], None]) -> float:
    """The row's learning rate: from the grid, on rows held out of train; the same for every seed."""
    place = study.out / "rates" / variant.label.replace(" ", "-")

    def trial(rate: float) -> float:
        say(f"-- learning rate {rate:g}, on nine tenths of the rows")
        folder = place / f"{rate:g}"
        try:
            _train(study, variant, rate, TRIAL_SEED, folder, seen, say, trial_steps=study.rate_steps)
        except train.Diverged as error:
            say(f"-- learning rate {rate:g} is none: {error}")
            return 0.0
        note = folder / f"held-out-{study.max_tokens}.json"  # chains are judged as they are cut
        found = noted(note, partial(_held_out_rank, study, variant, folder, seen))
        say(f"-- learning rate {rate:g}: mean reciprocal rank {found:.3f} on the held-out tenth")
        return found

    return choose_rate(study.rates, trial)


def _held_out_rank(study: Study, variant: Variant, folder: Path, seen: KeptSights) -> float:
    """Mean reciprocal rank of a trial's model on the rows that it has not seen."""
    _make_room()
    model, card = checkpoint.load(folder / "model", study.device, study.base)
    parts = [held_out(open_source(out, study.image_roots, variant.rows)) for out in study.data]
    return mean_reciprocal_rank(
        model,
        card,
        parts,
        folder / "embeddings",
        chain=variant.chain,
        blank=variant.blank,
        recipe=card.recipe,
        max_tokens=study.max_tokens,
        kept=seen,
    )


def _train(
    study: Study,
    variant: Variant,
    rate: float,
    seed: int,
    folder: Path,
    seen: KeptSights,
    say: Callable[[str], None],
    trial_steps: int | None = None,
) -> str:
    """Train in `folder`, or find it trained; the digest of the data. A trial of a rate takes `trial_steps`
    and leaves out the rows that will judge it."""
    settings = dataclasses.replace(
        study.train,
        steps=trial_steps or study.train.steps,
        learning_rate=rate,
        chain=variant.chain,
        blank=variant.blank,
        shuffle_chains=variant.shuffle_chains,
        hold_out=trial_steps is not None,
        seed=seed,
    )
    sources = [open_source(out, study.image_roots, variant.rows) for out in study.data]
    _make_room()
    model = CirModel(study.base, dataclasses.replace(study.model, init_seed=seed), study.device)
    if study.checkpoint_activations:
        model.checkpoint_activations()
    train.train(model, study.base, sources, settings, folder, say, seen)
    return data_digest(sources)


def _measure(
    study: Study, folder: Path, sets: Sets, chain: ChainMode, seen: KeptSights, say: Callable[[str], None]
) -> list[Evaluation]:
    _make_room()
    model, card = checkpoint.load(folder / "model", study.device, study.base)
    asking = Asking(
        chain=chain, recipe=card.recipe, blank=card.blank, gold=study.gold, max_tokens=study.max_tokens
    )
    key = model_key(card)
    return [
        evaluate(model, key, each, study.choices, asking, each.kept_in(folder), say, seen) for each in sets
    ]


def _zero_shot(study: Study, lines_so_far: Sequence[Measured]) -> list[Measured]:
    """A CLIP's rows: image + text, and conclusions as texts, as ours and as the teacher wrote them."""
    written = [
        each for each in lines_so_far if (each.row.label, each.row.seed) == (OURS.label, study.seeds[0])
    ]
    _make_room()
    towers = TwoTower(study.clip, study.device)
    recipe = open_source(study.data[0], study.image_roots).manifest.image_recipe
    lines = []
    for sets in study.eval_sets:
        folders = [study.out / "clip" / "-".join(filter(None, (e.dataset, e.category))) for e in sets]
        done = [
            sum_of_image_and_text(towers, each, study.choices, folder, recipe)
            for each, folder in zip(sets, folders, strict=True)
        ]
        lines.append(line("image + text (CLIP)", sets, done, "none"))
        for ours in written:
            if ours.row.dataset != sets[0].dataset:
                continue
            gold = ours.row.chain == "gold"
            asked = tuple(filter(None, (with_chains_only(e, study.gold) if gold else e for e in sets)))
            done = [
                conclusion_alone(towers, each, study.choices, chains_of(each, chains), folder, recipe)
                for each, chains, folder in zip(asked, ours.chains, folders, strict=True)
            ]
            lines.append(line("conclusion to image (CLIP)", asked, done, ours.row.chain))
    return lines


def _make_room() -> None:
    """Let go of the models before: they hold themselves in circles, which no lack of GPU memory breaks."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _publish_model(trained: Path, folder: Path) -> None:
    with whole_folder(folder, checkpoint.CARD) as place:
        shutil.copytree(trained, place, dirs_exist_ok=True)
