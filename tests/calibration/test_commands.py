"""calibrate -> thresholds.json -> select --precision, through the command line, on a published OUT."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from annotate.calibration.label import label
from annotate.calibration.thresholds import calibrate, other_rows
from annotate.cli import main
from annotate.shards.plan import make_plan
from annotate.shards.publish import publish, read_manifest
from annotate.shards.run import Tools, run_shard
from annotate.tables import parts, read_rows
from annotate.teacher.request import Reply, Request
from schemas.calibration import Calibration, Label
from tests.shards.world import JOB, make_tools, origin, scripted, triplet, verified

pytestmark = pytest.mark.slow
ROWS = 320


def wrong(number: int) -> bool:
    return number % 4 == 0


def teacher(request: Request) -> Reply | None:
    """Sure that wrong edits are wrong, less sure than the default threshold wants of some right ones."""
    if request.stage != "covers":
        return None
    number = int(request.turns[-1].text.split("(")[1].split(")")[0])
    return verified(request, 0.01 if wrong(number) else 0.08 if number % 8 == 1 else 0.98)


def published(folder: Path, early_stop: bool) -> Path:
    triplets = [triplet(number, reference=f"ref-{number // 40}", target="t") for number in range(ROWS)]
    tools: Tools = make_tools(folder, scripted(teacher), triplets, early_stop=early_stop)
    plan = make_plan(triplets, JOB, shard_size=ROWS)
    result = asyncio.run(run_shard(plan, plan.shards[0], tools))
    publish(plan, [result.path], folder / "out", origin(tools))
    return folder / "out"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("calibrate"), early_stop=False)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same rows, each asked no further than its verdict needs."""
    return published(tmp_path_factory.mktemp("stopped"), early_stop=True)


def labels(path: Path, rows: int = ROWS) -> Path:
    judged = [
        Label(triplet_id=f"cirr/train/{n}", person="truth", right=not wrong(n)).model_dump_json()
        for n in range(rows)
    ]
    path.write_text("\n".join(judged) + "\n")
    return path


def test_calibrated_thresholds_keep_right_rows_that_the_defaults_lose(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = labels(tmp_path / "labels.jsonl")
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
    file = labels(tmp_path / "labels.jsonl")
    found = []
    for turned in (False, True):
        lines = file.read_text().splitlines()
        file.write_text("\n".join(reversed(lines) if turned else lines) + "\n")
        assert main(["calibrate", "--out", str(out), "--labels", str(file), "--precision", "0.95"]) == 0
        made = json.loads((out / "thresholds.json").read_text())
        found.append({**made, "promise": {**made["promise"], "labels": ""}, "digest": ""})
    assert found[0] == found[1]


def test_too_few_labels_end_with_one_line_and_promise_nothing(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = labels(tmp_path / "few.jsonl", 60)
    assert main(["calibrate", "--out", str(out), "--labels", str(file), "--precision", "0.99"]) == 1
    told = capsys.readouterr()
    assert "too few labels for this promise: about" in told.err and "more needed" in told.err
    assert json.loads((out / "thresholds.json").read_text())["promise"] is None
    assert main(["select", "--out", str(out), "--precision", "0.99"]) == 2
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
        ({"teacher_sees_target": True}, "another teacher sees target (True, here False)"),
        ({"writing": {"chances": 2}}, "another chances (2, here 0)"),
        ({"writing": {"guided": True}}, "another guided (True, here False)"),
        ({"writing": {"caption_mode": "first"}}, "another caption mode (first, here and)"),
        ({"writing": {"temperature": 0.7}}, "another temperature (0.7, here 0.0)"),
        ({"writing": {"top_p": 0.5}}, "another top p"),
        ({"writing": {"sampling_seed": 1}}, "another sampling seed"),
        ({"writing": {"early_stop": True}}, "another early stop"),
        ({"writing": {"encoder": "clip"}}, "another encoder"),
    ],
)
def test_a_promise_is_not_carried_to_rows_that_were_made_otherwise(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object], words: str
) -> None:
    file = labels(tmp_path / "labels.jsonl")
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
    file = labels(tmp_path / "labels.jsonl")
    main(["calibrate", "--out", str(out), "--labels", str(file), "--precision", "0.95"])
    path = out / "thresholds.json"
    path.write_text(json.dumps(json.loads(path.read_text())))  # another layout of the same is none
    assert main(["select", "--out", str(out), "--precision", "0.95"]) == 0
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert main(["select", "--out", str(out), "--precision", "0.95"]) == 2
    assert "was changed after `annotate calibrate` wrote it" in capsys.readouterr().err


