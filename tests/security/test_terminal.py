"""Nothing from a dataset, a server or a file name can steer the terminal that a run is watched on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annotate.cli import main
from bench.driving import write_world

ESCAPE = "\x1b[2J\x1b]0;owned\x07"


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["run", "--runner", "local", "--teacher-url", "http://127.0.0.1:9/v1", *words]) == 2
    said = capsys.readouterr().err
    assert "\x1b" not in said and "\x07" not in said
    return said


def test_a_field_of_a_dataset_cannot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    captions = write_world(tmp_path / "world", 4) / "captions" / "cap.rc2.train.json"
    records = json.loads(captions.read_text())
    records[1]["reference"] = f"../{ESCAPE}"
    captions.write_text(json.dumps(records))
    assert "record 1" in refused(capsys, "--root", str(tmp_path / "world"), "--out", str(tmp_path / "out"))


def test_a_folder_name_cannot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(tmp_path / f"no{ESCAPE}")
    assert "control characters" in refused(capsys, "--root", root, "--out", str(tmp_path / "out"))


def test_the_file_name_of_a_run_that_is_looked_at_cannot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["journal", "stats", "--out", str(tmp_path / f"x{ESCAPE}")]) == 2
    assert "\x1b" not in capsys.readouterr().err
