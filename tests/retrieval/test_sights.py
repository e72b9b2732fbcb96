"""What is kept of pictures: shared between runs, bounded, and never of a file that has changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from annotate.errors import InputError
from annotate.images import DEFAULT_RECIPE
from retrieval import sights
from retrieval.eval_sets import open_eval_sets
from retrieval.evaluate import Asking, Choices, evaluate
from retrieval.inputs import Spoken
from retrieval.model import CirModel, ModelSettings
from retrieval.pictures import Pictures
from retrieval.sights import KeptSights, Sights
from tests.retrieval import tiny_models, tiny_world

PATHS = [Path(name) for name in "abc"]


def seen(number: int) -> Spoken:
    return Spoken((number,), {"tower_states": torch.full((1, 4), float(number))})


def test_the_longest_unused_sight_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sights, "KEPT_BYTES", 40)  # two sights of 16 bytes
    kept = KeptSights()
    for number, path in enumerate(PATHS[:2]):
        kept.put(path, "digest", seen(number))
    assert kept.get(PATHS[0], None) is not None
    kept.put(PATHS[0], "digest", seen(7))  # the same file again takes no more room
    kept.put(PATHS[2], "digest", seen(2))
    found = [kept.get(path, "digest") for path in PATHS]
    assert [each and each.ids for each in found] == [(7,), None, (2,)]


def test_two_runs_share_what_they_saw_and_a_file_that_changed_is_refused(tmp_path: Path) -> None:
    tiny_models.idefics(tmp_path / "base")
    model = CirModel(tmp_path / "base", ModelSettings(tuning="frozen_tower"), torch.device("cpu"))
    path = tiny_world.cirr(tmp_path / "cirr", "train") / "train" / "train-0-0-img0.png"
    kept, pictures = KeptSights(), Pictures()
    first = Sights(model, pictures, kept).load(path, pictures.digest(path))
    assert isinstance(first, Spoken)
    assert Sights(model, Pictures(), kept).load(path, pictures.digest(path)) is first
    with pytest.raises(InputError, match="has changed since it was annotated"):
        Sights(model, Pictures(), kept).load(path, "0" * 64)


def test_a_sight_gives_the_vector_and_the_chain_that_its_picture_gives(tmp_path: Path) -> None:
    tiny_models.idefics(tmp_path / "base")
    model = CirModel(tmp_path / "base", ModelSettings(tuning="frozen_tower"), torch.device("cpu")).eval()
    root = tiny_world.cirr(tmp_path / "cirr", "train") / "train"
    paths = sorted(root.glob("*.png"))[:3]
    pictures = [Pictures().load(path) for path in paths]
    sights = [Sights(model, Pictures(), KeptSights()).load(path) for path in paths]
    assert all(isinstance(each, Spoken) for each in sights)
    assert np.array_equal(model.embed_pictures(pictures), model.embed_pictures(sights))
    turns, same = (
        [model.reader.user_turn(each, "it is red") for each in some] for some in (pictures, sights)
    )
    assert model.write_chains(turns, 12) == model.write_chains(same, 12)


def test_a_row_of_a_study_sees_no_gallery_picture_that_an_earlier_one_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_models.idefics(tmp_path / "base")
    root = tiny_world.cirr(tmp_path / "cirr", "val")
    (world,) = open_eval_sets("cirr", root, Choices())
    seen: list[Image.Image] = []
    look = CirModel.sight

    def noted(model: CirModel, image: Image.Image) -> Image.Image | Spoken:
        seen.append(image)
        return look(model, image)

    monkeypatch.setattr(CirModel, "sight", noted)
    kept = KeptSights()

    def measured(seed: int) -> int:
        settings = ModelSettings(tuning="frozen_tower", projection=8, init_seed=seed)
        model = CirModel(tmp_path / "base", settings, torch.device("cpu"))
        asking = Asking(chain="none", recipe=DEFAULT_RECIPE)
        before = len(seen)
        evaluate(model, f"key {seed}", world, Choices(), asking, tmp_path / f"{seed}", kept=kept)
        return len(seen) - before

    references = len({triplet.reference for triplet in world.triplets})
    assert (measured(0), measured(1)) == (len(world.gallery) + references, references)
