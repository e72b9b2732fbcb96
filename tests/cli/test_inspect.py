"""`annotate inspect` without a folder: which run it looks into."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotate.cli import main
from tests.calibration.world import published, scored


def test_it_reads_the_run_on_ones_own_data_where_there_is_one_else_the_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for made, run in (("a", "cirr-train"), ("b", "user-cirr-train")):
        row = scored(1).model_copy(update={"modification": f"for {run}"})
        (tmp_path / "outputs").mkdir(exist_ok=True)
        published(tmp_path / made, [row]).rename(tmp_path / "outputs" / run)
        assert main(["inspect", "cirr/train/1"]) == 0
        assert f"for {run}" in capsys.readouterr().out
