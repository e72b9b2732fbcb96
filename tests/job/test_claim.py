"""OUT is marked as a job's by the run that holds its lock, and by no other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from annotate import job
from annotate.errors import OutputError
from annotate.locks import hold_lock
from annotate.shards.plan import JOB_FILE
from annotate.telling import Watch
from tests.shards.world import JOB


def run(out: Path) -> None:
    prepared: Any = SimpleNamespace(settings=SimpleNamespace(out=out), plan=SimpleNamespace(job=JOB))
    asyncio.run(
        job.annotate(prepared, None, job.run_locally, Watch(lambda line: None, lambda snapshot: None))
    )


def test_a_run_that_finds_out_in_use_does_not_mark_it(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "journal" / "lock"), pytest.raises(OutputError, match="is in use by pid"):
        run(tmp_path)
    assert not (tmp_path / JOB_FILE).exists()


def test_a_folder_of_others_gets_no_lock(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("precious")
    with pytest.raises(OutputError, match=r"README\.md"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
