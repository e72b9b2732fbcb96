"""`Retriever` for users, and the same model asked through the commands: always as it was trained."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from annotate.errors import InputError, UsageError
from retrieval import checkpoint, train
from retrieval.__main__ import main
from retrieval.encode import read_embeddings
from retrieval.evaluate import query_texts
from retrieval.model import CirModel, ModelSettings
from retrieval.retriever import Retriever, images_of
from retrieval.schedule import TrainSettings
from retrieval.sources import open_source
from sample.writers import WRITERS
from sample.writers.plan import Sizes
from tests.retrieval import tiny_models, tiny_world

CPU = torch.device("cpu")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cirr/ and three trained models: chain/, plain/ (no chain) and blind/ (no chain, image blanked)."""
    folder = tmp_path_factory.mktemp("world")
    base = tiny_models.idefics(folder / "base")
    root = tiny_world.cirr(folder / "cirr", "train")
    tiny_world.cirr(folder / "cirr", "val")
    sources = [open_source(tiny_world.published(folder / "out", root, image_recipe="fit32-q90-v1"))]
    settings = TrainSettings(steps=1, batch=4)
    for name, changes in (
        ("chain", {}),
        ("plain", {"chain": False}),
        ("blind", {"chain": False, "blank": "image"}),
    ):
        model = CirModel(base, ModelSettings(lora_rank=2), CPU)
        chosen = dataclasses.replace(settings, **changes)
        train.train(model, base, sources, chosen, folder / name, say=lambda line: None)
    return folder


def test_images_are_indexed_and_searched_with_or_without_a_folder(world: Path, tmp_path: Path) -> None:
    images = images_of(world / "cirr" / "dev")
    retriever = Retriever.load(world / "chain" / "model", device="cpu")
    with pytest.raises(UsageError, match="nothing is indexed yet"):
        retriever.search(images[0], "is red")
    found = retriever.index(images).search(images[0], "is red", k=3, chain=False)
    kept = retriever.index(images, tmp_path).search(images[0], "is red", k=3, chain=False)
    assert found == kept and len(found.hits) == 3 and found.chain is None
    again = Retriever.load(world / "chain" / "model", device="cpu").open_index(tmp_path)
    assert again.search(images[0], "is red", k=3, chain=False) == kept
    with pytest.raises(InputError, match="another image has the same name"):
        retriever.index([images[0], tmp_path / images[0].name])


def test_a_modification_is_cleaned_as_those_that_were_trained_on(world: Path) -> None:
    images = images_of(world / "cirr" / "dev")
    retriever = Retriever.load(world / "chain" / "model", device="cpu").index(images)
    plain, odd = (
        retriever.search(images[0], text, chain=False) for text in ("is red", " is\u200b \udcff red")
    )
    assert plain == odd
    with pytest.raises(UsageError, match="the modification is empty"):
        retriever.search(images[0], "\udcff", chain=False)


def test_an_index_of_somebody_else_is_left_alone(world: Path, tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text('{"title": "my pictures"}')
    with pytest.raises(InputError, match=r"index\.json: is no index of ours"):
        Retriever.load(world / "chain" / "model", device="cpu").index(
            images_of(world / "cirr" / "dev"), tmp_path
        )
    assert (tmp_path / "index.json").read_text() == '{"title": "my pictures"}'


def test_a_model_is_asked_as_it_was_trained(world: Path) -> None:
    images = images_of(world / "cirr" / "dev")
    plain = Retriever.load(world / "plain" / "model", device="cpu").index(images)
    assert plain.search(images[0], "is red").chain is None
    with pytest.raises(UsageError, match="was trained without chains"):
        plain.search(images[0], "is red", chain=True)
    blind = Retriever.load(world / "blind" / "model", device="cpu").index(images)
    assert blind.search(images[0], "is red") == blind.search(images[1], "is red"), "it sees no reference"
    assert plain.search(images[0], "is red") != plain.search(images[1], "is red")


def test_evaluate_and_explain_agree_on_a_model_trained_with_a_blank_input(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--model", str(world / "blind" / "model"), "--dataset", "cirr", "--root", str(world / "cirr")]
    lines = []
    for command in ("evaluate", "explain"):
        assert main([command, *asked, "--device", "cpu", "--out", str(tmp_path / command)]) == 0
        lines.append(capsys.readouterr().out.splitlines()[0])
        assert main([command, *asked, "--device", "cpu", "--chain", "generated"]) == 2
        assert "was trained without chains; pass --chain none" in capsys.readouterr().err
    assert lines[0] == lines[1]


def test_vectors_of_encode_are_those_of_evaluate(world: Path, tmp_path: Path) -> None:
    """Both take the image recipe of the model's card, here another one than the default."""
    model = str(world / "chain" / "model")
    out = ["--device", "cpu", "--out", str(tmp_path / "e")]
    assert checkpoint.read_card(Path(model)).recipe == "fit32-q90-v1"
    assert main(["encode", "--model", model, "--images", str(world / "cirr" / "dev"), *out]) == 0
    asked = ["--dataset", "cirr", "--root", str(world / "cirr"), "--chain", "none"]
    assert main(["evaluate", "--model", model, *asked, "--device", "cpu", "--out", str(tmp_path)]) == 0
    encoded, evaluated = (read_embeddings(tmp_path / folder) for folder in ("e", "embeddings/cirr-val"))
    assert set(encoded.names) == {path.stem for path in images_of(world / "cirr" / "dev")}
    order = [encoded.names.index(name) for name in evaluated.names]
    np.testing.assert_allclose(encoded.vectors[order], evaluated.vectors, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "incomplete"}, "its run is incomplete"),
        ({"job": "another"}, "annotates other queries than those that are evaluated"),
    ],
)
def test_gold_chains_of_other_queries_or_of_half_a_run_are_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, str], words: str
) -> None:
    gold = tiny_world.annotated(tmp_path / "gold", world / "cirr", "val", rows=5)
    manifest = json.loads((gold / "manifest.json").read_text())
    (gold / "manifest.json").write_text(json.dumps(manifest | changes))
    asked = ["evaluate", "--model", str(world / "chain" / "model"), "--dataset", "cirr", "--device", "cpu"]
    asked += ["--root", str(world / "cirr"), "--chain", "gold", "--gold", str(gold), "--out", str(tmp_path)]
    capsys.readouterr()
    assert main(asked) == 2
    assert words in capsys.readouterr().err


