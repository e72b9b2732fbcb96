"""`python -m retrieval`: arguments that nothing can be done with are refused before anything is begun."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotate.errors import InputError
from retrieval.__main__ import main
from retrieval.sources import open_source
from tests.retrieval import tiny_world

LONG = "a" * 300


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The last line on stderr of a command that must be refused."""
    try:
        status: object = main(list(words))
    except SystemExit as leave:
        status = leave.code
    error = capsys.readouterr().err
    assert status == 2 and "Traceback" not in error
    return error.strip().splitlines()[-1]


@pytest.mark.parametrize("name", [LONG, "~nosuchuser/x", "x/" * 2_000])
@pytest.mark.parametrize("flag", ["--data", "--out", "--base-model", "--image-root"])
def test_a_path_that_cannot_be_looked_up(capsys: pytest.CaptureFixture[str], flag: str, name: str) -> None:
    assert "path" in refused(capsys, "train", flag, name)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["train", "--learning-rate", "inf"], "not finite"),
        (["train", "--seed", "-1"], "seed is -1"),
        (["train", "--hard-negatives", "-1"], "hard-negatives is -1"),
        (["train", "--lambda-info", "-1"], "lambda-info is -1"),
        (["train", "--lambda-txt", "nan"], "lambda-txt is nan"),
        (["train", "--out", "/dev/null"], "/dev/null is no folder"),
        (["train", "--out", "/dev/null/below"], "/dev/null is no folder"),
        (["encode", "--model", "m", "--images", "i", "--batch", "0"], "no whole number from 1"),
        (
            ["evaluate", "--model", "m", "--dataset", "cirr", "--root", "r", "--max-tokens", "-1"],
            "whole number",
        ),
        (
            ["evaluate", "--model", "m", "--dataset", "cirr", "--root", "r", "--gold", "m"],
            "--gold holds chains that only --chain gold asks with",
        ),
        (
            ["search", "--model", "m", "--text", "t", "--image", "i", "--index", "x", "-k", "0"],
            "whole number",
        ),
    ],
)
def test_numbers_and_places_that_cannot_be(
    capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    assert words in refused(capsys, *flags)


@pytest.mark.parametrize("seeds", ["-1", "0,-5", "99999999999"])
def test_seeds_are_what_every_generator_takes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, seeds: str
) -> None:
    tiny_world.cirr(tmp_path / "cirr", "train")
    out = tiny_world.published(tmp_path / "out", tmp_path / "cirr")
    assert "--seeds" in refused(capsys, "train-eval", "--data", str(out), "--seeds", seeds)


@pytest.mark.parametrize("name", [f"train/{LONG}", "train/\0", "train/."])
def test_a_file_that_a_manifest_only_names_is_gone(tmp_path: Path, name: str) -> None:
    tiny_world.cirr(tmp_path / "cirr", "train")
    out = tiny_world.published(
        tmp_path / "out", tmp_path / "cirr", files={name: {"rows": 5, "sha256": "0" * 64}}
    )
    with pytest.raises(InputError, match="is gone, but the manifest names it"):
        open_source(out)


def test_results_do_not_go_into_an_annotation_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    for command in ("train", "train-eval"):
        assert "holds annotations" in refused(capsys, command, "--out", str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
