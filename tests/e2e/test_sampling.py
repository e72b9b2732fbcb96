"""Answers drawn at a temperature, each with its seed, and second chances, in the real vLLM."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annotate.cli import main
from annotate.teacher.server import Server

pytestmark = pytest.mark.slow


def test_seeded_answers_of_a_whole_run_and_second_chances_leave_the_engine_alive(
    teacher: Server, roots: dict[str, Path], tmp_path: Path
) -> None:
    """vLLM's CPU engine dies of a seeded request whose prompt it reads in parts: many at once, long ones."""
    out = tmp_path / "out"
    run = ["run", "--dataset", "cirr", "--root", str(roots["cirr"]), "--out", str(out), "--runner", "local"]
    run += ["--temperature", "0.7", "--chances", "2", "--teacher-url", teacher.url, "--concurrency", "96"]
    assert main(run) == 0
    counts = json.loads((out / "manifest.json").read_bytes())["counts"]
    assert counts["input"] == 150 == sum(counts[n] for n in ("accepted", "rejected", "quarantined"))
    assert counts["accepted"] > 50
