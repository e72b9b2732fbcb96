"""What the rows that carry the claim give the model, from the trial of a rate to the measurement: another
triplet's chain, no text, no picture, the rejected rows as well."""

from __future__ import annotations

import dataclasses
import json
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from retrieval import train
from retrieval.conversation import image_prompt, query_prompt
from retrieval.data import Example, examples
from retrieval.eval_sets import open_eval_sets
from retrieval.evaluate import Choices
from retrieval.inputs import Batch, Reader, Spoken
from retrieval.model import CirModel, ModelSettings
from retrieval.objective import image_key
from retrieval.schedule import TrainSettings
from retrieval.sights import KeptSights, sights_of
from retrieval.sources import data_digest, open_source
from retrieval.study import ABLATIONS, OURS, SHORTCUTS, Study, Variant, _trained
from tests.retrieval import tiny_world

CPU = torch.device("cpu")
IMAGE_ONLY, TEXT_ONLY = SHORTCUTS
_, UNFILTERED, SHUFFLED = ABLATIONS


@dataclass(frozen=True, slots=True)
class Given:
    """One conversation that the model was given: its picture, the user's text, what stood before `<emb>`."""

    picture: Image.Image
    text: str
    chain: str | None

    @property
    def grey(self) -> bool:
        return bool((np.asarray(self.picture) == 128).all())


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Given]:
    """Every conversation that is embedded from here on, of queries and of images."""
    found: list[Given] = []
    turns: list[tuple[Image.Image, str]] = []
    speak, join = Reader.user_turn, Reader.embedding_batch

    def user_turn(reader: Reader, picture: Image.Image | Spoken, text: str) -> Spoken:
        assert isinstance(picture, Image.Image)
        turns.append((picture, text))
        return speak(reader, picture, text)

    def embedding_batch(
        reader: Reader, spoken: Sequence[Spoken], chains: Sequence[Sequence[int]] | None = None
    ) -> Batch:
        written = [None] * len(spoken) if chains is None else [reader.text(chain) for chain in chains]
        found.extend(Given(*turn, chain) for turn, chain in zip(turns, written, strict=True))
        turns.clear()
        return join(reader, spoken, chains)

    monkeypatch.setattr(Reader, "user_turn", user_turn)
    monkeypatch.setattr(Reader, "embedding_batch", embedding_batch)
    return found


def study(world: Path, data: Path, out: Path, rates: tuple[float, ...] = (1e-3,)) -> Study:
    """A study of one step and a batch of four in chunks of two, measured on CIRR's twelve queries."""
    choices = Choices()
    return Study(
        data=(data,),
        image_roots={},
        base=world / "base",
        clip=world / "no clip",
        model=ModelSettings(tuning="full"),
        train=TrainSettings(steps=1, batch=4, chunk=2),
        rates=rates,
        rate_steps=1,
        eval_sets=(tuple(open_eval_sets("cirr", world / "cirr", choices)),),
        gold={},
        choices=choices,
        ablations=True,
        seeds=(0,),
        out=out,
        device=CPU,
        max_tokens=2,
    )


def queries(seen: Sequence[Given]) -> list[Given]:
    return [each for each in seen if each.text != image_prompt()]


