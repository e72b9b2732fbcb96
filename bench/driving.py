"""What the proofs (soak, crash, memory) share: a world of small pictures, the fault server, processes."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image

from annotate.errors import CirError
from annotate.text import parse_json

ROOT = Path(__file__).resolve().parents[1]
REPEATED_BY_CANARY = 3
"""Questions of the canary that are the same at every start that gets to it."""
IMAGES_A_TRIPLET = 0.62
"""Distinct references a triplet in FashionIQ and CIRR together: 28,605 for 46,225."""


def write_world(root: Path, triplets: int) -> Path:
    """So many triplets in CIRR's layout over pictures of squares; a function of its size."""
    if (root / "captions").exists():
        return root
    references = max(1, round(IMAGES_A_TRIPLET * triplets))
    pictures = root / "img_raw" / "train"
    pictures.mkdir(parents=True)
    names = [f"train-{number}-0-img0" for number in range(references + 1)]
    for number, name in enumerate(names):
        # A square of 8 x 8 pixels a bit: pictures that differ after JPEG, too (colours one apart do not).
        bits = Image.new("L", (5, 5))
        bits.putdata([255 * (number >> bit & 1) for bit in range(25)])
        bits.resize((40, 40), Image.Resampling.NEAREST).save(pictures / f"{name}.png")
    records = [
        {
            "pairid": number,
            "reference": names[number % references],
            "target_hard": names[number % references + 1],
            "target_soft": {names[number % references + 1]: 1.0},
            "caption": f"is number {number} and has other colours",
            "img_set": {"id": number, "members": [names[number % references], names[-1]]},
        }
        for number in range(triplets)
    ]
    (root / "image_splits").mkdir()
    split = {name: f"./train/{name}.png" for name in names}
    (root / "image_splits" / "split.rc2.train.json").write_text(json.dumps(split))
    (root / "captions").mkdir()
    (root / "captions" / "cap.rc2.train.json").write_text(json.dumps(records))
    return root


class NotRun(CirError):
    """A run that a proof needs ended otherwise than it should: nothing is proved or refuted."""


@contextmanager
def fault_server(*flags: str) -> Iterator[str]:
    """`tests/faults/server.py` as a process of its own on 127.0.0.1; yields its base URL."""
    command = [sys.executable, str(ROOT / "tests" / "faults" / "server.py"), *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def stats(url: str) -> dict[str, Any]:
    """What a fault server has counted."""
    with urllib.request.urlopen(f"{url}/control/stats") as answer:
        counted: dict[str, Any] = parse_json(answer.read())
    return counted


def run_command(root: Path, out: Path, **settings: object) -> list[str]:
    """The command line of a run on `root` into `out`; settings as flags."""
    given = {"dataset": "cirr", "root": root, "out": out, "runner": "local", **settings}
    words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return [sys.executable, "-m", "annotate", "run", *words]


def start(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own, from the checkout, both outputs into `log`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CIR_", "PREFECT_"))}
    with log.open("wb") as output:
        return subprocess.Popen(
            command, stdout=output, stderr=output, cwd=ROOT, env=kept, start_new_session=True
        )


def finish(command: Sequence[str], log: Path) -> str:
    """Run a command to its end; what it printed. Raises `NotRun` for another status than 0."""
    process = start(command, log)
    try:
        status = process.wait()
    finally:
        kill_group(process)
    text = log.read_text(errors="replace")
    if status != 0:
        last = (text.strip().splitlines() or ["nothing was printed"])[-1]
        raise NotRun(
            f"{shlex.join(command[:4])} ended with status {status}: {last[-400:]} (all of it: {log})"
        )
    return text


def one_line(prove: Callable[[], int]) -> int:
    """The exit status of a proof; 2 and one line on stderr for what it could not do."""
    try:
        return prove()
    except CirError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 1


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the process and all of its group, and collect it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def published(out: Path) -> dict[str, str]:
    """sha256 of every published file of OUT: Parquet, manifest, card and report."""
    files = [*out.glob("*.*"), *(path for path in out.glob("*/*.parquet") if path.parent.name != "journal")]
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(files)
        if path.is_file()
    }


def rows_of(out: Path) -> dict[str, dict[str, Any]]:
    """Every row of OUT by its id. Raises `AssertionError` for an id that is there twice."""
    rows: dict[str, dict[str, Any]] = {}
    for folder in ("train", "rejected", "quarantine"):
        for path in sorted((out / folder).glob("*.parquet")):
            for row in pq.read_table(path).to_pylist():
                assert row["triplet_id"] not in rows, f"{row['triplet_id']} has two rows"
                rows[row["triplet_id"]] = row
    return rows


def verdict(name: str, wrong: Sequence[str]) -> int:
    """Print the end of a proof and return its exit status: 0 when nothing is wrong."""
    for line in wrong:
        print(f"WRONG: {line}")
    print(f"{name}: {'FAILED' if wrong else 'proved'}", flush=True)
    return 1 if wrong else 0
