"""A model on a dataset by the dataset's protocol: gallery and queries embedded, scores, results, what they
cost."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from annotate.datasets import (
    annotation_digest,
    categories,
    find_images,
    join_captions,
    load_gallery,
    load_triplets,
)
from annotate.datasets.roots import check_root, looks_like
from annotate.errors import InputError, UsageError
from annotate.shards.plan import job_digest
from retrieval.conversation import ChainMode
from retrieval.encode import EncodedQueries, QueryText, encode_images, encode_queries, replayed
from retrieval.generator import Generator
from retrieval.model import CirModel
from retrieval.pictures import Pictures
from retrieval.protocols import Expected, Result, circo_map, cirr_recall, fashioniq_recall
from retrieval.queries import CircoText, GalleryMode, QueryMode, expand, fashioniq_gallery
from retrieval.ranking import Scores, score_blocks
from retrieval.schedule import Blank
from retrieval.sights import KeptSights, Sights
from retrieval.sources import split_root
from schemas.triplet import DATASETS, Dataset, Triplet

EVALUATION_SPLIT = "val"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a user may choose of the protocols; the defaults are the most used ones (field.md)."""

    gallery: GalleryMode = "original"
    exclude_reference: bool = False
    caption_mode: QueryMode = "clip4cir"
    circo_text: CircoText = "relative"
    allow_missing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How a model is asked: what stands before the embedding and who writes it (`generator`, else the model
    itself), and what it was trained with. `gold` (triplet id -> chain) is needed for chain "gold"."""

    chain: ChainMode
    recipe: str
    blank: Blank = "none"
    gold: Mapping[str, str] | None = None
    batch: int = 32
    max_tokens: int = 512
    generator: Generator | None = None


@dataclass(frozen=True, slots=True)
class EvalSet:
    """One dataset split (FashionIQ: one category): its queries, its gallery in order, and where the images
    lie."""

    dataset: Dataset
    split: str
    category: str | None
    triplets: tuple[Triplet, ...]
    gallery: tuple[str, ...]
    images: Mapping[str, Path]
    expected: Expected
    digest: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A result with the scores and chains it was computed from (for explain and the bootstrap)."""

    result: Result
    scores: Scores
    queries: EncodedQueries | None


def open_eval_sets(
    dataset: Dataset, root: Path, choices: Choices, split: str = EVALUATION_SPLIT, category: str | None = None
) -> list[EvalSet]:
    """The evaluation sets of a dataset: one, or one per FashionIQ category.

    Raises `InputError` naming a gallery image or a query's reference that is missing, unless
    `choices.allow_missing`: then every image is tried once, queries whose images are gone or damaged are
    left out and the counts say so.
    """
    chosen: list[str | None] = [category] if category else [*categories(dataset)] or [None]
    return [_open(dataset, root, choices, split, each) for each in chosen]


def evaluate(
    model: CirModel,
    key: str,
    eval_set: EvalSet,
    choices: Choices,
    asking: Asking,
    folder: Path,
    say: Callable[[str], None] = lambda line: None,
    kept: KeptSights | None = None,
) -> Evaluation:
    """Embed, score and measure; raises naming a query without its gold chain."""
    scores, queries = ask(model, key, eval_set, choices, asking, folder, say, kept)
    return Evaluation(measure(eval_set, choices, scores), scores, queries)


def ask(
    model: CirModel,
    key: str,
    eval_set: EvalSet,
    choices: Choices,
    asking: Asking,
    folder: Path,
    say: Callable[[str], None] = lambda line: None,
    kept: KeptSights | None = None,
) -> tuple[Scores, EncodedQueries]:
    """Scores [rows, gallery] of a set's queries, whether anybody knows their targets or not; and the
    queries. What was embedded before is read from `folder`; `kept`: what earlier rows saw of the gallery."""
    gallery = {name: eval_set.images[name] for name in eval_set.gallery}
    shown = Sights(model, Pictures(asking.recipe), kept or KeptSights())
    images = encode_images(model, key, gallery, folder, shown, asking.batch, say=say)
    gold = asking.gold if asking.chain == "gold" else None
    texts, spread = query_texts(eval_set, choices, gold, asking.blank)
    # the queries see their pictures anew: how long one takes is printed
    references = Sights(model, Pictures(asking.recipe, blank=asking.blank == "image"), KeptSights())
    generator = asking.generator if asking.chain == "generated" else None

    def encode() -> EncodedQueries:
        if generator is None:
            write = asking.chain == "generated"
            return encode_queries(model, texts, references, write, asking.batch, asking.max_tokens, say)
        began = time.monotonic()
        wanted = [(query.reference, query.text) for query in texts]
        chains = generator.write(wanted, asking.recipe, asking.max_tokens, say)
        writing = time.monotonic() - began
        told = [replace(query, chain=each) for query, each in zip(texts, chains, strict=True)]
        return replace(encode_queries(model, told, references, False, asking.batch), writing_seconds=writing)

    server = "" if generator is None else f"{generator.url} {generator.model}"
    how = [key, asking.recipe, asking.blank, asking.chain, str(asking.max_tokens), server]
    asked = [
        f"{references.digest(query.reference)} {json.dumps([query.text, query.chain])}" for query in texts
    ]
    name = f"queries-{hashlib.sha256(chr(10).join([*how, *asked]).encode()).hexdigest()[:32]}.safetensors"
    queries = replayed(folder / name, encode)
    return scores_of(queries, spread, images.vectors), queries


