"""A learning rate is chosen on rows that the run did not see, and only once."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from annotate.errors import InputError
from retrieval import checkpoint, rates
from retrieval.data import examples, is_held_out
from retrieval.model import CirModel, ModelSettings
from retrieval.rates import choose_rate, held_out, mean_reciprocal_rank, noted
from retrieval.sights import KeptSights
from retrieval.sources import Source, open_source
from tests.retrieval import tiny_models, tiny_world


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    folder = tmp_path_factory.mktemp("data")
    root = tiny_world.cirr(folder / "cirr", "train", triplets=40, images=46)
    return open_source(tiny_world.published(folder / "out", root, rows=40))


def test_what_is_held_out_is_never_trained_on_and_all_else_is(source: Source) -> None:
    asked = held_out(source)
    stream = examples([source], seed=0, hold_out=True)
    seen = {example.reference.stem for example in islice(stream, 200)}
    assert asked.references and not seen & set(asked.references)
    assert len(seen) + len(set(asked.references)) == 40
    assert {example.reference.stem for example in islice(examples([source], seed=0), 200)} > seen


def test_targets_and_references_of_held_out_rows_are_in_their_gallery(source: Source) -> None:
    asked = held_out(source)
    assert {*asked.targets, *asked.references} <= set(asked.images)
    assert len(asked.queries) == len(asked.targets) == sum(map(is_held_out, asked.references))


def test_those_that_judge_are_drawn_from_all_that_is_held_out_and_from_all_pictures(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and names come sorted, FashionIQ's by category: the first of them would be dresses alone."""
    monkeypatch.setattr(rates, "is_held_out", lambda reference: True)
    monkeypatch.setattr(rates, "QUERIES", 10)
    monkeypatch.setattr(rates, "GALLERY", 30)
    asked = held_out(source)
    assert len(asked.queries) == 10 and len(asked.images) == 30
    assert max(int(name.split("-")[1]) for name in asked.references) > 19
    assert set(asked.images) != set(sorted(source.images)[:30])


def test_without_held_out_rows_no_rate_can_be_chosen(tmp_path: Path) -> None:
    names = [f"train-{index}-0-img0" for index in range(4)]
    assert not any(map(is_held_out, names)), "these four are all trained on"
    root = tiny_world.cirr(tmp_path / "cirr", "train")
    with pytest.raises(InputError, match="no row to choose a learning rate on"):
        held_out(open_source(tiny_world.published(tmp_path / "out", root, rows=4)))


def test_data_that_is_held_out_as_a_whole_ends_the_stream(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.data.is_held_out", lambda reference: True)
    with pytest.raises(InputError, match="every reference is held out"):
        next(examples([source], seed=0, hold_out=True))


def test_a_model_whose_vectors_are_no_numbers_finds_nothing(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny_models.idefics(tmp_path / "base")
    model = CirModel(base, ModelSettings(tuning="full"), torch.device("cpu"))
    checkpoint.save(model, base, tmp_path / "model")
    part = held_out(source)
    few = replace(part, queries=part.queries[:2], references=part.references[:2], targets=part.targets[:2])

    def rank() -> float:
        return mean_reciprocal_rank(
            model,
            checkpoint.read_card(tmp_path / "model"),
            [few],
            tmp_path / f"embeddings-{float(model.emb_row[0].detach())}",
            chain=False,
            blank="none",
            recipe="fit32-q90-v1",
            max_tokens=4,
            kept=KeptSights(),
        )

    assert rank() > 0
    with torch.no_grad():
        model.emb_row.fill_(float("nan"))
    assert rank() == 0


def test_the_best_rate_is_chosen_the_smaller_of_equals_and_no_trial_is_measured_twice(
    tmp_path: Path,
) -> None:
    tried: list[float] = []

    def trial(rate: float) -> float:
        tried.append(rate)
        return {1e-3: 0.2, 5e-4: 0.4, 1e-4: 0.4}[rate]

    assert choose_rate([1e-3, 5e-4, 1e-4], trial) == 1e-4
    assert choose_rate([0.3], trial) == 0.3, "one rate needs no trial"
    note = tmp_path / "held-out.json"
    assert [noted(note, lambda: trial(5e-4)) for _ in range(2)] == [0.4, 0.4]
    assert tried == [1e-3, 5e-4, 1e-4, 5e-4]
