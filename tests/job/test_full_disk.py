"""A disk that is full at whatever instant is one line and exit 2; what was stored stays."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from annotate.errors import OutputError
from annotate.shards.plan import make_plan
from annotate.shards.run import run_shard
from bench.driving import ROOT, fault_server, finish, published, run_command, stats, write_world
from tests.shards.world import JOB, make_tools, scripted, triplet

LIMITED = textwrap.dedent(
    """
    import resource, signal, sys
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
    from annotate.cli import main
    sys.exit(main(sys.argv[2:]))
    """
)


@pytest.mark.slow
@pytest.mark.parametrize("largest", [300, 9_000, 60_000])
def test_a_file_that_cannot_grow_ends_the_run_in_one_line(tmp_path: Path, largest: int) -> None:
    """No file may have more bytes than `largest`: what a full disk looks like to a program that writes."""
    world, out = write_world(tmp_path / "world", 40), tmp_path / "out"
    with fault_server() as url:
        asked = {"teacher_url": f"{url}/ok/v1", "teacher_model": "test", "shard_size": 8}
        command = run_command(world, out, **asked)
        limited = [sys.executable, "-c", LIMITED, str(largest), *command[3:]]
        full = subprocess.run(limited, capture_output=True, text=True, cwd=ROOT, check=False)
        assert full.returncode == 2, full.stderr
        assert "Traceback" not in full.stderr
        assert full.stderr.strip().splitlines()[-1].startswith("error: ")
        finish(command, tmp_path / "log")
        twice = stats(url)["answered_twice"]
        finish(run_command(world, tmp_path / "other", **asked), tmp_path / "log")
    assert published(out) == published(tmp_path / "other")
    assert twice <= 64 + 3  # in flight, and the canary's


def test_rows_that_cannot_be_written_are_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    tools = make_tools(tmp_path, scripted(), [triplet(0)], rows=tmp_path / "file" / "rows")
    plan = make_plan([triplet(0)], JOB)
    with pytest.raises(OutputError, match="cannot write rows"):
        asyncio.run(run_shard(plan, plan.shards[0], tools))
