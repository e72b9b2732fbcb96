"""What is kept of pictures: shared between runs, bounded, and never of a file that has changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from annotate.errors import InputError
from retrieval import sights
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
    first = Sights(model, pictures, kept).of(path, pictures.digest(path))
    assert isinstance(first, Spoken)
    assert Sights(model, Pictures(), kept).of(path, pictures.digest(path)) is first
    with pytest.raises(InputError, match="has changed since it was annotated"):
        Sights(model, Pictures(), kept).of(path, "0" * 64)
