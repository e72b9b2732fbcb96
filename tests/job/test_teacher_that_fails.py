"""A teacher whose every answer is unusable ends the run early; several servers share the work of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from annotate.errors import RunIncomplete
from annotate.shards.pending import Pending
from annotate.teacher.client import Stats
from annotate.telling import WINDOW_LEAST, Teller, Watch
from bench.driving import fault_server, finish, kill_group, published, run_command, start, stats, write_world
from schemas.row import Row
from tests.tables.rows import make_row

CODES = ("caption_invalid", "reasoning_invalid", "answer_cut_off", "context_too_long", "image_rejected")


def quarantined(code: str) -> Row:
    return make_row(0, verdict="quarantined", reasons=(code,), detail="what it said")


def tell(rows: Iterator[Row], asks: bool = True) -> int:
    """How many rows were taken until the run was stopped."""
    stats, taken = Stats(), 0
    teller = Teller(10_000, Pending(10_000, 10_000, 0, 0), stats, Watch(lambda line: None, lambda shot: None))
    with pytest.raises(RunIncomplete, match="the teacher answers wrongly"):
        for each in rows:
            stats.answered += asks
            taken += 1
            teller.row(each)
    return taken


@pytest.mark.parametrize("code", CODES)
def test_a_teacher_that_answers_everything_wrongly_ends_the_run_early(code: str) -> None:
    assert tell(quarantined(code) for _ in range(5_000)) == WINDOW_LEAST


def test_a_teacher_that_turns_bad_under_way_is_noticed_within_a_window() -> None:
    rows = [make_row(0) for _ in range(1_000)] + [quarantined("caption_invalid") for _ in range(1_000)]
    assert tell(iter(rows)) <= 1_000 + 200


@pytest.mark.parametrize("code", ["missing_image", "undecodable_image", "exact_repeat"])
def test_bad_data_is_no_fault_of_the_teacher(code: str) -> None:
    with pytest.raises(pytest.fail.Exception):
        tell(quarantined(code) for _ in range(1_000))


def test_a_weak_teacher_is_let_go_on() -> None:
    with pytest.raises(pytest.fail.Exception):
        tell(make_row(0) if n % 5 == 0 else quarantined("caption_invalid") for n in range(1_000))


def test_rows_from_the_journal_alone_stop_nothing() -> None:
    with pytest.raises(pytest.fail.Exception):
        tell((quarantined("caption_invalid") for _ in range(1_000)), asks=False)


def test_a_server_that_only_violates_the_schema_is_refused_before_the_run(tmp_path: Path) -> None:
    world, log = write_world(tmp_path / "world", 20), tmp_path / "log"
    with fault_server("--rates", "schema=1.0") as url:
        command = run_command(world, tmp_path / "out", teacher_url=f"{url}/mixed/v1", teacher_model="test")
        process = start(command, log)
        try:
            assert process.wait(60) == 2  # the canary sees it at once
        finally:
            kill_group(process)
    assert "does not constrain answers" in log.read_text()


@pytest.mark.slow
def test_two_servers_share_the_work_and_give_the_same_bytes(tmp_path: Path) -> None:
    world = write_world(tmp_path / "world", 60)
    with ExitStack() as held:
        one, two = (held.enter_context(fault_server("--delay", "0.02")) for _ in range(2))
        asked = {"teacher_model": "test", "shard_size": 16}
        urls = f"{one}/ok/v1, {two}/ok/v1/"
        finish(run_command(world, tmp_path / "two", teacher_url=urls, **asked), tmp_path / "log")
        shares = [stats(url)["answered"] for url in (one, two)]
        finish(run_command(world, tmp_path / "one", teacher_url=f"{one}/ok/v1", **asked), tmp_path / "log")
    assert published(tmp_path / "one") == published(tmp_path / "two")
    assert min(shares) > 0.2 * sum(shares)


@pytest.mark.slow
def test_a_server_that_dies_leaves_its_work_to_the_other(tmp_path: Path) -> None:
    world, log = write_world(tmp_path / "world", 100), tmp_path / "log"
    with ExitStack() as held:
        one = held.enter_context(fault_server("--delay", "0.1"))
        with fault_server("--delay", "0.1") as two:
            urls = f"{one}/ok/v1,{two}/ok/v1"
            command = run_command(
                world, tmp_path / "out", teacher_url=urls, teacher_model="test", shard_size=16
            )
            process = start(command, log)
            while stats(two)["answered"] < 40:
                assert process.poll() is None
        try:
            assert process.wait(120) == 0
        finally:
            kill_group(process)
    said = log.read_text()
    assert "1 other server(s) go on" in said
    assert "100 triplets" in said
