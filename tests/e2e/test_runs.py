"""The scripts of runs/: the laptop's is run; those for GPUs say what make understands."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from annotate.settings.declared import CHECKOUT, SETTINGS

SCRIPTS = sorted((CHECKOUT / "runs").glob("*.sh"))


@pytest.mark.slow
def test_the_laptop_s_script_annotates_and_selects(tmp_path: Path) -> None:
    out = tmp_path / "out"
    env = {**os.environ, "LIMIT": "40", "OUT": str(out), "RUNNER": "local"}
    run = subprocess.run(
        ["bash", str(CHECKOUT / "runs" / "laptop.sh")],
        env=env,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    manifest = json.loads((out / "manifest.json").read_text())
    counts = manifest["counts"]
    assert (manifest["status"], manifest["limit"]) == ("complete", 40)
    assert counts["input"] == counts["accepted"] + counts["rejected"] + counts["quarantined"] > 0


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_stops_at_errors_and_gives_make_only_what_it_knows(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert "set -euo pipefail" in text
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    known = {setting.variable for setting in SETTINGS} | {"ABLATIONS"}
    for line in (line for line in text.splitlines() if line.strip().startswith("make ")):
        assert set(re.findall(r"\b([A-Z_]+)=", line)) <= known, line


@pytest.mark.parametrize("name", ["one_gpu.sh", "cluster.sh", "retriever_one_gpu.sh", "retriever_cluster.sh"])
def test_a_script_without_data_says_what_to_give(name: str) -> None:
    env = {"PATH": os.environ["PATH"]}
    run = subprocess.run(
        ["bash", str(CHECKOUT / "runs" / name)], env=env, capture_output=True, text=True, check=False
    )
    assert run.returncode != 0
    assert "give the" in run.stderr
