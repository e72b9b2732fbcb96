"""A model on a dataset by the dataset's protocol: gallery and queries embedded, scores, results, what they
cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from annotate.datasets import join_captions
from annotate.errors import InputError
from retrieval.conversation import ChainMode
from retrieval.encode import EncodedQueries, QueryText, encode_images, encode_queries, replayed
from retrieval.generator import Generator, refuse_foreign
from retrieval.model import CirModel
from retrieval.pictures import Pictures
from retrieval.protocols import Expected, Result, circo_map, cirr_recall, fashioniq_recall
from retrieval.queries import CircoText, GalleryMode, QueryMode, expand
from retrieval.ranking import Scores, score_blocks
from retrieval.schedule import Blank
from retrieval.sights import KeptSights, Sights
from schemas.triplet import Dataset, Triplet


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a user may choose of the protocols; the defaults are the most used ones (docs/retrieval.md)."""

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

    def kept_in(self, out: Path) -> Path:
        """Where its embeddings lie below `out`: a folder of its own, for a folder has one index."""
        return out / "embeddings" / "-".join(filter(None, (self.dataset, self.split, self.category)))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A result with the scores and queries that it was computed from (for explain)."""

    result: Result
    scores: Scores
    queries: EncodedQueries | None


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
    server = "" if generator is None else f"checked {generator.url} {generator.model}"
    how = [key, asking.recipe, asking.blank, asking.chain, str(asking.max_tokens), server]

    def encode(part: Sequence[QueryText], told: Callable[[str], None]) -> EncodedQueries:
        if generator is None:
            write = asking.chain == "generated"
            return encode_queries(model, part, references, write, asking.batch, asking.max_tokens, told)
        began = time.monotonic()
        asked = [(query.reference, query.text) for query in part]
        chains = generator.write(asked, asking.recipe, asking.max_tokens, told, asking.blank == "image")
        writing = time.monotonic() - began
        given = [replace(query, chain=chain) for query, chain in zip(part, chains, strict=True)]
        refuse_foreign(generator.url, model, given, references, asking.batch)
        found = encode_queries(model, given, references, False, asking.batch, say=told)
        return replace(found, writing_seconds=writing)

    queries = replayed(folder, how, texts, references, encode, say)
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


def chains_of(eval_set: EvalSet, written: Sequence[str | None]) -> dict[str, str]:
    """The chain that each triplet was asked with (of several texts: the first one's), by triplet id."""
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
