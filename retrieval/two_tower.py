"""Rows of the table that nobody trained for the task: a CLIP or SigLIP that embeds pictures and texts apart.

"image + text": the sum of the reference's and the modification's vectors. "conclusion": the text that a chain
concludes with, alone, as zero-shot methods search for it. Any CLIP or SigLIP folder of transformers will do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoProcessor

from annotate.errors import InputError, UsageError
from retrieval.checkpoint import base_digest
from retrieval.conversation import chain_part
from retrieval.encode import EncodedQueries, encode_images
from retrieval.evaluate import Choices, EvalSet, Evaluation, measure, query_texts, scores_of
from retrieval.model import load_whole
from retrieval.pictures import Pictures
from retrieval.ranking import Scores

FAMILIES = ("clip", "siglip", "siglip2")


class TwoTower:
    """Pictures and texts to unit vectors of one space. Raises `UsageError` for a model of another kind."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        try:
            config = AutoConfig.from_pretrained(folder)
        except (OSError, ValueError) as error:
            raise UsageError(f"{folder}: no model that transformers loads; check --clip-model") from error
        if config.model_type not in FAMILIES:
            raise UsageError(
                f"{folder}: a model of type {config.model_type}; --clip-model takes {', '.join(FAMILIES)}"
            )
        self.key = base_digest(folder)  # before the weights: a name on a hub is no folder
        self._model: Any = load_whole(AutoModel, folder, torch.float32, "--clip-model")
        self._model.to(device).eval()
        try:
            self._processor: Any = AutoProcessor.from_pretrained(folder)
        except (OSError, ValueError, ImportError) as error:
            raise UsageError(
                f"{folder}: its processor cannot be loaded ({error}); check --clip-model"
            ) from error
        self._longest = int(config.text_config.max_position_embeddings)
        # SigLIP reads its text vector at the last place, so it was trained on texts of one length
        self._padding = True if config.model_type == "clip" else "max_length"
        self._device = device

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return len(self.embed_texts([""])[0])

    @torch.no_grad()
    def embed_pictures(self, pictures: Sequence[Image.Image]) -> Scores:
        """Unit vectors [n, dim] of pictures."""
        found = self._processor(images=list(pictures), return_tensors="pt").to(self._device)
        return _unit(self._model.get_image_features(**found))

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Scores:
        """Unit vectors [n, dim] of texts, each cut at what the model can read."""
        found = self._processor(
            text=list(texts),
            padding=self._padding,
            truncation=True,
            max_length=self._longest,
            return_tensors="pt",
        ).to(self._device)
        return _unit(self._model.get_text_features(**found))


def sum_of_image_and_text(
    towers: TwoTower, eval_set: EvalSet, choices: Choices, folder: Path, recipe: str
) -> Evaluation:
    """The reference's vector plus the modification's."""

    def embed(pictures: Pictures) -> tuple[Scores, tuple[str | None, ...], list[list[int]]]:
        texts, spread = query_texts(eval_set, choices)
        said = _in_batches(towers.embed_texts, [query.text for query in texts])
        seen = _in_batches(
            lambda paths: towers.embed_pictures([pictures.load(path) for path in paths]),
            [query.reference for query in texts],
        )
        return _scaled(said + seen), (None,) * len(texts), spread

    return _evaluate(towers, eval_set, choices, folder, recipe, embed)


def conclusion_alone(
    towers: TwoTower,
    eval_set: EvalSet,
    choices: Choices,
    chains: Mapping[str, str],
    folder: Path,
    recipe: str,
) -> Evaluation:
    """The conclusion of each triplet's chain as the only query (`chains`: triplet id -> chain).

    A chain that broke off before its conclusion is asked as an empty text: it is the writer's failure and
    counts. Raises `InputError` naming a triplet without chain.
    """

    def embed(_: Pictures) -> tuple[Scores, tuple[str | None, ...], list[list[int]]]:
        texts, spread = query_texts(eval_set, choices)
        rows = {triplet.triplet_id: None for triplet in eval_set.triplets}
        missing = [name for name in rows if name not in chains]
        if missing:
            raise InputError(f"no chain of {missing[0]} and {len(missing) - 1} more; nothing to search for")
        each = len(texts) // len(rows)
        asked = [chains[triplet.triplet_id] for triplet in eval_set.triplets for _ in range(each)]
        vectors = _in_batches(towers.embed_texts, [chain_part(c, "conclusion") or "" for c in asked])
        return vectors, tuple(asked), spread

    return _evaluate(towers, eval_set, choices, folder, recipe, embed)


def _evaluate(
    towers: TwoTower,
    eval_set: EvalSet,
    choices: Choices,
    folder: Path,
    recipe: str,
    embed: Callable[[Pictures], tuple[Scores, tuple[str | None, ...], list[list[int]]]],
) -> Evaluation:
    pictures = Pictures(recipe)
    gallery = {name: eval_set.images[name] for name in eval_set.gallery}
    images = encode_images(towers, towers.key, gallery, folder, pictures)
    vectors, chains, spread = embed(pictures)
    queries = EncodedQueries(vectors, chains, 0.0, 0.0)
    scores = scores_of(queries, spread, images.vectors)
    return Evaluation(measure(eval_set, choices, scores), scores, queries)


def _in_batches(embed: Callable[[Sequence[Any]], Scores], items: Sequence[Any], size: int = 64) -> Scores:
    blocks: Scores = np.concatenate(
        [embed(items[start : start + size]) for start in range(0, len(items), size)]
    )
    return blocks


def _unit(features: Any) -> Scores:
    """transformers gives the vectors themselves or, from version 5 on, an output that holds them."""
    tensor: Tensor = features if isinstance(features, Tensor) else features.pooler_output
    return _scaled(tensor.float().cpu().numpy())


def _scaled(vectors: Scores) -> Scores:
    unit: Scores = np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)
    return unit