def scores_of(queries: EncodedQueries, spread: Sequence[Sequence[int]], gallery: Scores) -> Scores:
    """Queries against the gallery's vectors; `spread`: the texts of each score row, averaged."""
    vectors = np.stack([_mean(queries.vectors[list(rows)]) for rows in spread])
    return np.concatenate([block for _, block in score_blocks(vectors, gallery)])


def with_chains_only(eval_set: EvalSet, gold: Mapping[str, str]) -> EvalSet | None:
    """The queries that the teacher wrote a chain for, the others counted as expected; None if there are
    none."""
    kept = tuple(triplet for triplet in eval_set.triplets if triplet.triplet_id in gold)
    return (
        replace(eval_set, triplets=kept, expected=replace(eval_set.expected, allow_missing=True))
        if kept
        else None
    )


def chains_of(eval_set: EvalSet, evaluation: Evaluation) -> dict[str, str]:
    """The chain that each triplet was asked with (of several texts: the first one's), by triplet id."""
    written = evaluation.queries.chains if evaluation.queries is not None else ()
    each = len(written) // len(eval_set.triplets)
    firsts = zip(eval_set.triplets, written[:: max(1, each)], strict=True)
    return {triplet.triplet_id: chain for triplet, chain in firsts if chain is not None}


def chance(eval_set: EvalSet, choices: Choices, seed: int) -> Evaluation:
    """Random scores by the same protocol."""
    rows = len(_spread(eval_set, choices))
    scores = np.random.default_rng(seed).random((rows, len(eval_set.gallery)), dtype=np.float32)
    return Evaluation(measure(eval_set, choices, scores), scores, None)


def measure(eval_set: EvalSet, choices: Choices, scores: Scores) -> Result:
    """The dataset's protocol on a score matrix [rows, gallery]."""
    if eval_set.dataset == "fashioniq":
        return fashioniq_recall(
            scores,
            eval_set.gallery,
            eval_set.triplets,
            choices.exclude_reference,
            gallery_mode=choices.gallery,
            caption_mode=choices.caption_mode,
            expected=eval_set.expected,
        )
    if eval_set.dataset == "cirr":
        return cirr_recall(scores, eval_set.gallery, eval_set.triplets, expected=eval_set.expected)
    return circo_map(
        scores, eval_set.gallery, eval_set.triplets, circo_text=choices.circo_text, expected=eval_set.expected
    )


def query_texts(
    eval_set: EvalSet, choices: Choices, gold: Mapping[str, str] | None = None, blank: Blank = "none"
) -> tuple[list[QueryText], list[list[int]]]:
    """Every text to embed, and for each score row the texts whose vectors are averaged."""
    texts: list[QueryText] = []
    spread: list[list[int]] = []
    for triplet, ways in _spread(eval_set, choices):
        if gold is not None and triplet.triplet_id not in gold:
            raise InputError(
                f"no gold chain of {triplet.triplet_id}; annotate this split, or use --chain generated"
            )
        spread.append(list(range(len(texts), len(texts) + len(ways))))
        chain = gold[triplet.triplet_id] if gold is not None else None
        for text in ways:
            reference = eval_set.images[triplet.reference]
            texts.append(QueryText(reference, "" if blank == "text" else text, chain))
    return texts, spread


