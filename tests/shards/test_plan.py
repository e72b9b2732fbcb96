"""Plans: by reference, deterministic, a limit drawn by reference; OUT belongs to one job."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.errors import InputError, OutputError, UsageError
from annotate.shards.plan import Job, Plan, claim_out, job_digest, make_plan
from schemas.triplet import Triplet
from tests.shards.world import JOB, triplet

REFERENCES = st.lists(st.integers(0, 6), min_size=1, max_size=60)


def by_reference(references: list[int]) -> list[Triplet]:
    return [triplet(number, reference=f"ref-{name}") for number, name in enumerate(references)]


def ids(plan: Plan) -> list[str]:
    return [t.triplet_id for shard in plan.shards for t in plan.of(shard)]


@settings(deadline=None)
@given(REFERENCES, st.integers(1, 20))
def test_every_triplet_is_in_exactly_one_shard_and_shards_are_bounded(
    references: list[int], size: int
) -> None:
    triplets = by_reference(references)
    plan = make_plan(triplets, JOB, shard_size=size)
    assert sorted(ids(plan)) == sorted(t.triplet_id for t in triplets)
    assert all(0 < len(shard) <= size for shard in plan.shards)
    assert len({shard.name for shard in plan.shards}) == len(plan.shards)


@settings(deadline=None)
@given(REFERENCES, st.integers(1, 20))
def test_a_reference_is_split_only_when_it_exceeds_the_shard(references: list[int], size: int) -> None:
    plan = make_plan(by_reference(references), JOB, shard_size=size)
    for name in set(references):
        homes = [shard for shard in plan.shards if any(t.reference == f"ref-{name}" for t in plan.of(shard))]
        assert len(homes) == 1 or references.count(name) > size


@settings(deadline=None)
@given(REFERENCES, st.integers(1, 80), st.integers(0, 5))
def test_a_limit_draws_exactly_that_many_by_whole_references_but_one(
    references: list[int], limit: int, seed: int
) -> None:
    plan = make_plan(by_reference(references), JOB, limit=limit, seed=seed)
    assert len(ids(plan)) == min(limit, len(references))
    drawn = [t.reference for t in plan.triplets]
    cut = [name for name in set(drawn) if drawn.count(name) < references.count(int(name[4:]))]
    assert len(cut) <= 1


def test_a_larger_limit_continues_a_smaller_one_and_the_seed_changes_the_draw() -> None:
    triplets = by_reference([number // 2 for number in range(100)])
    small, large = (set(ids(make_plan(triplets, JOB, limit=limit, seed=1))) for limit in (20, 40))
    assert small < large
    assert small != set(ids(make_plan(triplets, JOB, limit=20, seed=2)))
    assert small != {t.triplet_id for t in triplets[:20]}


def test_the_draw_does_not_depend_on_file_order() -> None:
    triplets = by_reference([number // 2 for number in range(100)])
    backwards = [t for group in range(49, -1, -1) for t in triplets[2 * group : 2 * group + 2]]
    assert set(ids(make_plan(triplets, JOB, limit=21))) == set(ids(make_plan(backwards, JOB, limit=21)))


def test_a_split_without_targets_has_nothing_to_check_against() -> None:
    with pytest.raises(UsageError, match="nothing to check against"):
        make_plan([triplet(1, target=None)], JOB)


def test_no_triplets_and_no_limit_are_named() -> None:
    with pytest.raises(InputError, match="no triplets"):
        make_plan([], JOB)
    with pytest.raises(UsageError, match="LIMIT=0"):
        make_plan([triplet(1)], JOB, limit=0)


def test_every_part_of_a_job_changes_its_digest() -> None:
    jobs: set[tuple[str, str, str | None, str]]
    jobs = {("cirr", "train", None, "a"), ("cirr", "val", None, "a"), ("circo", "train", None, "a")}
    jobs |= {("cirr", "train", "dress", "a"), ("cirr", "train", None, "b")}
    assert len({job_digest(*job) for job in jobs}) == len(jobs)


def test_out_is_claimed_once_and_continued_by_the_same_job(tmp_path: Path) -> None:
    claim_out(tmp_path / "out", JOB)
    claim_out(tmp_path / "out", JOB)
    assert json.loads((tmp_path / "out/journal/job.json").read_text())["job"] == JOB.digest


def test_out_of_another_job_is_refused_by_name(tmp_path: Path) -> None:
    claim_out(tmp_path, JOB)
    with pytest.raises(OutputError, match=r"cirr/train .*not circo/val"):
        claim_out(tmp_path, Job("circo", "val", None, "c" * 64))


@pytest.mark.parametrize("name", ["README.md", "train", "manifest.json"])
def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(OutputError, match=name):
        claim_out(tmp_path, JOB)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "mark", ["", "{", "[]", '{"job": 1}', "[" * 100_000, '{"job": ' * 500 + "1" + "}" * 500]
)
def test_a_broken_mark_is_refused(tmp_path: Path, mark: str) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "job.json").write_text(mark)
    with pytest.raises(OutputError):
        claim_out(tmp_path, JOB)


def test_an_out_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        claim_out(tmp_path / "out", JOB)


PLAN_A_MILLION = """
from pathlib import Path
from annotate.shards.plan import Job, make_plan
from schemas.triplet import Triplet
triplets = [
    Triplet(triplet_id=f"cirr/train/{n}", dataset="cirr", split="train", native_id=str(n),
            reference=f"train-{n // 2}-0-img0", target=f"train-{n}-1-img1",
            modifications=(f"the same dog but number {n} and looking at the camera",))
    for n in range(1_000_000)
]
plan = make_plan(triplets, Job("cirr", "train", None, "a" * 64))
assert sum(map(len, plan.shards)) == 1_000_000
# Not getrusage: its peak is inherited from the process that started this one.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]) // 1024)
"""


@pytest.mark.slow
def test_a_million_triplets_are_planned_within_a_gigabyte() -> None:
    run = subprocess.run([sys.executable, "-c", PLAN_A_MILLION], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 1024
