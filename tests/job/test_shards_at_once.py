"""As many shards run at once as keep the server busy, whatever their size."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotate.job import shards_at_once
from annotate.settings import resolve


@pytest.mark.parametrize(
    ("concurrency", "shard_size", "wanted"), [(64, 256, 2), (256, 256, 3), (1024, 256, 9), (256, 16, 33)]
)
def test_shards_at_once_hold_twice_as_many_triplets_as_there_may_be_requests(
    concurrency: int, shard_size: int, wanted: int, tmp_path: Path
) -> None:
    flags = {"concurrency": str(concurrency), "shard_size": str(shard_size)}
    assert shards_at_once(resolve(flags, {}, tmp_path).run) == wanted