def test_gold_chains_are_measured_on_the_queries_that_have_one(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The teacher leaves out what it cannot answer; the counts say so."""
    gold = tiny_world.annotated(tmp_path / "gold", world / "cirr", "val", rows=5)
    asked = ["evaluate", "--model", str(world / "chain" / "model"), "--dataset", "cirr", "--device", "cpu"]
    asked += ["--root", str(world / "cirr"), "--chain", "gold", "--gold", str(gold), "--out", str(tmp_path)]
    assert main(asked) == 0
    assert "queries 5/12; gallery 18/18" in capsys.readouterr().out
    (row,) = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert (row["chain"], row["n_queries"], row["n_expected"]) == ("gold", 5, 12)


def test_explain_leaves_out_what_is_missing_where_that_is_allowed(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tiny_world.cirr(tmp_path / "cirr", "val")
    (root / "dev" / "dev-0-0-img0.png").unlink()
    asked = ["explain", "--model", str(world / "plain" / "model"), "--dataset", "cirr", "--device", "cpu"]
    asked += ["--root", str(root), "--out", str(tmp_path / "why")]
    assert main(asked) == 2
    assert "or pass --allow-missing" in capsys.readouterr().err
    assert main([*asked, "--allow-missing"]) == 0
    assert "queries 11/12; gallery 17/18" in capsys.readouterr().out
    assert "queries 11/12" in (tmp_path / "why" / "cirr-val.html").read_text()


def test_an_evaluation_is_a_replay_of_what_was_written_and_embedded(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["evaluate", "--model", str(world / "chain" / "model"), "--dataset", "cirr", "--device", "cpu"]
    asked += ["--root", str(world / "cirr"), "--max-tokens", "3", "--out", str(tmp_path)]
    assert main(asked) == 0
    first = (capsys.readouterr().out, (tmp_path / "results.json").read_text())

    def again(*_: object) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(CirModel, "forward", again)
    monkeypatch.setattr(CirModel, "write_chains", again)
    assert main(asked) == 0
    assert (capsys.readouterr().out, (tmp_path / "results.json").read_text()) == first
    with pytest.raises(AssertionError, match="asked again"):
        main([*asked, "--max-tokens", "4"])


def test_files_for_cirrs_server_are_written_from_pictures_and_texts_alone(
    world: Path, tmp_path: Path
) -> None:
    WRITERS["cirr"](tmp_path / "root", 5, Sizes(train=0, val=0, test=70), True)
    asked = ["submit", "--model", str(world / "plain" / "model"), "--dataset", "cirr", "--device", "cpu"]
    assert main([*asked, "--root", str(tmp_path / "root"), "--out", str(tmp_path)]) == 0
    recall, subset = (json.loads((tmp_path / f"{n}.json").read_text()) for n in ("recall", "recall_subset"))
    assert (recall.pop("metric"), subset.pop("metric")) == ("recall", "recall_subset")
    assert recall.pop("version") == subset.pop("version") == "rc2"
    assert recall.keys() == subset.keys() and len(recall) == 70
    assert {len(names) for names in recall.values()} == {50}
    assert {len(names) for names in subset.values()} == {3}


def test_the_text_of_circos_submission_can_be_chosen(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    WRITERS["circo"](tmp_path / "circo", 5, Sizes(train=0, val=0, test=60), True)
    asked = ["submit", "--model", str(world / "plain" / "model"), "--device", "cpu", "--out", str(tmp_path)]
    cirr = ["--dataset", "cirr", "--root", str(world / "cirr"), "--circo-text", "concept+relative"]
    assert main([*asked, *cirr]) == 2
    assert "--circo-text is a choice of circo only" in capsys.readouterr().err
    texts: list[str] = []

    def noted(*parts: Any, **_: Any) -> None:
        texts.extend(query.text for query in query_texts(parts[2], parts[3])[0])
        raise UsageError("enough")

    monkeypatch.setattr("retrieval.commands.ask", noted)
    circo = ["--dataset", "circo", "--root", str(tmp_path / "circo")]
    assert main([*asked, *circo]) == main([*asked, *circo, "--circo-text", "concept+relative"]) == 2
    usual, longer = texts[:60], texts[60:]
    assert len(longer) == 60 and all(b.endswith(f" {a}") for a, b in zip(usual, longer, strict=True))
