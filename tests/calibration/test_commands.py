"""calibrate -> thresholds.json -> select --precision, through the command line, on a published OUT."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from annotate.calibration.thresholds import other_rows
from annotate.checks import SCORES
from annotate.cli import main
from annotate.shards.published import read_manifest
from annotate.tables import parts, read_rows
from schemas.calibration import Calibration
from schemas.row import Row
from tests.calibration.world import ROWS, labels, published, row, wrong


def test_calibrated_thresholds_keep_right_rows_that_the_defaults_lose(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = labels(tmp_path / "labels.jsonl", out)
    before = read_manifest(out).counts.accepted
    assert main(["calibrate", "--out", str(out), "--labels", str(file), "--precision", "0.95"]) == 0
    assert "promise     precision >= 0.95" in capsys.readouterr().out
    found = Calibration.model_validate_json((out / "thresholds.json").read_bytes())
    assert found.rows == ROWS and found.promise is not None and found.promise.kept_labels > 100
    assert main(["select", "--out", str(out), "--precision", "0.95"]) == 0
    assert "precision" in capsys.readouterr().out
    manifest = read_manifest(out)
    assert manifest.counts.accepted == ROWS * 3 // 4 > before
    assert manifest.precision == found.promise
    assert not any(wrong(int(row.native_id)) for row in read_rows(parts(out, "train")))
    assert "promised 0.95" in (out / "README.md").read_text()
    assert main(["select", "--out", str(out)]) == 0
    assert (read_manifest(out).counts.accepted, read_manifest(out).precision) == (before, None)


def test_the_order_of_the_labels_decides_nothing(out: Path, tmp_path: Path) -> None:
    file = labels(tmp_path / "labels.jsonl", out)
    found = []
    for turned in (False, True):
        lines = file.read_text().splitlines()
        file.write_text("\n".join(reversed(lines) if turned else lines) + "\n")
        assert main(["calibrate", "--out", str(out), "--labels", str(file), "--precision", "0.95"]) == 0
        made = json.loads((out / "thresholds.json").read_text())
        found.append({**made, "promise": {**made["promise"], "labels": ""}, "digest": ""})
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("count", "precision", "words"),
    [
        (60, "0.95", r"too few labels for this promise: about \d+ more needed, or more yet \(60 given\)"),
        (60, "0.99", r"too few labels for this promise: label all 320 rows \(60 given\)"),
        (320, "0.99", "all 320 rows are labelled, too few for this promise; promise less, or annotate more"),
    ],
)
def test_too_few_labels_end_with_one_line_and_promise_nothing(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int, precision: str, words: str
) -> None:
    """No more rows are asked for than there are."""
    file = labels(tmp_path / "few.jsonl", out, count)
    assert main(["calibrate", "--out", str(out), "--labels", str(file), "--precision", precision]) == 1
    told = capsys.readouterr()
    assert re.search(words, told.err)
    made = json.loads((out / "thresholds.json").read_text())
    assert made["promise"] is None and made["needed"] <= ROWS - count
    assert main(["select", "--out", str(out), "--precision", precision]) == 2
    assert "promises nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"teacher": "other"}, "another teacher"),
        ({"prompt_version": "f" * 64}, "another prompt version"),
        ({"checks": ["form"]}, "another checks"),
        ({"job": "e" * 64}, "another annotation files (eeeeeeeeeeee, here "),
        ({"dataset": "circo"}, "another dataset (circo, here cirr)"),
        ({"limit": 5}, "another LIMIT (5, here None)"),
        ({"split": "val"}, "another split (val, here train)"),
        ({"category": "dress"}, "another category (dress, here None)"),
        ({"image_recipe": "fit224-q90-v1"}, "another image recipe (fit224-q90-v1, here fit448-q90-v1)"),
        ({"pictures": "e" * 64}, "another pictures (eeeeeeeeeeee, here "),
        ({"teacher_sees_target": True}, "another teacher sees target (True, here False)"),
        ({"writing": {"chances": 2}}, "another chances (2, here 0)"),
        ({"writing": {"guided": True}}, "another guided (True, here False)"),
        ({"writing": {"caption_mode": "first"}}, "another caption mode (first, here and)"),
        ({"writing": {"temperature": 0.7}}, "another temperature (0.7, here 0.0)"),
        ({"writing": {"top_p": 0.5}}, "another top p"),
        ({"writing": {"sampling_seed": 1}}, "another sampling seed"),
        ({"writing": {"early_stop": True}}, "another early stop"),
        ({"writing": {"encoder": "clip"}}, "another encoder"),
        ({"writing": {"scores": 1}}, f"another version of the scores (1, here {SCORES})"),
        ({"judged_rows": 319}, "of which there were 319 (here 320)"),
    ],
)
def test_a_promise_is_not_carried_to_rows_that_were_made_otherwise(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object], words: str
) -> None:
    file = labels(tmp_path / "labels.jsonl", out)
    main(["calibrate", "--out", str(out), "--labels", str(file), "--precision", "0.95"])
    foreign = tmp_path / "thresholds.json"
    made = json.loads((out / "thresholds.json").read_text())
    if isinstance(within := change.get("writing"), dict):
        change = {"writing": made["writing"] | within}
    foreign.write_text(json.dumps(made | change))
    flags = ["select", "--out", str(out), "--precision", "0.95", "--calibration", str(foreign)]
    assert main(flags) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("change", [{"thresholds": {"p_covers": 0.01}}, {"kept_share": 1.0}, {"digest": ""}])
def test_a_file_that_a_hand_changed_promises_nothing(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object]
) -> None:
    file = labels(tmp_path / "labels.jsonl", out)
    main(["calibrate", "--out", str(out), "--labels", str(file), "--precision", "0.95"])
    path = out / "thresholds.json"
    path.write_text(json.dumps(json.loads(path.read_text())))  # another layout of the same is none
    assert main(["select", "--out", str(out), "--precision", "0.95"]) == 0
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert main(["select", "--out", str(out), "--precision", "0.95"]) == 2
    assert "was changed after `annotate calibrate` wrote it" in capsys.readouterr().err


def test_the_seed_counts_where_it_drew_the_rows(out: Path, tmp_path: Path) -> None:
    file = labels(tmp_path / "labels.jsonl", out)
    assert main(["calibrate", "--out", str(out), "--labels", str(file), "--precision", "0.95"]) == 0
    found = Calibration.model_validate_json((out / "thresholds.json").read_bytes())
    manifest, other = read_manifest(out), {"seed": 3}
    assert other_rows(found.model_copy(update=other), manifest) == ""
    drawn = {"limit": ROWS}
    found, manifest = found.model_copy(update=drawn), manifest.model_copy(update=drawn)
    assert other_rows(found, manifest) == ""
    assert other_rows(found.model_copy(update=other), manifest) == "of another SEED (3, here 0)"


def test_the_pictures_are_those_of_all_judged_rows_whatever_their_verdict(tmp_path: Path) -> None:
    rows = [row(number, False) for number in range(40)]
    anew = Row.model_validate(rows[13].model_dump(by_alias=True) | {"target_digest": "d" * 64})
    out = published(tmp_path / "before", rows)
    before = read_manifest(out)
    other = read_manifest(published(tmp_path / "anew", [*rows[:13], anew, *rows[14:]]))
    assert before.pictures and other.pictures and before.pictures != other.pictures
    assert main(["select", "--out", str(out), "--thresholds", "p_covers=0.999"]) == 0
    selected = read_manifest(out)
    assert (selected.counts.accepted, selected.pictures) == (0, before.pictures)


def test_a_higher_precision_than_was_calibrated_is_refused(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = labels(tmp_path / "labels.jsonl", out)
    main(["calibrate", "--out", str(out), "--labels", str(file), "--precision", "0.95"])
    assert main(["select", "--out", str(out), "--precision", "0.97"]) == 2
    assert "promises a precision of 0.95, not 0.97" in capsys.readouterr().err
    assert main(["select", "--out", str(out), "--precision", "0.95", "--thresholds", "form=1"]) == 2


def test_rows_that_were_stopped_early_are_kept_by_no_promise(stopped: Path, tmp_path: Path) -> None:
    file = labels(tmp_path / "labels.jsonl", stopped)
    before = read_manifest(stopped).counts.accepted
    assert main(["calibrate", "--out", str(stopped), "--labels", str(file), "--precision", "0.95"]) == 0
    assert main(["select", "--out", str(stopped), "--precision", "0.95"]) == 0
    found = Calibration.model_validate_json((stopped / "thresholds.json").read_bytes())
    assert read_manifest(stopped).counts.accepted == round((found.kept_share or 0.0) * ROWS) <= before
    assert not any(row.skipped_checks for row in read_rows(parts(stopped, "train")))


def test_rows_of_an_earlier_version_are_promised_nothing(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their manifest does not say how they came to be."""
    file = labels(tmp_path / "labels.jsonl", out)
    main(["calibrate", "--out", str(out), "--labels", str(file), "--precision", "0.95"])
    now = (out / "manifest.json").read_text()
    (out / "manifest.json").write_text(json.dumps({**json.loads(now), "writing": None}))
    try:
        for command in (["calibrate", "--labels", str(file)], ["select"]):
            assert main([*command, "--out", str(out), "--precision", "0.95"]) == 2
            assert "earlier version" in capsys.readouterr().err
    finally:
        (out / "manifest.json").write_text(now)


def test_a_folder_where_thresholds_belong_is_one_line(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (out / "thresholds.json").unlink(missing_ok=True)
    (out / "thresholds.json").mkdir()
    try:
        for command in (["calibrate", "--labels", str(labels(tmp_path / "labels.jsonl", out))], ["select"]):
            assert main([*command, "--out", str(out), "--precision", "0.95"]) == 2
            assert "thresholds.json" in capsys.readouterr().err
    finally:
        (out / "thresholds.json").rmdir()
