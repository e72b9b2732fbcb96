"""The sample's teacher in the real vLLM, started once for all tests, and a small sample of each world."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotate.settings.declared import CHECKOUT, SAMPLE_TEACHER
from annotate.teacher.server import Server, start_server
from sample.writers import WRITERS, Sizes


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of whoever runs the tests reaches them; defaults of OUT fall into a folder of the test."""
    for name in list(os.environ):
        if name.startswith(("CIR_", "PREFECT_")) and name != "CIR_REAL_DATA":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real vLLM on the CPU with the sample's tiny teacher."""
    python = CHECKOUT / ".venv-teacher" / "bin" / "python"
    with start_server(SAMPLE_TEACHER, python, tmp_path_factory.mktemp("teacher") / "teacher.log") as server:
        yield server


@pytest.fixture(scope="session")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders in the layouts of the three datasets, from a seed that neither training nor defaults use."""
    made = {}
    for dataset, write in WRITERS.items():
        made[dataset] = tmp_path_factory.mktemp(f"sample-{dataset}")
        write(made[dataset], 41, Sizes(train=150, val=40, test=10), False)
    return made
