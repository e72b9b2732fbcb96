"""`annotate select` publishes: a run on the same OUT comes first, and keeps its lock."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotate.cli import main
from annotate.locks import hold_lock
from annotate.shards.published import read_manifest


def test_an_out_in_use_is_not_judged_anew(
    roots: dict[str, Path], fault_server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run = ["run", "--root", str(roots["cirr"]), "--out", str(out), "--runner", "local", "--limit", "15"]
    assert main([*run, "--teacher-url", f"{fault_server}/ok/v1", "--teacher-model", "test"]) == 0
    with hold_lock(out / "journal" / "lock"):
        assert main(["select", "--out", str(out)]) == 2
    assert "is in use by pid" in capsys.readouterr().err
    assert main(["select", "--out", str(out)]) == 0


def test_a_folder_that_is_no_runs_gets_no_lock(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["select", "--out", str(tmp_path / "nothing")]) == 2
    assert not (tmp_path / "nothing").exists()


def test_without_an_out_the_folders_that_could_be_meant_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["select", "--out", ""]) == 2  # what `make select` passes on
    line = capsys.readouterr().err
    assert line.startswith("error: no OUT is given; give OUT=outputs/…") and "run make annotate first" in line
    for name in ("cirr-train", "user-cirr-val", "soak"):
        (tmp_path / "outputs" / name).mkdir(parents=True)
    for name in ("cirr-train", "user-cirr-val"):
        (tmp_path / "outputs" / name / "manifest.json").write_text("{}")
    for words in (["select"], ["select", "--out", "outputs/soak"]):
        assert main(words) == 2
        line = capsys.readouterr().err
        assert len(line.splitlines()) == 1
        assert "(there are outputs/cirr-train, outputs/user-cirr-val)" in line
    assert line.startswith("error: outputs/soak holds no manifest.json; give OUT=outputs/…")


def test_help_takes_no_example_for_a_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["select", "--help"])
    assert "p_match" not in capsys.readouterr().out


def test_the_report_follows_the_verdicts(roots: dict[str, Path], fault_server: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = ["run", "--root", str(roots["cirr"]), "--out", str(out), "--runner", "local", "--limit", "15"]
    flags = ["--checks", "form", "--teacher-url", f"{fault_server}/ok/v1", "--teacher-model", "test"]
    assert main([*run, *flags]) == 0
    (out / "report.html").write_text("stale")
    assert main(["select", "--out", str(out), "--thresholds", "form=0"]) == 0
    accepted = read_manifest(out).counts.accepted
    assert f"{accepted} of" in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("precision", ["nan", "inf", "-3", "0", "1"])
def test_a_precision_that_nothing_can_promise_is_refused(
    precision: str,
    roots: dict[str, Path],
    fault_server: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    run = ["run", "--root", str(roots["cirr"]), "--out", str(out), "--runner", "local", "--limit", "2"]
    assert main([*run, "--teacher-url", f"{fault_server}/ok/v1", "--teacher-model", "test"]) == 0
    assert main(["select", "--out", str(out), f"--precision={precision}"]) == 2
    assert "cannot be promised" in capsys.readouterr().err
