"""The main job through the command line, with the real teacher in the real vLLM and a real Prefect server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from annotate.cli import main
from annotate.teacher.server import Server
from sample.score_report import score_run

pytestmark = pytest.mark.slow

# what docs/dirt.md promises for each kind of planted dirt
OUTCOMES = {
    "both_captions_empty": "empty_modification",
    "exact_repeat": "exact_repeat",
    "missing_image": "missing_image",
    "undecodable_image": "undecodable_image",
}
WRONG_TARGETS = {"wrong_target_random", "wrong_target_lookalike"}


def rows(out: Path, folder: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in sorted((out / folder).glob("*.parquet")):
        found += pq.read_table(path).to_pylist()
    return found


def flags(dataset: str, root: Path, out: Path, server: Server) -> list[str]:
    given = {
        "dataset": dataset,
        "root": root,
        "out": out,
        "teacher-url": server.url,
        "teacher-model": server.model,
    }
    return ["run", *(word for name, value in given.items() for word in (f"--{name}", str(value)))]


@pytest.mark.parametrize("dataset", ["cirr", "fashioniq"])
def test_every_triplet_is_accounted_for_and_each_dirt_has_its_outcome(
    dataset: str, teacher: Server, roots: dict[str, Path], tmp_path: Path
) -> None:
    out, root = tmp_path / "out", roots[dataset]
    assert main([*flags(dataset, root, out, teacher), "--shard-size", "64"]) == 0
    manifest = json.loads((out / "manifest.json").read_text())
    counts = manifest["counts"]
    assert manifest["status"] == "complete"
    assert counts["input"] == counts["accepted"] + counts["rejected"] + counts["quarantined"]
    by_id = {
        row["triplet_id"]: row for name in ("train", "rejected", "quarantine") for row in rows(out, name)
    }
    assert len(by_id) == counts["input"]

    truths = [json.loads(line) for line in (root / "truth.jsonl").read_text().splitlines()]
    seen: Counter[str] = Counter()
    for truth in truths:
        row = by_id.get(truth["triplet_id"])
        if row is None:
            continue
        for dirt in truth["dirt"]:
            seen[dirt] += 1
            if dirt in OUTCOMES:
                assert (row["verdict"], row["reasons"][0]) == ("quarantined", OUTCOMES[dirt]), (dirt, row)
            elif dirt in WRONG_TARGETS and not set(truth["dirt"]) & set(OUTCOMES):
                assert row["verdict"] != "quarantined", row
    assert seen["exact_repeat"] and seen["undecodable_image"]

    accepted_random = sum(
        "wrong_target_random" in truth["dirt"] and by_id[truth["triplet_id"]]["verdict"] == "accepted"
        for truth in truths
        if truth["triplet_id"] in by_id
    )
    assert accepted_random <= 1, "the verifier lets pictures of something else pass"
    assert score_run(out, root / "truth.jsonl").not_annotated == 0

    # everything has been answered: the same command needs no server at all
    again = [
        word if word != teacher.url else "http://127.0.0.1:9/v1"
        for word in flags(dataset, root, out, teacher)
    ]
    before = {path: path.read_bytes() for path in out.glob("*/*.parquet") if path.parent.name != "journal"}
    assert main(again) == 0
    assert before == {path: path.read_bytes() for path in before}


def test_a_run_through_prefect_is_seen_by_its_server(
    teacher: Server, roots: dict[str, Path], tmp_path: Path
) -> None:
    """In a process of its own, since Prefect reads its settings on import; the server is the run's own."""
    from flows.prefect_api import own_server

    home = tmp_path / "prefect"
    with own_server(home) as server:
        url = server.url
        command = [
            sys.executable,
            "-m",
            "annotate",
            *flags("circo", roots["circo"], tmp_path / "out", teacher),
        ]
        command += ["--runner", "prefect", "--prefect-api", url, "--shard-size", "16"]
        done = subprocess.run(
            command, capture_output=True, text=True, env=_environment(), check=False, timeout=500
        )
        assert done.returncode == 0, done.stderr
        flow_runs = httpx.post(f"{url}/flow_runs/filter", json={}, timeout=30).json()
        task_runs = httpx.post(f"{url}/task_runs/filter", json={}, timeout=30).json()
        artifacts = httpx.post(f"{url}/artifacts/filter", json={}, timeout=30).json()
    shards = list((tmp_path / "out" / "journal" / "shards").glob("*.parquet"))
    assert [(run["name"], run["state_type"]) for run in flow_runs] == [("circo default split", "COMPLETED")]
    assert len(task_runs) == len(shards) >= 2
    assert {run["name"].split(" (")[0] for run in task_runs} == {path.stem for path in shards}
    assert {"markdown", "progress"} <= {artifact["type"] for artifact in artifacts}
    assert "Traceback" not in done.stderr
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["status"] == "complete"


def test_a_run_survives_the_death_of_its_prefect_server(
    teacher: Server, roots: dict[str, Path], tmp_path: Path
) -> None:
    import time

    from flows.prefect_api import own_server

    out = tmp_path / "out"
    command = [sys.executable, "-m", "annotate", *flags("cirr", roots["cirr"], out, teacher)]
    with own_server(tmp_path / "prefect") as server:
        url = server.url
        command += ["--runner", "prefect", "--prefect-api", url, "--shard-size", "16"]
        run = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment()
        )
        deadline = time.monotonic() + 200
        while not list((out / "journal" / "shards").glob("*.parquet")) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert list((out / "journal" / "shards").glob("*.parquet")) and run.poll() is None
    _, errors = run.communicate(timeout=400)
    assert run.returncode == 0, errors
    assert json.loads((out / "manifest.json").read_text())["status"] == "complete"


def _environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": root}
