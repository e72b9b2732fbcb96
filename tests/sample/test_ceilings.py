"""What each input alone allows on the sample, from its truth: the shortcuts' rows are read against it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sample.__main__ import main as sample
from sample.ceilings import expected_hit, main


def test_of_equals_each_is_as_likely() -> None:
    scores = np.array([3, 2, 2, 2, 1])
    assert [expected_hit(scores, 0, k) for k in (1, 5)] == [1, 1]
    assert [expected_hit(scores, 2, k) for k in (1, 2, 3, 4)] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert [expected_hit(scores, 4, k) for k in (4, 5)] == [0, 1]


@pytest.mark.parametrize("dataset", ["cirr", "fashioniq"])
def test_both_inputs_allow_what_neither_alone_does(
    dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = ["--train", "0", "--val", "54", "--test", "0", "--clean"]
    assert sample(["write", "--dataset", dataset, "--seed", "3", *size, "--out", str(tmp_path / "w")]) == 0
    capsys.readouterr()
    assert main(["--dataset", dataset, "--root", str(tmp_path / "w")]) == 0
    found = json.loads(capsys.readouterr().out)
    for metric, both in found["both"].items():
        alone = max(found["image"][metric], found["text"][metric])
        assert 0 < alone < both <= 1 or alone == both == 1, metric  # a small gallery within 50
    if dataset == "cirr":
        assert found["image"]["Rs@1"] < 0.35 < found["text"]["Rs@1"], "members differ in what the text names"


def test_a_world_with_dirt_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--train", "0", "--val", "20", "--test", "0", "--clean"]
    assert sample(["write", "--dataset", "cirr", "--seed", "3", *size, "--out", str(tmp_path / "w")]) == 0
    truth = tmp_path / "w" / "truth.jsonl"
    truth.write_text("".join(truth.read_text().splitlines(keepends=True)[1:]))
    assert main(["--dataset", "cirr", "--root", str(tmp_path / "w")]) == 2
    assert "is dirty or not in truth.jsonl" in capsys.readouterr().err
