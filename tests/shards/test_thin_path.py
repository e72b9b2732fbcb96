"""One triplet with real pictures and a scripted teacher, through to Parquet and manifest."""

from __future__ import annotations

import asyncio
from pathlib import Path

from annotate.shards.plan import make_plan
from annotate.shards.publish import publish
from annotate.shards.run import run_shard
from annotate.tables import parts, read_rows
from tests.shards.world import JOB, make_tools, origin, scripted, triplet


def test_one_triplet_becomes_an_accepted_row_and_a_complete_manifest(tmp_path: Path) -> None:
    tools = make_tools(tmp_path, scripted())
    plan = make_plan([triplet(1)], JOB)
    result = asyncio.run(run_shard(plan, plan.shards[0], tools))
    manifest = publish(plan, [result.path], tmp_path / "out", origin(tools))

    assert manifest.status == "complete"
    assert manifest.counts.model_dump() == {"input": 1, "accepted": 1, "rejected": 0, "quarantined": 0}
    (row,) = read_rows(parts(tmp_path / "out", "train"))
    assert (row.triplet_id, row.verdict, row.reasons) == ("cirr/train/1", "accepted", ())
    assert row.caption == "red ball, sand background"
    assert [edit.model_dump(by_alias=True) for edit in row.edits] == [
        {"aspect": "ball", "from": "red", "to": "blue"}
    ]
    assert row.p_match is not None and row.p_match > 0.98
