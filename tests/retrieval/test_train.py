"""Training on tiny shards with a tiny real architecture: it learns, resumes exactly, stops at NaN; then
evaluation."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from annotate.errors import InputError, OutputError, RunIncomplete, UsageError
from retrieval import checkpoint, saving, train
from retrieval.conversation import ChainMode
from retrieval.encode import encode_images, model_key, read_embeddings, remove_replaced
from retrieval.eval_sets import open_eval_sets
from retrieval.evaluate import Asking, Choices, chance, evaluate
from retrieval.inputs import Reader, Spoken
from retrieval.model import CirModel, ModelSettings
from retrieval.pictures import Pictures
from retrieval.schedule import TrainSettings, learning_rate, loss_weights
from retrieval.sights import KeptSights
from retrieval.sources import Source, open_source
from tests.retrieval import tiny_world

CPU = torch.device("cpu")
CURVE = Path(__file__).with_name("loss_curve.jsonl")
SETTINGS = TrainSettings(steps=6, batch=4, chunk=3, learning_rate=3e-3, save_every=2, hard_negatives=1)
MODEL = ModelSettings(tuning="full", temperature=0.05)
pytestmark = pytest.mark.slow


def run(
    base: Path, sources: list[Source], out: Path, settings: TrainSettings = SETTINGS
) -> list[dict[str, float]]:
    train.train(CirModel(base, MODEL, CPU), base, sources, settings, out, say=lambda line: None)
    return curve(out)


@pytest.fixture(scope="module")
def whole(base: Path, sources: list[Source], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of an undisturbed run."""
    out = tmp_path_factory.mktemp("whole")
    run(base, sources, out)
    return out


def curve(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / train.METRICS).read_text().splitlines()]


def test_the_seeded_loss_curve_is_the_one_in_the_repository(whole: Path) -> None:
    """A refactor must not move it; a deliberate change writes the file anew (metrics.jsonl of this run)."""
    expected = [json.loads(line) for line in CURVE.read_text().splitlines()]
    assert [row["step"] for row in expected] == list(range(6))
    for row, kept in zip(curve(whole), expected, strict=True):
        assert row == pytest.approx(kept, rel=2e-3)


