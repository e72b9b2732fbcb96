"""`make train-eval`: every row of the table trained with the same base, steps and rows seen, then measured
alike.

OUT/runs/<row>/ holds each run, OUT/model the one with chains, OUT/results.{json,md} the table. A finished
run or embedding is not done again, so an interrupted study goes on.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from retrieval import checkpoint, train
from retrieval.bootstrap import paired_difference
from retrieval.conversation import ChainMode
from retrieval.encode import model_key
from retrieval.evaluate import Choices, EvalSet, Evaluation, chance, evaluate
from retrieval.model import CirModel, ModelSettings
from retrieval.results import TableRow, write_results
from retrieval.schedule import TrainSettings
from retrieval.sources import Rows, data_digest, open_source

HEADLINE = {"fashioniq": "R@10", "cirr": "R@1", "circo": "mAP@5"}


@dataclass(frozen=True, slots=True)
class Variant:
    """One trained row: what differs from the run with chains."""

    label: str
    chain: bool = True
    blank: str = "none"
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
    image_root: Path | None
    base: Path
    model: ModelSettings
    train: TrainSettings
    eval_sets: tuple[tuple[EvalSet, ...], ...]  # outer: datasets, inner: FashionIQ's categories
    choices: Choices
    ablations: bool
    seeds: tuple[int, ...]
    out: Path
    device: torch.device
    max_tokens: int = 512


def run_study(study: Study, say: Callable[[str], None]) -> tuple[Path, Path]:
    """Train and measure every row; returns the paths of results.json and results.md."""
    variants = (OURS, *SHORTCUTS, *(ABLATIONS if study.ablations else ()))
    rows: list[TableRow] = []
    measured: dict[tuple[str, str], list[Evaluation]] = {}
    for sets in study.eval_sets:
        done = [chance(each, study.choices, study.seeds[0]) for each in sets]
        rows.append(_row("chance", done, "none", study.seeds[0], ""))
    for variant in variants:
        for seed in study.seeds:
            folder = study.out / "runs" / f"{variant.label.replace(' ', '-')}-seed{seed}"
            say(f"== {variant.label}, seed {seed}")
            digest = _train(study, variant, seed, folder, say)
            chain: ChainMode = "generated" if variant.chain else "none"
            for sets, done in _measure(study, folder, chain, variant, say):
                rows.append(_row(variant.label, done, chain, seed, digest))
                measured.setdefault((variant.label, sets[0].dataset), []).extend(done)
                say(" ".join(str(evaluation.result) for evaluation in done))
    _publish_model(
        study.out / "runs" / f"ours-with-chain-seed{study.seeds[0]}" / "model", study.out / "model"
    )
    return write_results(study.out, rows, _comparisons(measured, variants))


def _train(study: Study, variant: Variant, seed: int, folder: Path, say: Callable[[str], None]) -> str:
    """Train one row (or find it trained); the digest of its data."""
    settings = dataclasses.replace(
        study.train,
        chain=variant.chain,
        blank=variant.blank,  # type: ignore[arg-type]
        shuffle_chains=variant.shuffle_chains,
        seed=seed,
    )
    sources = [open_source(folder, study.image_root, variant.rows) for folder in study.data]
    model = CirModel(study.base, dataclasses.replace(study.model, init_seed=seed), study.device)
    train.train(model, study.base, sources, settings, folder, say)
    return data_digest(sources)


def _measure(
    study: Study, folder: Path, chain: ChainMode, variant: Variant, say: Callable[[str], None]
) -> list[tuple[tuple[EvalSet, ...], list[Evaluation]]]:
    model, card = checkpoint.load(folder / "model", study.device, study.base)
    found = []
    for sets in study.eval_sets:
        done = [
            evaluate(
                model,
                model_key(card),
                each,
                study.choices,
                chain,
                folder / "embeddings" / "-".join(filter(None, (each.dataset, each.category))),
                blank=variant.blank,  # type: ignore[arg-type]
                recipe=str(card.about["recipe"]),
                max_tokens=study.max_tokens,
                say=say,
            )
            for each in sets
        ]
        found.append((sets, done))
    return found


def _row(label: str, done: Sequence[Evaluation], chain: str, seed: int, digest: str) -> TableRow:
    asked = [each.queries for each in done if each.queries is not None]
    count = sum(len(each.vectors) for each in asked)
    writing = 1000 * sum(each.writing_seconds for each in asked)
    embedding = 1000 * sum(each.embedding_seconds for each in asked)
    return TableRow(
        label=label,
        results=tuple(each.result for each in done),
        chain=chain,
        seed=seed,
        data_digest=digest,
        ms_per_query=(writing + embedding) / count if count else None,
        ms_writing=writing / count if count else None,
    )


def _comparisons(
    measured: dict[tuple[str, str], list[Evaluation]], variants: Sequence[Variant]
) -> list[dict[str, object]]:
    """Ours with chain against every other trained row: paired bootstrap over queries, seeds pooled."""
    lines: list[dict[str, object]] = []
    for (label, dataset), theirs in measured.items():
        if label == OURS.label:
            continue
        metric, ours = HEADLINE[dataset], measured[(OURS.label, dataset)]
        categories = dict.fromkeys(each.result.protocol.category for each in ours)
        for category in categories:
            mine, other = (
                [each.result.per_query[metric] for each in group if each.result.protocol.category == category]
                for group in (ours, theirs)
            )
            gain = paired_difference(mine, other)
            lines.append(
                {
                    "dataset": dataset,
                    "category": category,
                    "metric": metric,
                    "against": label,
                    "mean": gain.mean,
                    "low": gain.low,
                    "high": gain.high,
                    "clear": gain.clear,
                }
            )
    return lines


def _publish_model(trained: Path, folder: Path) -> None:
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(trained, temporary)
    checkpoint.replace_folder(temporary, folder)
