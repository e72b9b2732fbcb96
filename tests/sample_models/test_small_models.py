"""The shipped base and CLIP: float16, no code, cards with figures, and they know what their cards say."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from transformers import AutoTokenizer

from retrieval.model import CirModel, ModelSettings
from retrieval.two_tower import TwoTower
from sample import world
from sample.base.corpus import DOMAINS, Scribe

MODELS = Path(__file__).parents[2] / "sample" / "models"
SEED = 4_000_000  # neither a default of the sample's nor one of any training
CPU = torch.device("cpu")


def shown(domain: world.Domain, count: int) -> list[tuple[world.Look, Image.Image]]:
    found = []
    for number in range(count):
        rng = random.Random(f"{SEED}-{domain}-{number}")
        look = world.draw_look(rng, domain)
        found.append((look, world.render(look, rng)))
    return found


@pytest.mark.parametrize("name", ["base", "clip"])
def test_weights_are_float16_and_nothing_in_the_folder_runs_code(name: str) -> None:
    folder = MODELS / name
    with safe_open(folder / "model.safetensors", framework="numpy") as tensors:
        names = list(tensors.keys())
        kinds = {tensors.get_slice(each).get_dtype() for each in names if not each.endswith("position_ids")}
    assert kinds == {"F16"}
    assert {path.suffix for path in folder.iterdir()} <= {".safetensors", ".json", ".jinja", ".md", ".jsonl"}
    assert "auto_map" not in json.loads((folder / "config.json").read_text())
    card = (folder / "README.md").read_text(encoding="utf-8")
    for wanted in ("held out", f"python -m sample.{name} train", "never", "Licence"):
        assert wanted in card, wanted


@pytest.mark.slow
@pytest.mark.parametrize("domain", DOMAINS)
def test_the_base_describes_pictures_that_it_never_saw(domain: world.Domain) -> None:
    model = CirModel(MODELS / "base", ModelSettings(tuning="frozen_tower"), CPU).eval()
    pictures = shown(domain, 24)
    turns = [model.reader.user_turn(picture, "Describe it.") for _, picture in pictures]
    said = [model.reader.text(ids) for ids in model.write_chains(turns, 100)]
    right = [text == ", ".join(world.claims(look)) for text, (look, _) in zip(said, pictures, strict=True)]
    assert np.mean(right) >= 0.5


@pytest.mark.slow
def test_the_base_copies_tokens_of_any_kind() -> None:
    model = CirModel(MODELS / "base", ModelSettings(tuning="frozen_tower"), CPU).eval()
    scribe = Scribe(AutoTokenizer.from_pretrained(MODELS / "base"))
    right: list[bool] = []
    for seed in range(60):
        document = scribe.copy(random.Random(SEED + seed))
        with torch.no_grad():
            foretold = model.backbone(input_ids=torch.tensor([document.ids])).logits[0].argmax(-1)
        right += [int(foretold[place - 1]) == document.ids[place] for place in document.learned]
    assert np.mean(right) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("domain", DOMAINS)
def test_the_clip_finds_the_picture_that_claims_describe(domain: world.Domain) -> None:
    towers = TwoTower(MODELS / "clip", CPU)
    pictures = shown(domain, 100)
    seen = towers.embed_pictures([picture for _, picture in pictures])
    said = towers.embed_texts([", ".join(world.claims(look)) for look, _ in pictures])
    assert np.mean((said @ seen.T).argmax(1) == np.arange(100)) >= 0.5
