"""A CLIP beside the retriever: its vectors are transformers' own, and so are what its rows ask."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, CLIPModel

from annotate.errors import InputError, UsageError
from retrieval.eval_sets import open_eval_sets
from retrieval.evaluate import Choices, EvalSet
from retrieval.two_tower import TwoTower, conclusion_alone, sum_of_image_and_text
from tests.retrieval import tiny_models, tiny_world

CPU = torch.device("cpu")
RECIPE = "fit448-q90-v1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> EvalSet:
    (found,) = open_eval_sets("cirr", tiny_world.cirr(tmp_path_factory.mktemp("cirr"), "val"), Choices())
    return found


def test_vectors_are_those_of_plain_transformers(folder: Path, asked: EvalSet) -> None:
    pictures = [Image.open(path).convert("RGB") for path in list(asked.images.values())[:3]]
    texts = ["red", "a text that is longer than the model reads, so it is cut"]
    towers, plain = TwoTower(folder, CPU), CLIPModel.from_pretrained(folder).eval()
    found = AutoProcessor.from_pretrained(folder)(
        images=pictures, text=texts, padding=True, truncation=True, max_length=24, return_tensors="pt"
    )
    with torch.no_grad():
        out = plain(**found)
    np.testing.assert_allclose(towers.embed_pictures(pictures), out.image_embeds.numpy(), atol=1e-6)
    np.testing.assert_allclose(towers.embed_texts(texts), out.text_embeds.numpy(), atol=1e-6)
    assert towers.dim == 16


def test_image_and_text_are_summed_and_a_conclusion_is_asked_alone(
    folder: Path, asked: EvalSet, tmp_path: Path
) -> None:
    towers = TwoTower(folder, CPU)
    gallery = towers.embed_pictures([Image.open(asked.images[name]).convert("RGB") for name in asked.gallery])
    third = asked.triplets[3]
    summed = sum_of_image_and_text(towers, asked, Choices(), tmp_path, RECIPE)
    reference = gallery[asked.gallery.index(third.reference)]
    query = reference + towers.embed_texts([third.modifications[0]])[0]
    np.testing.assert_allclose(summed.scores[3], gallery @ (query / np.linalg.norm(query)), atol=1e-5)
    chains = {t.triplet_id: f"caption: black\nconclusion: {t.target}" for t in asked.triplets}
    chains[asked.triplets[0].triplet_id] = "caption: broken off"
    alone = conclusion_alone(towers, asked, Choices(), chains, tmp_path, RECIPE)
    for index, text in ((3, str(third.target)), (0, "")):
        np.testing.assert_allclose(alone.scores[index], gallery @ towers.embed_texts([text])[0], atol=1e-5)
    assert alone.result.n_queries == 12
    del chains[third.triplet_id]
    with pytest.raises(InputError, match="no chain of cirr/val/3 and 0 more"):
        conclusion_alone(towers, asked, Choices(), chains, tmp_path, RECIPE)


def test_a_clip_that_lacks_weights_or_has_broken_ones_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "clip")
    file = tiny_models.lacking(tmp_path / "clip", "layers.0")
    with pytest.raises(UsageError, match=r"its weights lack .*layers\.0"):
        TwoTower(tmp_path / "clip", CPU)
    file.write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"its weights cannot be loaded .* check --clip-model"):
        TwoTower(tmp_path / "clip", CPU)
    file.unlink()
    with pytest.raises(UsageError, match="is no model folder"):
        TwoTower(tmp_path / "clip", CPU)


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no model that transformers loads"):
        TwoTower(tmp_path, CPU)
    with pytest.raises(UsageError, match="a model of type llama"):
        TwoTower(tiny_models.text_only(tmp_path / "text"), CPU)
