"""The real vLLM on the CPU serves what the retriever exports: chains, embeddings, and the CLIP's vectors."""

from __future__ import annotations

import base64
import io
import random
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from annotate.errors import InputError
from annotate.settings.declared import CHECKOUT
from annotate.teacher.server import Server, start_server
from retrieval import checkpoint
from retrieval.conversation import EMB, image_prompt, query_prompt
from retrieval.encode import QueryText
from retrieval.export import export
from retrieval.generator import open_generator, refuse_foreign
from retrieval.model import CirModel, ModelSettings
from retrieval.pictures import Pictures
from retrieval.two_tower import TwoTower
from sample import world

MODELS = CHECKOUT / "sample" / "models"
CPU = torch.device("cpu")
PYTHON = CHECKOUT / ".venv-teacher" / "bin" / "python"
POOLING = ("--runner", "pooling")
RECIPE = "fit448-q90-v1"
ASKED = [(number, text) for number in range(3) for text in ("Describe it.", "make it blue")]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> CirModel:
    """The shipped base: vLLM's CPU attention knows no heads as small as those of `tiny_models`."""
    built = CirModel(MODELS / "base", ModelSettings(tuning="full"), CPU).eval()
    with torch.no_grad():
        built.emb_row.mul_(3)
    return built


@pytest.fixture(scope="module")
def folder(model: CirModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("export")
    checkpoint.save(model, model.reader.tokenizer.name_or_path, place / "checkpoint")
    return export(model, checkpoint.read_card(place / "checkpoint"), place / "plain")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    found = [tmp_path_factory.mktemp("pictures") / f"{number}.png" for number in range(3)]
    for number, path in enumerate(found):
        rng = random.Random(f"served-{number}")
        world.render(world.draw_look(rng, "scenes"), rng).save(path)
    return found


def embedded(server: Server, messages: list[dict[str, Any]], **options: Any) -> NDArray[np.float32]:
    body = {"model": server.model, "messages": messages, **options}
    answer = httpx.post(f"{server.url}/embeddings", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    return np.array(answer.json()["data"][0]["embedding"], dtype=np.float32)


def shown(path: Path) -> dict[str, Any]:
    stream = io.BytesIO()
    Image.open(path).convert("RGB").save(stream, "PNG")
    url = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": url}}


def test_chains_are_those_that_the_model_writes_itself(
    model: CirModel, folder: Path, paths: list[Path], tmp_path: Path
) -> None:
    pictures = Pictures(RECIPE)
    turns = [model.reader.user_turn(pictures.load(paths[n]), query_prompt(text)) for n, text in ASKED]
    here = [model.reader.text(ids) for ids in model.write_chains(turns, 24)]
    with start_server(folder, PYTHON, tmp_path / "server.log") as server:
        there = open_generator(server.url).write([(paths[n], text) for n, text in ASKED], RECIPE, 24)
    told = [QueryText(paths[n], text, chain) for (n, text), chain in zip(ASKED, there, strict=True)]
    refuse_foreign(server.url, model, told, pictures)
    other = CirModel(MODELS / "base", ModelSettings(tuning="full"), CPU)
    with torch.no_grad():
        for name, weight in other.backbone.named_parameters():
            if name.endswith("down_proj.weight"):
                weight.zero_()
    with pytest.raises(InputError, match="serves another model"):
        refuse_foreign(server.url, other, told, pictures)
    agreeing = sum(one == other for one, other in zip(here, there, strict=True))
    assert agreeing >= 5, list(zip(here, there, strict=True))  # the server is sent JPEG, not the PNG


def test_the_pooling_runner_gives_the_vectors_of_queries_and_images(
    model: CirModel, folder: Path, paths: list[Path], tmp_path: Path
) -> None:
    chain = "caption: a red box\nconclusion: a blue box"
    pictures = Pictures(RECIPE)
    turns = [
        model.reader.user_turn(pictures.load(paths[0]), query_prompt("make it blue")),
        model.reader.user_turn(pictures.load(paths[1]), image_prompt()),
    ]
    with torch.no_grad():
        batch = model.reader.embedding_batch(turns, [model.reader.chain_ids(chain), []])
        here = model(batch).vectors.numpy()
    asked = [(paths[0], query_prompt("make it blue"), chain), (paths[1], image_prompt(), "")]
    with start_server(folder, PYTHON, tmp_path / "server.log", extra_flags=POOLING) as server:
        for (path, text, written), ours in zip(asked, here, strict=True):
            messages = [
                {"role": "user", "content": [shown(path), {"type": "text", "text": text}]},
                {"role": "assistant", "content": [{"type": "text", "text": written + EMB}]},
            ]
            theirs = embedded(server, messages, add_generation_prompt=False, continue_final_message=True)
            assert 1 - float(ours @ theirs / np.linalg.norm(theirs)) <= 1e-4


def test_a_clip_is_served_with_the_same_vectors(paths: list[Path], tmp_path: Path) -> None:
    clip = MODELS / "clip"
    towers = TwoTower(clip, CPU)
    with start_server(clip, PYTHON, tmp_path / "server.log", extra_flags=POOLING) as server:
        picture = embedded(server, [{"role": "user", "content": [shown(paths[0])]}])
        body = {"model": server.model, "input": "a red box"}
        text = httpx.post(f"{server.url}/embeddings", json=body, timeout=120).json()["data"][0]["embedding"]
    seen = towers.embed_pictures([Image.open(paths[0]).convert("RGB")])[0]
    assert 1 - float(picture @ seen / np.linalg.norm(picture)) <= 1e-4
    assert 1 - float(np.array(text) @ towers.embed_texts(["a red box"])[0] / np.linalg.norm(text)) <= 1e-4
