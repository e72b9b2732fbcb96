"""Second chances: told what failed, or guided by the target; judged alike; the first accepted one stands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annotate.checks.form import META
from annotate.selection import REJECTIONS
from annotate.shards.attempts import complaint
from annotate.teacher.request import Ask, Reply, Request
from schemas.row import Row
from tests.shards.test_run import annotate
from tests.shards.world import ANSWERS, make_tools, scripted, triplet, verified

WRONG = ANSWERS["reasoning"].replace("blue", "green")


def forgetful(mends_at: int, asked: list[Request]) -> Ask:
    """A writer whose edits are wrong until its attempt number `mends_at`; the coverage question sees that."""

    def answer(request: Request) -> Reply | None:
        asked.append(request)
        if request.stage == "reasoning" or (
            request.stage == "reasoning_again" and request.sampling.seed < mends_at
        ):
            return Reply(WRONG, "stop")
        if request.stage == "covers":
            return verified(request, 0.99 if "blue" in request.turns[-1].text.split("These")[1] else 0.01)
        return None

    return scripted(answer)


def one_row(tmp_path: Path, ask: Ask, **changes: Any) -> Row:
    _, (row,) = annotate(make_tools(tmp_path, ask, **changes), [triplet(0)])
    return row


def test_a_row_that_is_written_rightly_at_the_second_chance_is_accepted(tmp_path: Path) -> None:
    asked: list[Request] = []
    row = one_row(tmp_path, forgetful(2, asked), chances=3)
    assert (row.verdict, row.attempt) == ("accepted", 2)
    assert row.edits[0].to == "blue"
    again = [request for request in asked if request.stage == "reasoning_again"]
    assert [request.sampling.seed for request in again] == [1, 2]
    assert all(request.sampling.temperature >= 0.7 for request in again)
    assert "not what the request asks for" in again[0].turns[-1].text
    assert again[0].turns[-2].text == WRONG, "the writer sees its own answer before the complaint"
    assert sum(request.stage == "caption" for request in asked) == 1, "the caption was not at fault"


def test_without_a_success_the_first_writing_and_its_scores_stay(tmp_path: Path) -> None:
    without = one_row(tmp_path, forgetful(9, []), chances=0)
    with_chances = one_row(tmp_path, forgetful(9, []), chances=2)
    assert with_chances == without
    assert (without.verdict, without.attempt) == ("rejected", 0)


def test_an_accepted_row_is_not_written_again(tmp_path: Path) -> None:
    fine: list[Request] = []

    def keep(request: Request) -> Reply | None:
        fine.append(request)
        return None

    assert one_row(tmp_path, scripted(keep), chances=2).attempt == 0
    assert not [request for request in fine if request.stage.endswith("_again")]


def test_a_score_that_cannot_be_had_is_no_reason_to_write_again(tmp_path: Path) -> None:
    asked: list[Request] = []

    def keep(request: Request) -> Reply | None:
        asked.append(request)
        return None

    row = one_row(tmp_path, scripted(keep), chances=2, thresholds={"margin": 0.4})
    assert (row.verdict, row.reasons, row.attempt) == ("rejected", ("not_measured",), 0)
    assert not [request for request in asked if request.stage.endswith("_again")]


def test_a_caption_at_fault_is_written_again_too(tmp_path: Path) -> None:
    def answer(request: Request) -> Reply | None:
        if request.stage == "caption":
            return Reply('{"claims":["red ball","night background"]}', "stop")
        if request.stage == "verify":
            return verified(request, 0.01 if "night" in request.turns[-1].text else 0.99)
        if request.stage == "conclusion" and "night" in request.turns[2].text:
            return Reply('{"claims":["blue ball","night background"]}', "stop")
        return Reply(ANSWERS["caption"], "stop") if request.stage == "caption_again" else None

    row = one_row(tmp_path, scripted(answer), chances=1)
    assert (row.verdict, row.attempt) == ("accepted", 1)
    assert row.caption == "red ball, sand background"


def test_a_caption_whose_form_is_at_fault_is_written_again_too(tmp_path: Path) -> None:
    def answer(request: Request) -> Reply | None:
        if request.stage == "caption":
            return Reply('{"claims":["red ball","sand background","sand background"]}', "stop")
        return Reply(ANSWERS["caption"], "stop") if request.stage == "caption_again" else None

    row = one_row(tmp_path, scripted(answer), chances=1)
    assert (row.verdict, row.attempt) == ("accepted", 1)
    assert row.caption == "red ball, sand background"


def test_an_attempt_without_a_usable_answer_is_a_failed_one_and_no_quarantine(tmp_path: Path) -> None:
    def answer(request: Request) -> Reply | None:
        if request.stage.startswith("reasoning_again"):
            return Reply("nonsense", "stop")
        return verified(request, 0.01) if request.stage == "covers" else None

    row = one_row(tmp_path, scripted(answer), chances=2)
    assert (row.verdict, row.reasons) == ("rejected", ("edits_mismatch",))


@pytest.mark.parametrize("leaks", [False, True])
def test_a_guided_row_is_marked_and_loses_the_claims_that_leak(tmp_path: Path, leaks: bool) -> None:
    seen = '{"claims":["blue ball","sand background","a star"]}' if leaks else ANSWERS["conclusion"]

    def sees(request: Request) -> bool:
        return any(len(turn.pictures) and number > 1 for number, turn in enumerate(request.turns))

    def answer(request: Request) -> Reply | None:
        if request.stage == "conclusion":
            return Reply(seen if sees(request) else '{"claims":["red ball"]}', "stop")
        if request.stage == "follows":
            return verified(request, 0.01 if "a star" in request.turns[-1].text else 0.99)
        return None

    row = one_row(tmp_path, scripted(answer), chances=1, guided=True)
    assert (row.verdict, row.attempt, row.teacher_sees_target) == ("accepted", 1, True)
    assert row.conclusion_claims == ("blue ball", "sand background")
    assert row.leak_claims == ()


def test_a_complaint_names_what_failed_and_none_of_our_scores() -> None:
    for code in REJECTIONS.keys() - {"not_measured"}:  # it is never complained of
        words = complaint((code,))
        assert words.endswith(".") and "threshold" not in words.split("(")[0]
        assert not META.search(words), "a writer learns no word that the form forbids"
    assert complaint(("edits_mismatch", "target_unlike")).count(".") == 2
    assert complaint(("edit_not_shown",)) == "What is looked for does not show what an edit asks for."


def test_a_writer_that_sees_the_target_sees_it_at_its_second_chance_too(tmp_path: Path) -> None:
    asked: list[Request] = []
    tools = make_tools(tmp_path, forgetful(1, asked), chances=1)
    seeing = replace(tools, writer=replace(tools.writer, sees_target=True))
    _, (row,) = annotate(seeing, [triplet(0)])
    assert (row.verdict, row.attempt, row.teacher_sees_target) == ("accepted", 1, True)
    (again,) = (request for request in asked if request.stage == "reasoning_again")
    assert sum(len(turn.pictures) for turn in again.turns) == 2
