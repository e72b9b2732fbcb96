"""The sample's CLIP in a real vLLM beside the teacher: round trips, and look-alikes where none are named."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from annotate.cli import main
from annotate.settings.declared import CHECKOUT
from annotate.teacher.server import Server, start_server

pytestmark = pytest.mark.slow


def test_the_encoder_ranks_conclusions_and_finds_the_neighbours_of_targets(
    teacher: Server, roots: dict[str, Path], tmp_path: Path
) -> None:
    out, clip = tmp_path / "out", CHECKOUT / "sample" / "models" / "clip"
    python = CHECKOUT / ".venv-teacher" / "bin" / "python"
    run = ["run", "--dataset", "fashioniq", "--root", str(roots["fashioniq"]), "--out", str(out)]
    run += ["--limit", "24", "--early-stop", "0", "--checks", "form,target_match,round_trip,hard_negatives"]
    run += ["--teacher-url", teacher.url, "--runner", "local"]
    with start_server(clip, python, tmp_path / "encoder.log", extra_flags=("--runner", "pooling")) as encoder:
        assert main([*run, "--encoder-url", encoder.url]) == 0
    rows = pq.read_table(out / "annotations").to_pylist()
    assert len(rows) >= 15
    assert all(0 <= row["round_trip"] <= 1 and row["margin"] is not None for row in rows)
    found = sum(row["round_trip"] for row in rows) / len(rows)
    assert found > 0.4, "of target, reference and five look-alikes chance is below 0.15"
    names = {row["target"] for row in rows} | {row["reference"] for row in rows}
    assert all(set(row["also_matches"]) <= names - {row["target"]} for row in rows)