def test_a_study_holds_one_model_at_a_time(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a real base five would not fit on a GPU."""
    built: list[weakref.ref[CirModel]] = []
    build = CirModel.__init__

    def counted(model: CirModel, *arguments: Any) -> None:
        assert not [each for each in built if each() is not None], "an earlier model is still there"
        built.append(weakref.ref(model))
        build(model, *arguments)

    monkeypatch.setattr(CirModel, "__init__", counted)
    data = tiny_world.published(tmp_path / "out", world / "cirr")
    _trained(study(world, data, tmp_path, (1e-3, 2e-3)), OURS, 0, KeptSights(), lambda line: None)
    assert len(built) == 2 * 2 + 1 + 1  # two trials and their judges, the run, the measurement


@pytest.mark.parametrize("variant", [IMAGE_ONLY, TEXT_ONLY])
def test_a_shortcut_never_sees_the_other_input_neither_in_training_nor_when_it_is_judged_or_measured(
    world: Path, tmp_path: Path, seen: list[Given], variant: Variant
) -> None:
    data = tiny_world.published(tmp_path / "out", world / "cirr")
    _trained(study(world, data, tmp_path, (1e-3, 2e-3)), variant, 0, KeptSights(), lambda line: None)
    asked = queries(seen)
    trial = 4 + 1  # a batch, and the one row that is held out
    assert len(asked) == 2 * trial + 4 + 12
    assert {each.text == query_prompt("") for each in asked} == {variant.blank == "text"}
    assert {each.grey for each in asked} == {variant.blank == "image"}
    assert {each.chain for each in asked} == {None}
    images = [each for each in seen if each.text == image_prompt()]
    assert images and not any(each.grey for each in images), "targets and galleries are seen as they are"


@pytest.mark.parametrize("variant", [OURS, SHUFFLED])
def test_shuffled_chains_are_those_of_the_batch_and_no_row_has_its_own(
    world: Path, tmp_path: Path, seen: list[Given], variant: Variant
) -> None:
    data = tiny_world.published(tmp_path / "out", world / "cirr", rows=6)
    batch = list(islice(examples([open_source(data)], seed=0), 4))
    own = [example.chain for example in batch]
    assert len(set(own)) == 4, "chains can be told apart"
    _trained(study(world, data, tmp_path), variant, 0, KeptSights(), lambda line: None)
    asked = queries(seen)[:4]
    assert [each.text for each in asked] == [query_prompt(example.text) for example in batch]
    given = [each.chain for each in asked]
    assert sorted(map(str, given)) == sorted(own)
    assert [one == other for one, other in zip(given, own, strict=True)] == [variant == OURS] * 4


def test_the_unfiltered_row_is_trained_on_the_rejected_rows_as_well(world: Path, tmp_path: Path) -> None:
    data = tiny_world.published(tmp_path / "out", world / "cirr", rows=8)
    tiny_world.annotated(data, world / "cirr", "train", rows=12)
    digests = {}
    for variant in (OURS, UNFILTERED):
        (line,) = _trained(study(world, data, tmp_path), variant, 0, KeptSights(), lambda line: None)
        source = open_source(data, rows=variant.rows)
        assert source.n_rows == {"train": 8, "annotations": 12}[variant.rows]
        folder = tmp_path / "runs" / f"{variant.label.replace(' ', '-')}-seed0"
        digests[variant.label] = json.loads((folder / "run.json").read_text())["data"]
        assert digests[variant.label] == line.row.data_digest == data_digest([source])
    assert len(set(digests.values())) == 2


def step_of(world: Path, batch: Sequence[Example]) -> dict[str, float]:
    """The named terms of one step over `batch`, without chains."""
    model = CirModel(world / "base", ModelSettings(tuning="full"), CPU)
    trained = [p for p in model.parameters() if p.requires_grad]
    sights = sights_of(model, "fit448-q90-v1", False, KeptSights())
    settings = TrainSettings(chain=False, batch=len(batch))
    return train.train_step(model, torch.optim.SGD(trained, 0.0), trained, batch, settings, 0, sights)


def test_known_positives_and_also_matches_are_not_pushed_away(world: Path, tmp_path: Path) -> None:
    """Two rows, of which each is known to fit the other's target: there is nothing left to contrast with."""
    names = [f"train-{index}-0-img0" for index in (1, 2)]
    rows = {"known": {"positives": (names[1],), "also_matches": (names[0],)}, "unknown": {}}
    terms = {}
    for name, each in rows.items():
        source = open_source(tiny_world.published(tmp_path / name, world / "cirr", rows=2, each=each))
        batch = list(islice(examples([source], seed=0), 2))
        assert {example.target_key for example in batch} == {image_key("cirr", name) for name in names}
        terms[name] = step_of(world, batch)["contrastive"]
    assert terms["known"] == 0 and terms["unknown"] > 0.01


def test_a_masked_candidate_changes_nothing_and_another_does(world: Path, tmp_path: Path) -> None:
    fitting = {"also_matches": ("train-5-0-img0",)}
    data = tiny_world.published(tmp_path / "out", world / "cirr", rows=1, each=fitting)
    (example,) = islice(examples([open_source(data)], seed=0), 1)

    def with_hard(number: int) -> float:
        name = f"train-{number}-0-img0"
        paths = (world / "cirr" / "train" / f"{name}.png",)
        more = dataclasses.replace(example, hard=paths, hard_keys=(image_key("cirr", name),))
        return step_of(world, [more, more])["contrastive"]

    assert with_hard(5) == step_of(world, [example, example])["contrastive"]
    assert with_hard(4) > with_hard(5) + 0.01


def test_a_member_that_is_damaged_is_no_candidate_and_stops_nothing(world: Path, tmp_path: Path) -> None:
    data = tiny_world.published(tmp_path / "out", world / "cirr", rows=1)
    (example,) = islice(examples([open_source(data)], seed=0), 1)
    (tmp_path / "damaged.png").write_bytes(b"no picture")
    damaged = dataclasses.replace(example, hard=(tmp_path / "damaged.png",), hard_keys=(1,))
    assert step_of(world, [damaged, damaged]) == step_of(world, [example, example])


def test_seeds_that_come_later_find_the_rate_that_was_chosen(world: Path, tmp_path: Path) -> None:
    data = tiny_world.published(tmp_path / "out", world / "cirr")
    first = study(world, data, tmp_path, (1e-3, 2e-3))
    later = dataclasses.replace(first, seeds=(1,))
    rates, said = set(), list[str]()
    for each in (first, later):
        (line,) = _trained(each, OURS, each.seeds[0], KeptSights(), said.append)
        rates.add(line.row.learning_rate)
    assert len(rates) == 1 and sum("is finished already" in line for line in said) == 2, "two trials in all"
