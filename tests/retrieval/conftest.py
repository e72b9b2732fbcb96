"""What several files of tests train and measure with: a tiny base model, CIRR's layout, shards of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrieval.sources import Source, open_source
from tests.retrieval import tiny_models, tiny_world


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.idefics(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """base/, a model; cirr/ with train and val; out/, its annotated train split."""
    folder = tmp_path_factory.mktemp("world")
    tiny_models.idefics(folder / "base")
    tiny_world.cirr(folder / "cirr", "train")
    tiny_world.cirr(folder / "cirr", "val")
    tiny_world.published(folder / "out", folder / "cirr")
    return folder


@pytest.fixture(scope="module")
def sources(world: Path) -> list[Source]:
    return [open_source(world / "out")]
