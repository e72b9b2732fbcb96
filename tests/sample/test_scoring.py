"""The scorer's rules, one by one, on rows made by hand; then a whole run on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotate.calibration.labels import judged, read_labels
from annotate.tables import to_table, write_table
from sample.__main__ import main
from sample.score_report import Report, Scored, score_run, summary, write_labels
from sample.scoring import Marks, mark, truth_of
from tests.tables.rows import make_row

REFERENCE = {
    "color": "red",
    "pattern": "plain",
    "sleeves": "long sleeves",
    "neckline": "v neck",
    "length": "long length",
    "waist": "belt",
    "emblem": "no emblem",
    "hem": "straight hem",
    "closure": "zip",
}
LINE: dict[str, Any] = {
    "triplet_id": "fashioniq/train/dress/000001",
    "reference": {"image": "B1", "attributes": REFERENCE},
    "target": {"image": "B2", "attributes": {**REFERENCE, "sleeves": "sleeveless", "waist": "no belt"}},
    "edits": [{"aspect": "sleeves", "from": "long sleeves", "to": "sleeveless"}],
    "unmentioned": [{"aspect": "waist", "from": "belt", "to": "no belt"}],
    "dirt": [],
}
ROW: dict[str, Any] = {
    "triplet_id": LINE["triplet_id"],
    "verdict": "accepted",
    "reasons": [],
    "caption_claims": ["red dress", "long sleeves", "belt"],
    "edits": [{"aspect": "sleeves", "from": "long sleeves", "to": "sleeveless"}],
    "kept": ["color", "pattern", "neckline", "length", "waist", "emblem", "hem", "closure"],
    "conclusion_claims": ["red dress", "sleeveless", "belt"],
}
SCENE = dict.fromkeys(("ball", "box", "cone", "star", "ring", "cross", "heart", "moon"), "none") | {
    "ball": "small plain red",
    "box": "large striped blue",
    "background": "sand",
    "arrangement": "in a row",
}
SCENE_LINE: dict[str, Any] = {
    "triplet_id": "cirr/train/7",
    "reference": {"image": "a", "attributes": SCENE},
    "target": {"image": "b", "attributes": {**SCENE, "ball": "none", "moon": "small plain green"}},
    "edits": [
        {"aspect": "ball", "from": "small plain red", "to": "none"},
        {"aspect": "moon", "from": "none", "to": "small plain green"},
    ],
    "unmentioned": [],
    "dirt": [],
}
SCENE_ROW: dict[str, Any] = {
    "caption_claims": ["the ball is small plain red"],
    "edits": SCENE_LINE["edits"],
    "kept": ["box", "background", "arrangement"],
    "conclusion_claims": ["the box is large striped blue", "the moon is small plain green"],
}


def _mark(line: dict[str, Any] = LINE, row: dict[str, Any] = ROW, **changes: Any) -> Marks:
    return mark(truth_of(line), {**row, **changes})


def test_a_right_row_is_right_although_the_target_changed_a_kept_aspect() -> None:
    marks = _mark()
    assert marks.row
    assert marks.kept
    assert marks.problems == ()
    assert (marks.kept_named, marks.kept_true) == (8, 7)


def test_an_untrue_caption_claim_makes_caption_and_row_wrong() -> None:
    marks = _mark(caption_claims=["blue dress", "long sleeves"])
    assert not marks.caption
    assert not marks.row
    assert marks.edits
    assert marks.conclusion


def test_a_caption_with_the_wrong_kind_of_garment_is_wrong() -> None:
    assert not _mark(caption_claims=["red shirt", "long sleeves"]).caption


def test_a_caption_that_does_not_name_an_edited_aspect_is_wrong() -> None:
    assert not _mark(caption_claims=["red dress", "belt"]).caption


def test_a_caption_claim_that_is_not_of_this_world_is_wrong() -> None:
    assert not _mark(caption_claims=["red dress", "long sleeves", "a happy model"]).caption


@pytest.mark.parametrize(
    "edits",
    [
        [],
        [{"aspect": "sleeves", "from": "long sleeves", "to": "short sleeves"}],
        [{"aspect": "sleeves", "from": "short sleeves", "to": "sleeveless"}],
        [*ROW["edits"], {"aspect": "waist", "from": "belt", "to": "no belt"}],
    ],
    ids=["missing", "wrong-to", "wrong-from", "one-too-many"],
)
def test_edits_must_equal_the_truths_set(edits: list[dict[str, str]]) -> None:
    marks = _mark(edits=edits)
    assert not marks.edits
    assert not marks.row
    assert marks.caption


def test_edits_are_compared_as_a_set_without_regard_to_order_and_capitals() -> None:
    edits = [{k: v.upper() for k, v in edit.items()} for edit in reversed(SCENE_ROW["edits"])]
    assert _mark(SCENE_LINE, SCENE_ROW, edits=edits).edits


def test_a_conclusion_must_state_every_edits_new_value() -> None:
    assert not _mark(conclusion_claims=["red dress", "belt"]).conclusion
    assert not _mark(SCENE_LINE, SCENE_ROW, conclusion_claims=["the box is large striped blue"]).conclusion


def test_a_conclusion_that_contradicts_reference_and_edits_is_wrong() -> None:
    assert not _mark(conclusion_claims=["red dress", "sleeveless", "no belt"]).conclusion
    assert not _mark(conclusion_claims=["red dress", "sleeveless", "long sleeves"]).conclusion


def test_a_conclusion_that_still_names_a_removed_object_is_wrong() -> None:
    assert _mark(SCENE_LINE, SCENE_ROW).row
    claims = [*SCENE_ROW["conclusion_claims"], "the ball is small plain red"]
    assert not _mark(SCENE_LINE, SCENE_ROW, conclusion_claims=claims).conclusion


def test_an_empty_conclusion_is_wrong_even_when_all_that_was_asked_is_a_removal() -> None:
    line = {**SCENE_LINE, "edits": SCENE_LINE["edits"][:1]}
    assert not _mark(line, SCENE_ROW, edits=line["edits"], conclusion_claims=[]).conclusion


def test_a_row_with_a_wrong_target_is_wrong_although_its_chain_is_right() -> None:
    marks = _mark({**LINE, "dirt": ["wrong_target_lookalike"]})
    assert marks.caption
    assert marks.edits
    assert marks.conclusion
    assert not marks.row


def test_other_dirt_leaves_a_right_row_right() -> None:
    assert _mark({**LINE, "dirt": ["stray_blanks"]}).row


def test_kept_is_marked_apart_from_the_row() -> None:
    marks = _mark(kept=["color"])
    assert marks.row
    assert not marks.kept


def test_what_neither_picture_shows_is_not_kept() -> None:
    marks = _mark(SCENE_LINE, SCENE_ROW, kept=["box", "background", "cone", "star", "hat"])
    assert (marks.kept_named, marks.kept_true) == (5, 2)


def test_claims_are_taken_from_the_text_column_when_there_is_no_list() -> None:
    row = {k: v for k, v in ROW.items() if k != "caption_claims"}
    assert _mark(row=row, caption="red dress, long sleeves").caption


def _run(folder: Path, rows: list[dict[str, Any]], lines: list[dict[str, Any]]) -> tuple[Path, Path]:
    out, truth = folder / "out", folder / "truth.jsonl"
    for name, kept in (("annotations", ("accepted", "rejected")), ("quarantine", ("quarantined",))):
        (out / name).mkdir(parents=True)
        part = [row for row in rows if row["verdict"] in kept]
        if part:
            pq.write_table(pa.Table.from_pylist(part), out / name / "part-000.parquet")
    truth.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return out, truth


def _many() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    changes: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {}),
        ({"caption_claims": ["blue dress", "long sleeves"]}, {}),
        ({"verdict": "rejected", "reasons": ["target_mismatch"]}, {"dirt": ["wrong_target_random"]}),
        ({}, {"dirt": ["wrong_target_lookalike"]}),
        ({"verdict": "quarantined", "reasons": ["missing_image"]}, {"dirt": ["missing_image"]}),
        ({"verdict": "rejected", "reasons": ["target_mismatch"]}, {}),
    ]
    rows, lines = [], []
    for place, (row, line) in enumerate(changes):
        name = f"fashioniq/train/dress/{place:06d}"
        rows.append({**ROW, "p_match": 0.5, **row, "triplet_id": name})
        lines.append({**LINE, **line, "triplet_id": name})
    return rows, lines


def test_a_run_is_summed_over_its_three_outcomes(tmp_path: Path) -> None:
    rows, lines = _many()
    extra = {**LINE, "triplet_id": "fashioniq/train/dress/000099"}
    elsewhere = {**LINE, "triplet_id": "fashioniq/val/dress/000000"}
    report = score_run(*_run(tmp_path, rows, [*lines, extra, elsewhere]))
    sums = report.sums()
    assert sums["rows"] == 6
    assert sums["not_annotated"] == 1
    assert sums["verdicts"] == {"accepted": 3, "rejected": 2, "quarantined": 1}
    assert sums["right_of_accepted"]["row"] == pytest.approx(1 / 3)
    assert sums["accepted_wrong_why"] == {"caption": 1, "target": 1}
    assert sums["wrong_targets"] == {"accepted": 1, "rejected": 1, "quarantined": 0}
    assert sums["dirt"]["missing_image"]["reasons"] == {"missing_image": 1}
    assert sums["right_but_not_accepted"] == 1
    text = summary(report)
    assert "wrong among the accepted: 2" in text
    assert "blue dress" in text
    titles, *shares = text.splitlines()[2:5]
    assert titles.split() == ["right", "caption", "edits", "conclusion", "row", "kept"]
    assert all(row.count(" %") == 5 and len(row) == len(titles) for row in shares)


def test_score_prints_json_with_a_row_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, truth = _run(tmp_path, *_many())
    assert main(["score", str(out), "--truth", str(truth), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert len(printed["rows"]) == 6
    assert printed["rows"][0]["marks"]["row"] is True
    assert printed["sums"]["verdicts"]["accepted"] == 3


def test_score_refuses_the_truth_of_other_data_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, lines = _many()
    out, truth = _run(tmp_path, rows, lines[1:])
    assert main(["score", str(out), "--truth", str(truth)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_score_names_the_broken_line_of_a_truth_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, truth = _run(tmp_path, *_many())
    truth.write_text(truth.read_text() + "{broken\n")
    assert main(["score", str(out), "--truth", str(truth)]) == 2
    assert "line 7" in capsys.readouterr().err


def test_score_refuses_a_folder_without_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, truth = _run(tmp_path, *_many())
    assert main(["score", str(tmp_path / "nothing"), "--truth", str(truth)]) == 2
    assert "no rows" in capsys.readouterr().err


def test_truth_is_written_as_labels_of_the_annotated_rows(tmp_path: Path) -> None:
    marks = _mark()
    rows = tuple(
        Scored(f"cirr/train/{n}", verdict, (), (), 0, None, marks)
        for n, verdict in enumerate(("accepted", "quarantined"))
    )
    annotated = make_row(0)
    write_table(to_table([annotated]), tmp_path / "annotations" / "part-00000.parquet")
    write_labels(Report(rows, 0), tmp_path, tmp_path / "labels.jsonl")
    (label,) = read_labels(tmp_path / "labels.jsonl")
    assert (label.triplet_id, label.person, label.right) == ("cirr/train/0", "truth", marks.row)
    assert label.judged == judged(annotated)
    assert label.strata == {"": 1}, "of how many rows they were the labels is checked when they are used"
