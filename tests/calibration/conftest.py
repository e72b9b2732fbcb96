"""Published rows to calibrate on: a quarter is wrong, some right ones are below the default thresholds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.calibration.world import ROWS, published, row


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("calibrate"), [row(n, False) for n in range(ROWS)])


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same rows, each asked no further than its verdict needs."""
    rows = [row(number, True) for number in range(ROWS)]
    return published(tmp_path_factory.mktemp("stopped"), rows, early_stop=True)
