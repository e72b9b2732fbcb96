"""calibrate -> thresholds.json -> select --precision, through the command line, on a published OUT."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

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
    ],
)
def test_a_promise_is_not_carried_to_rows_that_were_made_otherwise(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object], words: str
) -> None:
    file = labels(tmp_path / "labels.jsonl")
    main(["calibrate", "--out", str(out), "--labels", str(file), "--precision", "0.95"])
    foreign = tmp_path / "thresholds.json"
    foreign.write_text(json.dumps(json.loads((out / "thresholds.json").read_text()) | change))
    flags = ["select", "--out", str(out), "--precision", "0.95", "--calibration", str(foreign)]
    assert main(flags) == 2
    assert words in capsys.readouterr().err


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
