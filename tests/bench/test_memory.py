"""The memory proofs in small: a run that grows with its triplets, or a plan that holds too much, fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.memory import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_run_stays_flat_once_it_is_warm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["run", "--triplets", "1500", "--work", str(tmp_path / "memory"), "--most", "400"])
    assert status == 0, capsys.readouterr().out


def test_planned_and_journalled_triplets_cost_less_than_a_kilobyte_each(tmp_path: Path) -> None:
    """In a process of its own: the peak is the process's."""
    command = [sys.executable, "-m", "bench.memory", "plan", "--triplets", "20000", "--most", "110"]
    done = subprocess.run(
        [*command, "--work", str(tmp_path / "plan")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_above_its_bound_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--triplets", "500", "--most", "10", "--work", str(tmp_path / "plan")]) == 1
    assert "is more than 10 MB" in capsys.readouterr().out
