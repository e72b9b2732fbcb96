"""The verifier: letters swapped, conditional probabilities averaged, nothing missing counted as a match."""

from __future__ import annotations

import asyncio
import math

import pytest

from annotate.checks import CHECKS, Check, Evidence, Scores
from annotate.checks.ladder import climb, requests_per_triplet
from annotate.checks.target_match import target_match
from annotate.prompts import load_prompts
from annotate.selection import REASON_OF_SCORE
from annotate.stages import Chain, Writer
from annotate.teacher.request import Ask, Picture, Reply, Request, Sampling
from annotate.teacher.retry import Unanswered
from schemas.answers import CaptionAnswer, ConclusionAnswer, Edit, ReasoningAnswer

REFERENCE, TARGET = Picture("a" * 64, "fit448-q90-v1"), Picture("b" * 64, "fit448-q90-v1")
WRITER = Writer("tiny", load_prompts(), ("ball",), "fit448-q90-v1", Sampling(temperature=0.8, top_p=0.9))
CHAIN = Chain(
    CaptionAnswer(claims=("red ball",)),
    ReasoningAnswer(rationale="r", edits=(Edit(aspect="ball", from_="red", to="blue"),), kept=()),
    ConclusionAnswer(claims=("blue ball", "sand background")),
)
EVIDENCE = Evidence(WRITER, REFERENCE, TARGET, "make it blue", CHAIN)


def letters(**probabilities: float) -> Reply:
    return Reply("A", "length", tuple((name, math.log(value)) for name, value in probabilities.items()))


def swapped(request: Request) -> bool:
    return "A. mismatch" in request.turns[-1].text


def score(first: Reply, second: Reply) -> float:
    """p_match when `first` answers the question with A = match, `second` the swapped one."""

    async def ask(request: Request) -> Reply:
        return second if swapped(request) else first

    return asyncio.run(target_match(ask, EVIDENCE))["p_match"]


def test_the_mean_of_both_orders_is_taken_of_conditional_probabilities() -> None:
    assert score(letters(A=0.6, B=0.2), letters(A=0.1, B=0.3)) == pytest.approx((0.75 + 0.75) / 2)


def test_a_teacher_that_always_says_a_scores_one_half() -> None:
    assert score(letters(A=0.999, B=0.001), letters(A=0.999, B=0.001)) == pytest.approx(0.5)


def test_a_letter_that_is_not_reported_counts_as_next_to_nothing() -> None:
    assert score(letters(A=0.9), letters(B=0.9)) == pytest.approx(1.0, abs=1e-5)
    assert score(letters(B=0.9), letters(A=0.9)) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize(
    "reply",
    [Reply("C", "length"), Reply("A", "length", (("A", -math.inf), ("B", -math.inf))), letters(C=0.9)],
)
def test_a_reply_without_either_letter_is_no_answer(reply: Reply) -> None:
    with pytest.raises(Unanswered) as caught:
        score(letters(A=0.9, B=0.1), reply)
    assert caught.value.code == "no_answer"


def test_broken_log_probabilities_stay_within_zero_and_one() -> None:
    strange = Reply("A", "length", (("A", 5.0), ("B", math.nan)))
    assert 0.0 <= score(strange, strange) <= 1.0


def test_the_verifier_sees_the_target_and_the_whole_conclusion_in_one_greedy_token() -> None:
    asked: list[Request] = []

    async def ask(request: Request) -> Reply:
        asked.append(request)
        return letters(A=0.5, B=0.5)

    asyncio.run(target_match(ask, EVIDENCE))
    assert len(asked) == CHECKS[0].cost == 2
    assert [swapped(request) for request in asked] == [False, True]
    for request in asked:
        assert request.turns[-1].pictures == (TARGET,)
        assert "<request>blue ball, sand background</request>" in request.turns[-1].text
        assert (request.sampling.max_tokens, request.sampling.temperature) == (1, 0.0)
        assert request.choices == ("A", "B") and request.schema_json == ""


def test_both_questions_have_ended_when_one_fails() -> None:
    ended: list[bool] = []

    async def ask(request: Request) -> Reply:
        if not swapped(request):
            raise Unanswered("no_answer", "HTTP 500")
        await asyncio.sleep(0.01)
        ended.append(True)
        return letters(A=0.5, B=0.5)

    with pytest.raises(Unanswered):
        asyncio.run(target_match(ask, EVIDENCE))
    assert ended == [True]


def test_checks_have_distinct_names_and_columns_that_selection_knows() -> None:
    columns = [column for check in CHECKS for column in check.columns]
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert len(set(columns)) == len(columns)
    assert set(REASON_OF_SCORE) <= set(columns)
    assert requests_per_triplet() == sum(check.cost for check in CHECKS)


def test_the_ladder_collects_scores_in_order_and_refuses_a_check_that_leaves_one_out() -> None:
    def check(name: str, *columns: str) -> Check:
        async def run(ask: Ask, evidence: Evidence) -> Scores:
            return {name: 0.5}

        return Check(name, columns, 0, run)

    async def ask(request: Request) -> Reply:
        raise AssertionError("nothing is asked here")

    scores = asyncio.run(climb(ask, EVIDENCE, (check("one", "one"), check("two", "two"))))
    assert list(scores) == ["one", "two"]
    with pytest.raises(RuntimeError, match="one"):
        asyncio.run(climb(ask, EVIDENCE, (check("one", "one", "two"),)))