def test_the_seed_counts_where_it_drew_the_rows(out: Path, tmp_path: Path) -> None:
    file = labels(tmp_path / "labels.jsonl")
    assert main(["calibrate", "--out", str(out), "--labels", str(file), "--precision", "0.95"]) == 0
    found = Calibration.model_validate_json((out / "thresholds.json").read_bytes())
    manifest, other = read_manifest(out), {"seed": 3}
    assert other_rows(found.model_copy(update=other), manifest) == ""
    drawn = {"limit": ROWS}
    found, manifest = found.model_copy(update=drawn), manifest.model_copy(update=drawn)
    assert other_rows(found, manifest) == ""
    assert other_rows(found.model_copy(update=other), manifest) == "of another SEED (3, here 0)"


def test_a_higher_precision_than_was_calibrated_is_refused(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = labels(tmp_path / "labels.jsonl")
    main(["calibrate", "--out", str(out), "--labels", str(file), "--precision", "0.95"])
    assert main(["select", "--out", str(out), "--precision", "0.97"]) == 2
    assert "promises a precision of 0.95, not 0.97" in capsys.readouterr().err
    assert main(["select", "--out", str(out), "--precision", "0.95", "--thresholds", "form=1"]) == 2


def test_labels_of_other_rows_and_impossible_promises_are_refused(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text(Label(triplet_id="cirr/train/9999", person="a", right=True).model_dump_json() + "\n")
    assert main(["calibrate", "--out", str(out), "--labels", str(file)]) == 2
    assert "no annotated row" in capsys.readouterr().err
    assert main(["calibrate", "--out", str(out), "--labels", str(file), "--precision", "1"]) == 2


def test_rows_that_were_stopped_early_are_kept_by_no_promise(stopped: Path, tmp_path: Path) -> None:
    file = labels(tmp_path / "labels.jsonl")
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
    file = labels(tmp_path / "labels.jsonl")
    main(["calibrate", "--out", str(out), "--labels", str(file), "--precision", "0.95"])
    now = (out / "manifest.json").read_text()
    (out / "manifest.json").write_text(json.dumps({**json.loads(now), "writing": None}))
    try:
        for command in (["calibrate", "--labels", str(file)], ["select"]):
            assert main([*command, "--out", str(out), "--precision", "0.95"]) == 2
            assert "earlier version" in capsys.readouterr().err
    finally:
        (out / "manifest.json").write_text(now)


@pytest.mark.parametrize(
    ("count", "words"), [(0, "labels of 0 rows"), (1, "labels of 1 rows"), (9, "label 10")]
)
def test_fewer_labels_than_can_choose_are_one_line(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int, words: str
) -> None:
    file = labels(tmp_path / "few.jsonl", count)
    assert main(["calibrate", "--out", str(out), "--labels", str(file)]) == 2
    assert words in capsys.readouterr().err


def test_a_folder_where_thresholds_belong_is_one_line(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (out / "thresholds.json").unlink(missing_ok=True)
    (out / "thresholds.json").mkdir()
    try:
        for command in (["calibrate", "--labels", str(labels(tmp_path / "labels.jsonl"))], ["select"]):
            assert main([*command, "--out", str(out), "--precision", "0.95"]) == 2
            assert "thresholds.json" in capsys.readouterr().err
    finally:
        (out / "thresholds.json").rmdir()


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
