"""The retriever's study through the command line as a flow, seen by a real Prefect server."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import httpx
import pytest

from annotate.errors import OutputError
from annotate.settings.declared import CHECKOUT
from flows.__main__ import main
from tests.retrieval import tiny_models, tiny_world

pytestmark = pytest.mark.slow


def test_the_table_is_an_artifact_and_each_row_a_task(tmp_path: Path) -> None:
    """In a process of its own, since Prefect reads its settings on import."""
    from flows.prefect_api import own_server

    tiny_models.idefics(tmp_path / "base")
    tiny_world.cirr(tmp_path / "cirr", "val")
    tiny_world.published(tmp_path / "out", tiny_world.cirr(tmp_path / "cirr", "train"))
    command = [sys.executable, "-m", "flows", "train-eval", "--data", str(tmp_path / "out")]
    command += ["--base-model", str(tmp_path / "base"), "--eval-root", f"cirr={tmp_path / 'cirr'}"]
    command += ["--out", str(tmp_path / "table"), "--ablations", "0", "--device", "cpu"]
    command += ["--steps", "2", "--batch", "4", "--lora-rank", "2", "--max-tokens", "3"]
    with own_server(tmp_path / "prefect") as server:
        url = server.url
        env = {**os.environ, "CIR_PREFECT_API": url, "PYTHONPATH": str(CHECKOUT)}
        done = subprocess.run(
            command, capture_output=True, text=True, env=env, cwd=tmp_path, check=False, timeout=500
        )
        assert done.returncode == 0, done.stderr
        flow_runs = httpx.post(f"{url}/flow_runs/filter", json={}, timeout=30).json()
        task_runs = httpx.post(f"{url}/task_runs/filter", json={}, timeout=30).json()
        artifacts = httpx.post(f"{url}/artifacts/filter", json={}, timeout=30).json()
    assert [run["state_type"] for run in flow_runs] == ["COMPLETED"]
    names = {run["name"] for run in task_runs}
    assert {"chance", "ours with chain, seed 0", "image only, seed 0", "text only, seed 0"} <= names
    tables = [each["data"] for each in artifacts if each["type"] == "markdown"]
    assert tables == [done.stdout] == [(tmp_path / "table" / "results.md").read_text()]


def test_wrong_input_of_the_flow_is_one_line_and_exit_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flows", "train-eval", "--data", str(tmp_path), "--ablations", "0"]
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        command, capture_output=True, text=True, env=env, cwd=tmp_path, check=False, timeout=500
    )
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith(f"error: {tmp_path}: holds no manifest.json")


def test_a_terminal_that_knows_ascii_only_is_told_what_it_can_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, told = (io.BytesIO() for _ in range(2))
    for name, stream in (("stdout", shown), ("stderr", told)):
        terminal = io.TextIOWrapper(stream, encoding="ascii", write_through=True)
        monkeypatch.setattr(sys, name, terminal)
    monkeypatch.setattr("flows.__main__.prefect_api", lambda *_: nullcontext("http://127.0.0.1:9/api"))
    monkeypatch.setattr("flows.train_eval.run_flow", lambda _: "50.00 ± 1.00\n")
    assert main(["train-eval", "--out", str(tmp_path / "table")]) == 0
    assert shown.getvalue() == b"50.00 \\xb1 1.00\n"
    odd = tmp_path / os.fsdecode(b"caf\xe9-\xe2\x80\xae")
    odd.write_text("no folder")
    assert main(["train-eval", "--out", str(odd)]) == 2
    last = told.getvalue().splitlines()[-1]
    assert last.endswith(b"/caf\\ufffd-\\ufffd is no folder; give --out another one"), "as everywhere else"


def test_a_folder_that_may_not_be_read_is_no_fault_of_prefects(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.logging import disable_run_logger

    from flows import train_eval

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/data/x")

    monkeypatch.setattr(train_eval, "study_of", refused)
    with disable_run_logger(), pytest.raises(OutputError, match=r"Permission denied: '/data/x'; mend that"):
        train_eval.train_eval.fn()
