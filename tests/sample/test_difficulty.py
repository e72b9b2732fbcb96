"""The world is no toy: readers that do not look get nowhere (full-size figure: the teacher's card)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sample.difficulty import fit_probe, main

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(("domain", "guessing"), [("garments", 0.33), ("scenes", 0.55)])
def test_nearest_picture_and_thumbnail_probe_stay_below_a_quarter(domain: str, guessing: float) -> None:
    command = [sys.executable, "-m", "sample.difficulty", "--domain", domain]
    command += ["--pictures", "2000", "--held-out", "150", "--steps", "1000"]
    # One BLAS thread: on a busy machine several wait for each other, and it takes minutes for seconds.
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    printed = subprocess.run(command, check=True, capture_output=True, env=env, cwd=REPOSITORY).stdout
    found = json.loads(printed)
    assert found["nearest_exact"] < 0.25
    assert found["probe_exact"] < 0.25
    # Better than naming the commonest value each time: the probe did learn, so the bound says something.
    assert found["probe_aspects"] > guessing


def test_probe_learns_what_a_thumbnail_shows() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (3000, 1))
    thumbnails = rng.integers(0, 255, (3000, 192)).astype(np.uint8)
    thumbnails[:, :20] = (labels * 100).astype(np.uint8)
    weights = fit_probe(thumbnails, labels, [2], steps=600)
    scaled = thumbnails.astype(np.float32) / 64 - 2
    read = (scaled @ weights[:-1] + weights[-1]).argmax(axis=1)
    assert (read == labels[:, 0]).mean() > 0.98


@pytest.mark.parametrize("flag", ["--pictures", "--held-out", "--steps"])
def test_nothing_to_measure_is_one_line(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--domain", "garments", flag, "0"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "error: --pictures, --held-out and --steps take whole numbers from 1"
