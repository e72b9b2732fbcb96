"""Which labels `calibrate` counts: of these rows, this chain and these pictures, of a draw for all rows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from annotate.calibration.label import label
from annotate.calibration.thresholds import calibrate
from annotate.cli import main
from schemas.calibration import Calibration, Label
from schemas.row import Row
from tests.calibration.world import ROWS, labels, published, row, scored, wrong


def test_labels_of_other_rows_and_impossible_promises_are_refused(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text(Label(triplet_id="cirr/train/9999", person="a", right=True).model_dump_json() + "\n")
    assert main(["calibrate", "--out", str(out), "--labels", str(file)]) == 2
    assert "no annotated row" in capsys.readouterr().err
    for impossible in ("1", "1e-17"):
        assert main(["calibrate", "--out", str(out), "--labels", str(file), "--precision", impossible]) == 2
        assert "cannot be promised" in capsys.readouterr().err
        assert main(["select", "--out", str(out), "--precision", impossible]) == 2
        assert "cannot be promised" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "words"), [(0, "labels of 0 rows"), (1, "labels of 1 rows"), (9, "label 10")]
)
def test_fewer_labels_than_can_choose_are_one_line(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int, words: str
) -> None:
    file = labels(tmp_path / "few.jsonl", out, count)
    assert main(["calibrate", "--out", str(out), "--labels", str(file)]) == 2
    assert words in capsys.readouterr().err


def test_a_draw_labelled_in_part_is_calibrated_with_the_weights_of_what_was_labelled(
    out: Path, tmp_path: Path
) -> None:
    """Of 320 rows the draw has all 120 rejected ones; a person stops after 250 rows of 300."""
    file = tmp_path / "labels.jsonl"
    given = iter(range(250))

    def judge(prompt: str) -> str:
        if next(given, None) is None:
            return "q"
        number = int(re.findall(r"make the ball blue \((\d+)\)", prompt)[0])
        return "n" if wrong(number) else "y"

    label(out, file, "ada", 300, 0, lambda digest: None, judge)
    found = calibrate(out, file, 0.9)
    assert found.rows == 250 and found.promise is not None and found.kept_share is not None
    assert found.kept_share == pytest.approx(0.75, abs=0.02)


@pytest.mark.parametrize(
    "change",
    [
        {"conclusion_claims": ("a green ball",)},
        {"caption_claims": ("a ball",)},
        {"rationale": "it was red"},
        {"edits": ({"aspect": "ball", "from": "red", "to": "green"},)},
        {"kept": ()},
        {"modification": "make the ball green"},
        {"reference_digest": None},
        {"target_digest": "d" * 64},
    ],
    ids=lambda change: next(iter(change)),
)
def test_labels_of_another_chain_or_other_pictures_of_the_same_triplet_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object]
) -> None:
    rows = [row(number, False) for number in range(40)]
    before = published(tmp_path / "before", rows)
    file = labels(tmp_path / "labels.jsonl", before)
    anew = Row.model_validate(rows[13].model_dump(by_alias=True) | change)
    out = published(tmp_path / "anew", [*rows[:13], anew, *rows[14:]])
    assert main(["calibrate", "--out", str(out), "--labels", str(file), "--precision", "0.5"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the label of cirr/train/13 by truth is of another chain" in line and "into a file" in line


def test_a_label_outlives_new_scores_and_one_that_does_not_say_what_it_is_of_counts_for_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row(number, False) for number in range(40)]
    file = labels(tmp_path / "labels.jsonl", published(tmp_path / "before", rows))
    seen = [scored(number, p_covers=0.0 if wrong(number) else 1.0) for number in range(40)]
    command = ["calibrate", "--out", str(published(tmp_path / "anew", seen)), "--labels", str(file)]
    assert main([*command, "--precision", "0.5"]) == 0
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    del lines[7]["judged"]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    capsys.readouterr()
    assert main([*command, "--precision", "0.5"]) == 2
    assert "the label of cirr/train/7 by truth" in capsys.readouterr().err


def test_labels_drawn_from_fewer_rows_than_there_are_stand_for_no_sample_of_them(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "labels.jsonl"
    label(out, file, "ada", 100, 0, lambda digest: None, lambda prompt: "y")
    command = ["calibrate", "--out", str(out), "--labels", str(file), "--precision", "0.5"]
    assert main(command) == 0
    assert "100 of 320 rows" in capsys.readouterr().out
    found = Calibration.model_validate_json((out / "thresholds.json").read_bytes())
    assert (found.judged_rows, found.rows) == (ROWS, 100)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        line["strata"]["accepted"] -= 1
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(command) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert "drawn from 319 rows" in told and "has 320 by now" in told


def test_a_run_that_is_not_finished_is_neither_labelled_nor_calibrated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row(number, False) for number in range(40)]
    file = labels(tmp_path / "labels.jsonl", published(tmp_path / "whole", rows))
    out = published(tmp_path / "part", rows, missing=2)
    of_labels = ["--labels", str(file)]
    for command in (
        ["calibrate", *of_labels],
        ["label", "--person", "ada", *of_labels],
        ["select", "--precision", "0.5"],
    ):
        assert main([*command, "--out", str(out)]) == 2
        (told,) = capsys.readouterr().err.splitlines()
        assert "is not finished: 2 of 42 triplets have no row yet" in told