def _spread(eval_set: EvalSet, choices: Choices) -> list[tuple[Triplet, list[str]]]:
    """The triplet of each score row and the text or texts that it is asked by."""
    if eval_set.dataset == "fashioniq":
        queries = expand(eval_set.triplets, choices.caption_mode)
        return [
            (q.triplet, [join_captions(q.triplet.modifications, way) for way in q.joins]) for q in queries
        ]
    rows = []
    for triplet in eval_set.triplets:
        text = join_captions(triplet.modifications, "and")
        if (
            eval_set.dataset == "circo"
            and choices.circo_text == "concept+relative"
            and triplet.shared_concept
        ):
            text = f"{triplet.shared_concept} {text}"
        rows.append((triplet, [text]))
    return rows


def _mean(vectors: Scores) -> Scores:
    """Mean of unit vectors, of unit length again; one alone stays as it is, to the last bit."""
    if len(vectors) == 1:
        alone: Scores = vectors[0]
        return alone
    mean = vectors.mean(axis=0)
    unit: Scores = np.asarray(mean / np.linalg.norm(mean), dtype=np.float32)
    return unit


def _open(dataset: Dataset, root: Path, choices: Choices, split: str, category: str | None) -> EvalSet:
    triplets = load_triplets(dataset, split, root, category)
    names: Sequence[str] = load_gallery(dataset, split, root, category)
    if dataset == "fashioniq":
        names = fashioniq_gallery(names, triplets, choices.gallery)
    needed = dict.fromkeys([*names, *(triplet.reference for triplet in triplets)])
    found = find_images(dataset, split, root, needed, category)
    if found.missing and not choices.allow_missing:
        raise InputError(
            f"{root}: gallery image {found.missing[0]} and {len(found.missing) - 1} more are missing of "
            f"{dataset} {split}; put them back, or pass --allow-missing and have the counts say so"
        )
    paths = _readable(found.paths) if choices.allow_missing else found.paths
    present = tuple(name for name in names if name in paths)
    have = set(present)
    kept = tuple(t for t in triplets if _askable(t, have, paths, dataset))
    if not kept:
        raise InputError(f"{root}: no query of {dataset} {split} has its images; check the root")
    expected = Expected([t.triplet_id for t in triplets], names, choices.allow_missing)
    digest = hashlib.sha256(annotation_digest(dataset, split, root, category).encode()).hexdigest()
    return EvalSet(dataset, split, category, kept, present, paths, expected, digest)


def _readable(paths: Mapping[str, Path]) -> dict[str, Path]:
    """The images that decode: one that is damaged can be had no more than one that is gone."""
    pictures = Pictures()
    return {name: path for name, path in paths.items() if pictures.decodes(path)}


def _askable(triplet: Triplet, gallery: set[str], paths: Mapping[str, Any], dataset: str) -> bool:
    needed = {triplet.target, *triplet.subset} if dataset == "cirr" else {triplet.target, *triplet.positives}
    return triplet.reference in paths and all(name in gallery for name in needed if name is not None)


def query_jobs(roots: Mapping[Dataset, Path], category: str | None = None) -> set[str]:
    """The annotation jobs of the queries that are evaluated: what an OUT with their chains must be of."""
    return {
        job_digest(dataset, EVALUATION_SPLIT, part, annotation_digest(dataset, EVALUATION_SPLIT, root, part))
        for dataset, root in roots.items()
        for part in {None, category}
    }


def parse_roots(given: Sequence[str]) -> dict[Dataset, Path]:
    """`DATASET=ROOT`, or just ROOT: then by the annotation files in it, or in the folders directly below it.

    Raises `UsageError` for an unknown dataset or a folder in which no dataset is recognised.
    """
    found: list[tuple[Dataset, Path]] = []
    for text in given:
        dataset, root = split_root(text)
        if dataset is not None:
            found.append((dataset, root))
            continue
        pairs = [(name, folder) for folder in _folders(root) for name in looks_like(folder)]
        if not pairs:
            raise UsageError(f"--eval-root {text}: holds none of {', '.join(DATASETS)}; pass DATASET=ROOT")
        found += pairs
    for dataset, _ in found:
        if len({folder for name, folder in found if name == dataset}) > 1:
            raise UsageError(f"--eval-root: several folders of {dataset}; pass one as {dataset}=ROOT")
    return dict(found)


def _folders(root: Path) -> list[Path]:
    """A folder and those directly below it; raises `InputError` when it cannot be listed."""
    check_root(root)
    return [*sorted((path for path in root.iterdir() if path.is_dir()), reverse=True), root]
