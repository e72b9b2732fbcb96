"""A small sample of each dataset, and a teacher that answers by rule, as a process of its own."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sample.writers import WRITERS, Sizes

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of whoever runs the tests reaches them; defaults of OUT fall into a folder of the test."""
    for name in list(os.environ):
        if name.startswith(("CIR_", "PREFECT_")) and name != "CIR_REAL_DATA":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders in the layouts of the three datasets, some 40 train triplets each."""
    made = {}
    for dataset, write in WRITERS.items():
        made[dataset] = tmp_path_factory.mktemp(f"sample-{dataset}")
        write(made[dataset], 31, Sizes(train=45, val=20, test=10), False)
    return made


@pytest.fixture(scope="session")
def fault_server() -> Iterator[str]:
    """Base URL of the server that answers by rule (`/ok/v1`) or fails on purpose (`/<fault>/v1`)."""
    command = [sys.executable, str(ROOT / "tests" / "faults" / "server.py")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="session")
def other_model() -> Iterator[str]:
    """URL of a server whose only model is called tiny; below /page/ it answers with a web page."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"object": "list", "data": [{"id": "tiny", "object": "model"}]}).encode()
            if self.path.startswith("/page/"):
                body = b"<!DOCTYPE html><title>Sign in</title>"
            self.send_response(200 if self.path.endswith("/models") else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


@pytest.fixture
def servable(tmp_path: Path) -> Path:
    """A folder that looks like a model; it is never started."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    return folder
