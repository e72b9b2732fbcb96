"""`python -m retrieval`: every wrong input is one line and exit 2; the commands work one after the other."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from annotate.locks import hold_lock
from retrieval.__main__ import main, parser
from retrieval.commands import COMMANDS
from retrieval.defaults import TINY
from tests.retrieval import tiny_models, tiny_world

pytestmark = pytest.mark.slow
EVALUATE = ["evaluate", "--model", "{tmp}", "--dataset", "cirr", "--root", "{world}/cirr"]
QUICK = ["--steps", "2", "--batch", "4", "--lora-rank", "2", "--device", "cpu"]


def test_a_gpu_that_is_too_small_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(arguments: argparse.Namespace) -> int:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setitem(COMMANDS, "train", full)
    assert main(["train"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the GPU's memory does not suffice; train with a smaller --chunk")


def test_train_evaluate_encode_and_search_one_after_the_other(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = [
        "train",
        "--data",
        str(world / "out"),
        "--base-model",
        str(world / "base"),
        "--out",
        str(tmp_path / "run"),
    ]
    assert main([*run, *QUICK]) == 0
    error = capsys.readouterr().err
    assert "12 rows" in error and "step 2/2 loss" in error and "0:00 left" in error
    model = ["--model", str(tmp_path / "run" / "model"), "--device", "cpu"]
    cirr = [
        "--dataset",
        "cirr",
        "--root",
        str(world / "cirr"),
        "--out",
        str(tmp_path / "results"),
        "--max-tokens",
        "4",
    ]
    assert main(["evaluate", *model, *cirr]) == 0
    assert (
        "[cirr/val(gallery=original, exclude_reference=true); queries 12/12; gallery 18/18]"
        in capsys.readouterr().out
    )
    (row,) = json.loads((tmp_path / "results" / "results.json").read_text())["rows"]
    assert (
        row["n_queries"] == row["n_expected"] == 12
        and row["chain"] == "generated"
        and row["ms_per_query"] > 0
    )
    assert "on real data" in (tmp_path / "results" / "results.md").read_text()
    assert main(["evaluate", *model, *cirr]) == 0
    assert not list((tmp_path / "results").glob("results-*")), "the same measurement again"
    assert main(["evaluate", *model, *cirr, "--chain", "none"]) == 0
    (before,) = json.loads((tmp_path / "results" / "results-1.json").read_text())["rows"]
    (now,) = json.loads((tmp_path / "results" / "results.json").read_text())["rows"]
    assert (before["chain"], now["chain"]) == ("generated", "none") and before["metrics"] == row["metrics"]
    assert main(["evaluate", *model, *cirr]) == 0
    gallery = str(world / "cirr" / "dev")
    assert main(["encode", *model, "--images", gallery, "--out", str(tmp_path / "index")]) == 0
    assert "18 vectors of 32 numbers" in capsys.readouterr().out
    image = f"{gallery}/dev-3-0-img0.png"
    found = [
        "search",
        *model,
        "--image",
        image,
        "--text",
        "make it red",
        "--index",
        str(tmp_path / "index"),
        "-k",
        "3",
    ]
    assert main([*found, "--no-chain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2", "3"] and "dev-" in lines[0]
    shown = ["explain", *model, *cirr[:4], "--chain", "none", "--worst", "3", "--out", str(tmp_path / "why")]
    assert main(shown) == 0
    assert "(no chain)" in capsys.readouterr().out
    assert len((tmp_path / "why" / "cirr-val.csv").read_text().splitlines()) == 13
    page = (tmp_path / "why" / "cirr-val.html").read_text()
    assert page.count("<section") == 3 and "queries 12/12" in page
    assert "<td>(no chain)</td><td>12</td>" in page
    plain = ["export", *model, "--out", str(tmp_path / "plain")]
    assert main([*plain, "--results", str(tmp_path / "results" / "results.json")]) == 0
    assert (tmp_path / "plain" / "model.safetensors").is_file()
    card = (tmp_path / "plain" / "README.md").read_text()
    protocol = "cirr/val(gallery=original, exclude_reference=true), chain generated, queries 12/12"
    assert f"* {protocol}; gallery 18/18: R@1 " in card and row["data_digest"][:16] in card
    (tmp_path / "other.json").write_text(json.dumps({"rows": [row | {"model_digest": "another"}]}))
    assert main([*plain, "--results", str(tmp_path / "other.json")]) == 2
    assert "none of its rows measured this model" in capsys.readouterr().err
    (tmp_path / "other.json").write_text(json.dumps({"rows": [row | {"metrics": None}]}))
    assert main([*plain, "--results", str(tmp_path / "other.json")]) == 2
    assert "no results.json of evaluate or train-eval of this version" in capsys.readouterr().err


def test_train_eval_writes_a_table_with_chance_ours_and_the_shortcuts_and_publishes_the_model(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train-eval", "--data", str(world / "out"), "--base-model", str(world / "base"), *QUICK]
    command += [
        "--eval-root",
        str(world),
        "--out",
        str(tmp_path),
        "--ablations",
        "0",
        "--max-tokens",
        "3",
    ]
    assert main(command) == 0
    table = capsys.readouterr().out
    assert table == (tmp_path / "results.md").read_text()
    document = json.loads((tmp_path / "results.json").read_text())
    labels = [row["label"] for row in document["rows"]]
    assert labels == ["chance", "ours with chain", "image only", "text only"]
    for row in document["rows"]:
        assert row["protocol"] == "cirr/val(gallery=original, exclude_reference=true)"
        assert (row["n_queries"], row["n_expected"], row["n_gallery"], row["n_gallery_expected"]) == (
            12,
            12,
            18,
            18,
        )
    compared = [(line["against"], line["metric"]) for line in document["comparisons"]]
    assert compared == [(row, m) for row in ("chance", "image only", "text only") for m in ("R@1", "Rs@1")]
    assert document["published_on_real_data"][0]["on_real_data"] is True
    assert (tmp_path / "model" / "retriever.json").is_file()
    assert main(command) == 0, "a finished study is read, not done again"
    assert "is finished already" in capsys.readouterr().err


def test_a_damaged_gallery_picture_ends_a_study_before_anything_is_trained(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tiny_world.cirr(tmp_path / "cirr", "val")
    (root / "dev" / "dev-17-0-img0.png").write_bytes(b"no picture")
    command = ["train-eval", "--data", str(world / "out"), "--base-model", str(world / "base"), *QUICK]
    command += ["--eval-root", str(tmp_path), "--out", str(tmp_path / "table"), "--ablations", "0"]
    assert main(command) == 2
    assert "dev-17-0-img0.png: undecodable_image" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "table").exists()


def test_ablations_without_a_clip_are_refused_before_anything_is_trained(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train-eval", "--data", str(world / "out"), "--eval-root", str(world), *QUICK]
    command += ["--base-model", str(world / "base"), "--clip-model", str(tmp_path / "none")]
    assert main([*command, "--out", str(tmp_path / "table")]) == 2
    assert "holds no CLIP" in capsys.readouterr().err
    assert not (tmp_path / "table").exists()


def test_the_whole_table_has_every_ablation_a_chosen_rate_and_the_rows_nobody_trained(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_world.published(tmp_path / "out", world / "cirr", rows=12)
    tiny_world.annotated(tmp_path / "out", world / "cirr", "train", rows=12)
    gold = tiny_world.annotated(tmp_path / "gold", world / "cirr", "val", rows=5)
    tiny_models.clip(tmp_path / "clip")
    command = ["train-eval", "--data", str(tmp_path / "out"), "--base-model", str(world / "base"), *QUICK]
    command += ["--eval-root", str(world), "--out", str(tmp_path / "table"), "--max-tokens", "3"]
    command += ["--clip-model", str(tmp_path / "clip"), "--gold", str(gold), "--rates", "1e-4,1e-3"]
    assert main([*command, "--seeds", "0,1", "--rate-steps", "1"]) == 0
    rows = json.loads((tmp_path / "table" / "results.json").read_text())["rows"]
    trained = ["image only", "text only", "ours without chain"]
    chained = ["chain from unfiltered annotations", "chain shuffled between triplets"]
    found = {(row["label"], row["chain"]): row for row in rows}
    assert set(found) == {
        ("chance", "none"),
        ("ours with chain", "generated"),
        ("ours with chain", "gold"),
        *((label, "none") for label in trained),
        *((label, "generated") for label in chained),
        ("image + text (CLIP)", "none"),
        ("conclusion to image (CLIP)", "generated"),
        ("conclusion to image (CLIP)", "gold"),
    }
    assert found["ours with chain", "gold"]["n_queries"] == 5 and len(rows) == 1 + 2 * 7 + 3
    for label in ("ours with chain", "image only"):
        place = tmp_path / "table" / "rates" / label.replace(" ", "-")
        tried = {
            rate: json.loads((place / rate / "held-out-3.json").read_text())["mean_reciprocal_rank"]
            for rate in ("0.0001", "0.001")
        }
        assert len((place / "0.001" / "metrics.jsonl").read_text().splitlines()) == 1, "a step of a trial"
        chain = "generated" if label.startswith("ours") else "none"
        assert found[label, chain]["learning_rate"] == float(max(sorted(tried), key=lambda rate: tried[rate]))
    assert " ± " in (tmp_path / "table" / "results.md").read_text()
    assert all(row["data_digest"] for row in rows if row["seed"] is not None and row["label"] != "chance")
    capsys.readouterr()
    assert main([*command, "--gold", str(world / "out")]) == 2
    assert "annotates other queries" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--data", "{tmp}"], "holds no manifest.json"),
        (["train", "--data", "{world}/out", "--base-model", "{tmp}/text"], "has no image input"),
        (
            ["train", "--data", "{world}/out", "--base-model", "{tmp}"],
            "no model that transformers loads",
        ),
        (["train", "--data", "{world}/out", "--image-root", "{tmp}/none"], "root is gone"),
        (
            ["train", "--data", "{world}/out", "--base-model", "{tmp}/none"],
            "no such folder; check BASE_MODEL",
        ),
        (["train", "--data", "{world}/out", "--steps", "0"], "steps is 0; it must be above 0"),
        (
            ["train", "--data", "{world}/out", "--temperature", "0", "--base-model", "{world}/base"],
            "temperature 0.0",
        ),
        (["train-eval", "--data", "{world}/out", "--eval-root", "{tmp}"], "holds none of fashioniq"),
        (["train-eval", "--data", "{world}/out", "--seeds", "x"], "is no list of numbers"),
        (["train-eval", "--data", "{world}/out", "--rates", "fast"], "is no list of numbers"),
        (["train-eval", "--data", "{world}/out", "--rates", "inf"], "different numbers above 0"),
        (["train-eval", "--data", "{world}/out", "--rates", ""], "is no list of numbers"),
        (["train-eval", "--data", "{world}/out", "--seeds", "0,0"], "different numbers from 0"),
        (["train-eval", "--data", "{world}/out", "--data", "{world}/out"], "a folder is given twice"),
        (["train", "--data", "{world}/out", "--lora-rank", "0"], "lora-rank is 0"),
        ([*EVALUATE, "--caption-mode", "val"], "--caption-mode is a choice of fashioniq only"),
        (["encode", "--model", "{tmp}", "--images", "{world}/cirr/dev", "--out", "{tmp}/i"], "no checkpoint"),
        (["encode", "--model", "{tmp}", "--images", "{tmp}", "--out", "{tmp}/i"], "no .png or .jpg files"),
        (["evaluate", "--model", "{tmp}", "--dataset", "circo", "--root", "{world}/cirr"], "is not CIRCO"),
        ([*EVALUATE, "--chain", "gold"], "--chain gold needs --gold"),
        ([*EVALUATE, "--out", "{tmp}/study"], "holds the table of train-eval"),
        (EVALUATE, "no checkpoint"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    tiny_models.text_only(tmp_path / "text")
    (tmp_path / "study" / "runs").mkdir(parents=True)
    filled = [argument.format(tmp=tmp_path, world=world) for argument in arguments]
    if filled[0].startswith("train"):
        filled += ["--out", str(tmp_path / "run"), "--device", "cpu"]
    capsys.readouterr()
    assert main(filled) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ") and words in last


def test_two_runs_on_one_folder_and_a_full_disk_are_one_line(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = ["train", "--data", str(world / "out"), "--base-model", str(world / "base"), *QUICK]
    train += ["--out", str(tmp_path / "run")]
    with hold_lock(tmp_path / "run" / "lock", tmp_path / "run"):
        assert main(train) == 2
    assert f"error: {tmp_path / 'run'} is in use by pid" in capsys.readouterr().err

    def full(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("retrieval.checkpoint.save_file", full)
    assert main(train) == 2
    assert "cannot be written (I/O error: No space left on device" in capsys.readouterr().err
    monkeypatch.undo()
    left = tmp_path / "run" / ".state-1.4711.tmp"  # of a process that was killed: no Python ran after it
    left.mkdir()
    assert main(train) == 0, "the same command goes on"
    assert not left.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_absent_is_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--data", str(world / "out"), "--out", str(tmp_path), "--device", "cuda"]) == 2
    assert "there is no GPU here" in capsys.readouterr().err


def test_the_table_takes_no_flag_that_its_rows_would_ignore(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("--seed=7", "--no-chain", "--blank=text", "--shuffle-chains", "--hold-out", "--init-seed=1"):
        with pytest.raises(SystemExit):
            parser().parse_args(["train-eval", flag])
    assert "unrecognized arguments: --init-seed=1" in capsys.readouterr().err


def test_every_option_of_every_command_has_a_help_line_of_its_own() -> None:
    commands = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    for name, command in commands.items():
        for action in command._actions:
            words = (action.help or "").partition("[")[0].strip()
            assert len(words) > 5, f"{name} {action.option_strings}"


def test_help_shows_what_is_taken_and_where_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    for command, folder in (("train", "outputs/train]"), ("train-eval", "outputs/train-eval]")):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        shown = " ".join(capsys.readouterr().out.split())
        assert folder in shown
        assert f"--steps STEPS optimiser steps [300; the sample's base: {TINY['steps']}]" in shown


def test_the_plan_counts_the_real_model_without_building_it(capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--batch", "512", "--chunk", "16", "--grad-cache", "--steps", "450", "--checkpoint-activations"]
    assert main(["train", "--plan", *size]) == 0
    plan = capsys.readouterr().out
    assert "parameters  8.33 G, trained" in plan and "46,225 triplets" in plan
    assert "H100 80 GB fits" in plan and "h on one" in plan


def test_the_plan_counts_activations_that_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--plan", "--batch", "64"]) == 0
    assert "does NOT fit: take --checkpoint-activations" in capsys.readouterr().out
    assert main(["train", "--plan", "--batch", "64", "--checkpoint-activations"]) == 0
    assert "80 GB fits" in capsys.readouterr().out
