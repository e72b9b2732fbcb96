"""A shard: every triplet leaves as one row with a verdict; a code each; fatal errors end it cleanly."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from annotate.errors import CirError, RunIncomplete
from annotate.selection import QUARANTINES
from annotate.shards.plan import make_plan
from annotate.shards.run import ShardResult, Tools, run_shard
from annotate.tables import read_rows
from annotate.teacher.request import Ask, Reply, Request
from annotate.teacher.retry import Unanswered
from schemas.row import Row
from schemas.triplet import Triplet
from tests.shards.world import JOB, make_tools, scripted, triplet, verified


def annotate(tools: Tools, triplets: list[Triplet]) -> tuple[ShardResult, list[Row]]:
    plan = make_plan(triplets, JOB)
    (shard,) = plan.shards
    result = asyncio.run(run_shard(plan, shard, tools))
    return result, list(read_rows([result.path]))


def about(number: int, answer: Callable[[Request], Reply | None]) -> Ask:
    """A teacher that does all right, save about the triplet with this number, once its text is known."""
    return scripted(lambda r: answer(r) if any(f"({number})" in turn.text for turn in r.turns) else None)


def unanswered(code: str) -> Callable[[Request], Reply | None]:
    def answer(request: Request) -> Reply | None:
        raise Unanswered(code, f"HTTP 400: {code}")

    return answer


def stage_says(stage: str, text: str, finish_reason: str = "stop") -> Ask:
    return scripted(lambda r: Reply(text, finish_reason) if r.stage.startswith(stage) else None)


def broken_picture(tools: Tools) -> None:
    path = tools.paths["ref-0"]
    path.write_bytes(path.read_bytes()[:40])


def huge_picture(tools: Tools) -> None:
    with tools.paths["ref-0"].open("r+b") as handle:
        handle.truncate(65 << 20)


def gone_picture(tools: Tools) -> None:
    tools.paths["target-0"].unlink()


OUTCOMES: dict[str, tuple[Ask, Triplet, Callable[[Tools], None]]] = {
    "missing_image": (scripted(), triplet(0), gone_picture),
    "undecodable_image": (scripted(), triplet(0), broken_picture),
    "image_too_large": (scripted(), triplet(0), huge_picture),
    "empty_modification": (
        scripted(),
        triplet(0, problem="empty_modification", modifications=("",)),
        lambda t: None,
    ),
    "modification_too_long": (
        scripted(),
        triplet(0, problem="modification_too_long", modifications=("red " * 700,)),
        lambda t: None,
    ),
    "exact_repeat": (scripted(), triplet(0, problem="exact_repeat"), lambda t: None),
    "caption_invalid": (stage_says("caption", "no JSON"), triplet(0), lambda t: None),
    "reasoning_invalid": (stage_says("reasoning", "{}"), triplet(0), lambda t: None),
    "conclusion_invalid": (stage_says("conclusion", "[]"), triplet(0), lambda t: None),
    "answer_cut_off": (stage_says("conclusion", '{"claims":["a', "length"), triplet(0), lambda t: None),
    "teacher_refused": (stage_says("reasoning", "I cannot help with that"), triplet(0), lambda t: None),
    "no_answer": (stage_says("verify", "C"), triplet(0), lambda t: None),
    "context_too_long": (about(0, unanswered("context_too_long")), triplet(0), lambda t: None),
    "image_rejected": (about(0, unanswered("image_rejected")), triplet(0), lambda t: None),
}


def test_a_root_that_goes_away_ends_the_run_and_quarantines_no_more(tmp_path: Path) -> None:
    records = [triplet(number) for number in range(40)]
    tools = make_tools(tmp_path, scripted(), records)
    for path in tools.paths.values():
        path.unlink()
    with pytest.raises(RunIncomplete, match=r"^21 images that were there .* mend ROOT and run the same"):
        annotate(tools, records)
    _, rows = annotate(replace(tools, allow_missing=True, gone=set()), records)
    assert {row.reasons for row in rows} == {("missing_image",)}


@pytest.mark.parametrize("code", QUARANTINES)
def test_each_quarantine_code_has_a_way_to_occur_and_says_why(tmp_path: Path, code: str) -> None:
    ask, record, spoil = OUTCOMES[code]
    tools = make_tools(tmp_path, ask)
    spoil(tools)
    result, (row,) = annotate(tools, [record])
    assert (row.verdict, row.reasons) == ("quarantined", (code,))
    assert row.detail
    assert row.p_match is None and row.form is None
    assert dict(result.counts) == {"accepted": 0, "rejected": 0, "quarantined": 1}


def test_a_check_without_an_answer_leaves_the_chain_in_the_quarantined_row(tmp_path: Path) -> None:
    _, (row,) = annotate(make_tools(tmp_path, stage_says("verify", "C")), [triplet(0)])
    assert (row.verdict, row.reasons) == ("quarantined", ("no_answer",))
    assert row.conclusion == "blue ball, sand background"


def test_a_wrong_target_is_rejected_and_keeps_its_chain_and_score(tmp_path: Path) -> None:
    tools = make_tools(tmp_path, scripted(lambda r: verified(r, 0.1) if r.stage == "verify_edit" else None))
    _, (row,) = annotate(tools, [triplet(0)])
    assert (row.verdict, row.reasons, row.detail) == ("rejected", ("edit_not_shown",), None)
    assert row.p_edits == pytest.approx(0.1) and row.skipped_checks == ("leakage",)
    assert row.conclusion == "blue ball, sand background"


@pytest.mark.parametrize("problem", ["empty_modification", "modification_too_long", "exact_repeat"])
def test_a_dirty_record_asks_nothing(tmp_path: Path, problem: str) -> None:
    async def ask(request: Request) -> Reply:
        raise AssertionError("asked")

    _, (row,) = annotate(make_tools(tmp_path, ask), [triplet(0, problem=problem)])
    assert row.reasons == (problem,)


@pytest.mark.parametrize("name", ["ref-0", "target-0"])
def test_an_image_that_was_not_found_asks_nothing(tmp_path: Path, name: str) -> None:
    async def ask(request: Request) -> Reply:
        raise AssertionError("asked")

    tools = make_tools(tmp_path, ask)
    paths = {key: path for key, path in tools.paths.items() if key != name}
    _, (row,) = annotate(make_tools(tmp_path, ask, paths=paths), [triplet(0)])
    assert row.reasons == ("missing_image",)
    assert name in (row.detail or "")


def test_the_raw_answer_is_kept_without_control_characters_and_bounded(tmp_path: Path) -> None:
    tools = make_tools(tmp_path, stage_says("caption", "\x1b[31mraw \x00" + "y" * 9_000))
    _, (row,) = annotate(tools, [triplet(0)])
    assert row.detail is not None and "raw" in row.detail
    assert len(row.detail) <= 4_000
    assert "\x1b" not in row.detail and "\x00" not in row.detail


def test_one_bad_triplet_leaves_its_siblings_alone(tmp_path: Path) -> None:
    ask = about(3, lambda r: Reply("nonsense", "stop"))
    result, rows = annotate(make_tools(tmp_path, ask), [triplet(number) for number in range(10)])
    assert dict(result.counts) == {"accepted": 9, "rejected": 0, "quarantined": 1}
    assert [row.triplet_id for row in rows if row.verdict == "quarantined"] == ["cirr/train/3"]


def test_rows_carry_the_record_the_digests_and_who_wrote_them(tmp_path: Path) -> None:
    record = triplet(
        0, subset=("a", "b"), positives=("p",), notes=("stray_blanks",), modifications=(" it's blue ",)
    )
    _, (row,) = annotate(make_tools(tmp_path, scripted()), [record])
    assert (row.subset, row.positives, row.notes) == (("a", "b"), ("p",), ("stray_blanks",))
    assert (row.modification, row.modifications) == ("it's blue", (" it's blue ",))
    assert row.reference_digest and row.target_digest and row.reference_digest != row.target_digest
    assert (row.teacher, row.teacher_sees_target, row.source) == ("tiny", False, "sample")


def test_progress_is_told_once_a_triplet(tmp_path: Path) -> None:
    told: list[Row] = []
    tools = make_tools(tmp_path, about(3, lambda r: Reply("?", "stop")), progress=told.append)
    annotate(tools, [triplet(number) for number in range(10)])
    assert Counter(row.verdict for row in told) == {"accepted": 9, "quarantined": 1}


def test_a_fatal_error_ends_the_shard_as_it_is_after_its_siblings_have_ended(tmp_path: Path) -> None:
    running: set[str] = set()

    async def ask(request: Request) -> Reply:
        if any("(4)" in turn.text for turn in request.turns):
            raise RunIncomplete("the server is gone")
        running.add(request.digest())
        try:
            await asyncio.sleep(0.001 if request.stage == "caption" else 30)
        finally:
            running.discard(request.digest())
        return await scripted()(request)

    tools = make_tools(tmp_path, ask)
    with pytest.raises(CirError, match="the server is gone"):
        annotate(tools, [triplet(number) for number in range(10)])
    assert not running
    assert not list(tools.rows.glob("*"))


def test_a_cancelled_shard_writes_nothing_and_leaves_no_task(tmp_path: Path) -> None:
    async def ask(request: Request) -> Reply:
        await asyncio.sleep(30)
        raise AssertionError

    async def main(tools: Tools) -> int:
        plan = make_plan([triplet(number) for number in range(10)], JOB)
        task = asyncio.create_task(run_shard(plan, plan.shards[0], tools))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(asyncio.all_tasks()) - 1

    tools = make_tools(tmp_path, ask)
    assert asyncio.run(main(tools)) == 0
    assert not list(tools.rows.glob("*"))


def test_no_more_triplets_are_begun_than_allowed(tmp_path: Path) -> None:
    open_now = most = 0

    async def ask(request: Request) -> Reply:
        nonlocal open_now, most
        open_now += request.stage == "caption"
        most = max(most, open_now)
        await asyncio.sleep(0)
        open_now -= request.stage == "conclusion"
        return await scripted()(request)

    annotate(make_tools(tmp_path, ask, at_once=3), [triplet(number) for number in range(10)])
    assert most <= 3