def test_the_loss_falls_and_the_curve_is_the_same_after_a_kill(
    base: Path, sources: list[Source], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = curve(whole)
    assert [row["step"] for row in undisturbed] == list(range(6))
    assert undisturbed[-1]["chain"] < undisturbed[0]["chain"]
    real, calls = train.train_step, []

    def killed(*arguments: object) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 6:  # after the state of step 4 was saved and step 4 was done again in part
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(train, "train_step", killed)
    with pytest.raises(KeyboardInterrupt):
        run(base, sources, tmp_path / "killed")
    monkeypatch.setattr(train, "train_step", real)
    assert not (tmp_path / "killed" / "model").exists()
    (moments,) = (tmp_path / "killed").glob("4-optimiser.safetensors")
    whole_moments = moments.read_bytes()
    moments.write_bytes(whole_moments[:100])
    with pytest.raises(InputError, match=r"4-optimiser\.safetensors: cannot be read .* or train again"):
        run(base, sources, tmp_path / "killed")
    moments.write_bytes(whole_moments)
    assert run(base, sources, tmp_path / "killed") == undisturbed
    weights = [(out / "model" / checkpoint.WEIGHTS).read_bytes() for out in (whole, tmp_path / "killed")]
    assert weights[0] == weights[1]
    with pytest.raises(OutputError, match="holds another training run"):
        run(base, sources, tmp_path / "killed", dataclasses.replace(SETTINGS, seed=1))


def test_a_kill_while_a_state_is_written_leaves_the_one_before(
    base: Path, sources: list[Source], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = saving.replace_folder

    def killed(temporary: Path, folder: Path) -> None:
        if folder.name == "state-4":
            raise KeyboardInterrupt
        real(temporary, folder)

    monkeypatch.setattr(saving, "replace_folder", killed)
    with pytest.raises(KeyboardInterrupt):
        run(base, sources, tmp_path)
    monkeypatch.undo()
    lines: list[str] = []
    train.train(CirModel(base, MODEL, CPU), base, sources, SETTINGS, tmp_path, say=lines.append)
    assert not list(tmp_path.glob(".state-*")), "nothing half is left behind"
    assert "going on at step 2" in lines and curve(tmp_path) == curve(whole)
    assert [path.name for path in tmp_path.glob("state-*")] == ["state-4"], "older ones are removed"


def test_gradcache_and_plain_steps_give_the_same_curve(
    base: Path, sources: list[Source], tmp_path: Path
) -> None:
    short = dataclasses.replace(SETTINGS, steps=2)
    plain = run(base, sources, tmp_path / "plain", short)
    cached = run(base, sources, tmp_path / "cached", dataclasses.replace(short, grad_cache=True))
    for one, other in zip(plain, cached, strict=True):
        assert one == pytest.approx(other, rel=1e-3)


def test_the_first_line_says_how_many_hard_negatives_there_are(
    base: Path, sources: list[Source], tmp_path: Path
) -> None:
    lines: list[str] = []
    settings = dataclasses.replace(SETTINGS, steps=1, hard_negatives=9)
    train.train(CirModel(base, MODEL, CPU), base, sources, settings, tmp_path, say=lines.append)
    assert lines[0] == "4.0 hard negatives a row on average, 9 asked for"


def test_bfloat16_trains_nearly_alike_and_leaves_a_frozen_tower_as_whoever_measures_has_it(
    base: Path, sources: list[Source], tmp_path: Path
) -> None:
    frozen = dataclasses.replace(MODEL, tuning="frozen_tower")
    curves = []
    for quick in (False, True):
        model, kept = CirModel(base, frozen, CPU), KeptSights()
        settings = dataclasses.replace(SETTINGS, steps=2, cpu_bf16=quick)
        out = tmp_path / str(quick)
        train.train(model, base, sources, settings, out, say=lambda line: None, kept=kept)
        curves.append([row["loss"] for row in curve(out)])
    plain, rounded = curves
    assert rounded == pytest.approx(plain, rel=0.05) and rounded != pytest.approx(plain, rel=1e-5)
    assert model.backbone.config.text_config._attn_implementation == "eager"
    measuring, pictures = CirModel(base, frozen, CPU), Pictures(sources[0].manifest.image_recipe)
    compared = 0
    for path in sources[0].images.values():
        seen, fresh = kept.get(path, None), measuring.sight(pictures.load(path))
        if seen is not None and isinstance(fresh, Spoken):
            assert torch.equal(seen.pixels["tower_states"], fresh.pixels["tower_states"])
            compared += 1
    assert compared > 5


def test_a_rate_that_is_far_too_high_diverges_and_says_so(
    base: Path, sources: list[Source], tmp_path: Path
) -> None:
    with pytest.raises(train.Diverged, match=r"step 1: loss .*; lower the learning rate; batch: cirr/train/"):
        run(base, sources, tmp_path, dataclasses.replace(SETTINGS, learning_rate=1e30, warmup=0))


def test_two_stages_train_the_chain_first_and_the_contrast_after(
    base: Path, sources: list[Source], tmp_path: Path
) -> None:
    rows = run(base, sources, tmp_path, dataclasses.replace(SETTINGS, steps=2, stages="two"))
    assert rows[0]["contrastive"] == 0 and rows[0]["loss"] == pytest.approx(rows[0]["chain"])
    assert rows[1]["loss"] == pytest.approx(rows[1]["contrastive"])


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_batch(
    base: Path, sources: list[Source], tmp_path: Path
) -> None:
    model = CirModel(base, MODEL, CPU)
    with torch.no_grad():
        model.emb_row.fill_(torch.nan)
    with pytest.raises(RunIncomplete, match=r"step 0: loss nan.*batch: cirr/train/\d+ cirr/train/"):
        train.train(model, base, sources, SETTINGS, tmp_path, say=lambda line: None)
    assert not (tmp_path / "model").exists()


def test_an_image_that_changed_since_annotation_stops_training(base: Path, tmp_path: Path) -> None:
    root = tiny_world.cirr(tmp_path / "cirr", "train")
    source = open_source(tiny_world.published(tmp_path / "out", root))
    for path in (root / "train").glob("*.png"):
        path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(InputError, match="has changed since it was annotated"):
        run(base, [source], tmp_path / "run")


def test_both_passes_of_gradcache_read_their_pictures_once(
    base: Path, sources: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[str] = []
    real = Reader.user_turn

    def counted(reader: Reader, picture: Image.Image | Spoken, text: str) -> Spoken:
        turns.append(text)
        return real(reader, picture, text)

    monkeypatch.setattr(Reader, "user_turn", counted)
    once = dataclasses.replace(SETTINGS, steps=1)
    run(base, sources, tmp_path / "plain", once)
    plain = sorted(turns)
    turns.clear()
    run(base, sources, tmp_path / "cached", dataclasses.replace(once, grad_cache=True))
    assert sorted(turns) == plain and len(plain) > 8


def test_schedules_warm_up_decay_and_weigh_the_stages() -> None:
    settings = TrainSettings(steps=100, warmup=0.1, learning_rate=1.0, stages="two", first_stage=0.3)
    rates = [learning_rate(settings, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1.0) and rates[-1] < 0.001
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert [loss_weights(settings, step) for step in (0, 29, 30)] == [(1, 0), (1, 0), (0, 1)]
    assert loss_weights(TrainSettings(chain=False), 0) == (0.0, 1.0)
    assert loss_weights(TrainSettings(chain=False, stages="two"), 0) == (0.0, 1.0)
    assert loss_weights(TrainSettings(lambda_info=0), 7) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"weights": "cirr=nan"}, "each dataset once, with a number from 0"),
        ({"weights": "cirr=1,cirr=2"}, "each dataset once"),
        ({"weights": "cirr=1e308,fashioniq=1e308"}, "with a number from 0"),
        ({"batch": 10**21}, "batch is 1000000000000000000000; it must be below"),
        ({"weight_decay": -1.0}, "weight-decay is -1.0"),
        ({"beta2": 1.0}, "beta2 is 1.0"),
        ({"chain": False, "lambda_info": 0.0}, "nothing would be trained"),
        ({"stages": "two", "lambda_info": 0.0}, "give both lambdas a weight"),
        ({"stages": "two", "lambda_txt": 0.0}, "give both lambdas a weight"),
        ({"chain": False, "shuffle_chains": True}, "shuffles nothing"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        TrainSettings(**settings)


def test_a_trained_model_is_evaluated_on_cirr_and_fashioniq_with_and_without_written_chains(
    base: Path, sources: list[Source], tmp_path: Path
) -> None:
    run(base, sources, tmp_path / "run", dataclasses.replace(SETTINGS, steps=1))
    model, card = checkpoint.load(tmp_path / "run" / "model", CPU)
    key, recipe, choices = model_key(card), sources[0].manifest.image_recipe, Choices()
    (cirr,) = open_eval_sets("cirr", tiny_world.cirr(tmp_path / "val", "val"), choices)
    chains: tuple[ChainMode, ...] = ("none", "generated")
    for chain in chains:
        asking = Asking(chain=chain, recipe=recipe, max_tokens=5)
        done = evaluate(model, key, cirr, choices, asking, tmp_path / "e")
        assert (done.result.n_queries, done.result.n_gallery) == (12, 18)
        assert done.queries is not None and (done.queries.chains[0] is None) == (chain == "none")
    gold = {triplet.triplet_id: "caption: red" for triplet in cirr.triplets}
    told = Asking(chain="gold", recipe=recipe, gold=gold)
    done = evaluate(model, key, cirr, choices, told, tmp_path / "e")
    del gold[cirr.triplets[3].triplet_id]
    with pytest.raises(InputError, match="no gold chain of cirr/val/3"):
        evaluate(model, key, cirr, choices, told, tmp_path / "e")
    searle = Choices(caption_mode="searle")
    sets = open_eval_sets("fashioniq", tiny_world.fashioniq(tmp_path / "fiq", triplets=30), searle)
    shares = []
    for each in sets:
        told = Asking(chain="none", recipe=recipe)
        found = evaluate(model, key, each, searle, told, tmp_path / str(each.category))
        columns = [each.gallery.index(str(triplet.target)) for triplet in each.triplets]
        own = found.scores[np.arange(30), columns]
        shares.append(float(np.mean((found.scores > own[:, None]).sum(axis=1) < 10)))
        assert found.result.values["R@10"] == pytest.approx(shares[-1])
    assert [each.category for each in sets] == ["dress", "shirt", "toptee"]
    assert 0 < np.mean(shares) < 1, "galleries of 33 pictures"


def test_chance_finds_ten_of_seventeen_as_often_as_that_and_the_same_seed_the_same(tmp_path: Path) -> None:
    (cirr,) = open_eval_sets("cirr", tiny_world.cirr(tmp_path, "val"), Choices())
    found = [chance(cirr, Choices(), seed).result.values["R@10"] for seed in range(100)]
    assert np.mean(found) == pytest.approx(10 / 17, abs=0.05)
    assert len(set(found)) > 1 and found[7] == chance(cirr, Choices(), 7).result.values["R@10"]


def test_a_gallery_image_that_is_missing_is_named_or_counted(tmp_path: Path) -> None:
    root = tiny_world.cirr(tmp_path, "val")
    (root / "dev" / "dev-17-0-img0.png").unlink()
    with pytest.raises(InputError, match="gallery image dev-17-0-img0 and 0 more are missing"):
        open_eval_sets("cirr", root, Choices())
    choices = Choices(allow_missing=True)
    (left,) = open_eval_sets("cirr", root, choices)
    assert str(chance(left, choices, 0).result).endswith("queries 12/12; gallery 17/18]")


def test_embeddings_are_kept_by_part_and_computed_again_only_where_an_image_changed(
    base: Path, sources: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = CirModel(base, MODEL, CPU)
    root = tiny_world.cirr(tmp_path / "cirr", "val")
    paths = {path.stem: path for path in sorted((root / "dev").glob("*.png"))}
    folder = tmp_path / "embeddings"
    first = encode_images(model, "key", paths, folder, Pictures(), part=5)
    assert len(first.names) == 18 and np.allclose(np.linalg.norm(first.vectors, axis=1), 1, atol=1e-5)
    stored = read_embeddings(folder, "key")
    assert stored.names == first.names and (stored.vectors == first.vectors).all()
    with pytest.raises(InputError, match="embeddings of another model"):
        read_embeddings(folder, "other")
    embedded: list[int] = []
    real = CirModel.forward
    monkeypatch.setattr(CirModel, "forward", lambda m, b: embedded.append(len(b.ends)) or real(m, b))  # type: ignore[func-returns-value]
    tiny_world.picture(paths[first.names[7]], 555)
    again = encode_images(model, "key", paths, folder, Pictures(), part=5)
    assert embedded == [1], "the one image that changed was computed again"
    tiny_world.picture(tmp_path / "first.png", 556)
    more = {"first": tmp_path / "first.png", **paths}
    del more[first.names[9]]
    grown = encode_images(model, "key", more, folder, Pictures(), part=5)
    assert embedded == [1, 1] and grown.names == tuple(more), "a gallery may grow and shrink"
    kept = dict(zip(again.names, again.vectors, strict=True))
    assert all(
        (row == kept[name]).all() for name, row in zip(grown.names[1:], grown.vectors[1:], strict=True)
    )
    before = len(list(folder.glob("*.safetensors")))
    remove_replaced(folder)
    assert before > len(list(folder.glob("*.safetensors"))) == 4
    assert read_embeddings(folder, "key").names == grown.names
    assert (again.vectors[7] != first.vectors[7]).any() and (again.vectors[:5] == first.vectors[:5]).all()
