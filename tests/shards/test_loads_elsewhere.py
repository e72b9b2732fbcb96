"""Published files load where people load them: pandas, pyarrow, DuckDB, datasets."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from annotate.shards.plan import make_plan
from annotate.shards.publish import publish
from annotate.shards.run import run_shard
from annotate.tables import ROW_SCHEMA
from tests.shards.world import JOB, make_tools, origin, scripted, triplet

EDIT = {"aspect": "ball", "from": "red", "to": "blue"}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three accepted rows of CIRR's val and one quarantined."""
    folder = tmp_path_factory.mktemp("published")
    tools = make_tools(folder, scripted())
    plan = make_plan(
        [*(triplet(number) for number in range(3)), triplet(3, problem="exact_repeat")],
        replace(JOB, split="val"),
    )
    result = asyncio.run(run_shard(plan, plan.shards[0], tools))
    publish(plan, [result.path], folder / "out", origin(tools))
    return folder / "out"


def test_with_pyarrow(out: Path) -> None:
    import pyarrow.dataset

    table = pyarrow.dataset.dataset(out / "train").to_table()
    assert table.schema.names == ROW_SCHEMA.names
    assert table["edits"].to_pylist() == [[EDIT]] * 3


def test_with_pandas(out: Path) -> None:
    import pandas

    frame = pandas.read_parquet(out / "train")
    assert list(frame["triplet_id"]) == ["cirr/train/0", "cirr/train/1", "cirr/train/2"]
    assert dict(frame["edits"][0][0]) == EDIT
    assert frame["p_match"].dtype == "float64"
    assert len(pandas.read_parquet(out / "quarantine")) == 1


def test_with_duckdb(out: Path) -> None:
    import duckdb

    query = f"select count(*), min(p_match), any_value(edits[1].\"from\") from '{out}/train/*.parquet'"
    connection = duckdb.connect()
    assert connection.execute(query).fetchall() == [(3, pytest.approx(0.99), "red")]
    reasons = connection.execute(f"select unnest(reasons) from '{out}/quarantine/*.parquet'").fetchall()
    assert reasons == [("exact_repeat",)]


@pytest.mark.slow
def test_with_datasets(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    import datasets

    files = {name: str(out / name / "*.parquet") for name in ("train", "quarantine")}
    loaded = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path))
    assert {name: len(part) for name, part in loaded.items()} == {"train": 3, "quarantine": 1}
    assert loaded["train"][0]["edits"] == [EDIT]


@pytest.mark.slow
def test_with_datasets_by_the_card(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    import datasets

    for name, rows in (("train", 3), ("quarantine", 1), ("annotations", 3)):
        loaded = datasets.load_dataset(str(out), name, split="val", cache_dir=str(tmp_path))
        assert len(loaded) == rows
