"""One-letter questions: letters swapped, probabilities averaged, nothing missing counted as yes."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import pytest

from annotate.checks.question import (
    MEANINGS,
    covers,
    edit_text,
    edits_text,
    follows,
    shows,
    shows_change,
    shows_edit,
)
from annotate.prompts import load_prompts
from annotate.stages import caption_turns
from annotate.teacher.request import Reply, Request, Sampling
from annotate.teacher.retry import Unanswered
from schemas.answers import CaptionAnswer, Edit
from tests.checks.oracle import REFERENCE, SLEEVES, TARGET, WRITER, Oracle, letters


def swapped(request: Request) -> bool:
    return "A. mismatch" in request.turns[-1].text


def score(first: Reply, second: Reply) -> float:
    """The probability when `first` answers the question with A = match, `second` the swapped one."""

    async def ask(request: Request) -> Reply:
        return second if swapped(request) else first

    return asyncio.run(shows(ask, WRITER, TARGET, "blue ball, sand background"))


def test_the_mean_of_both_orders_is_taken_of_conditional_probabilities() -> None:
    assert score(letters(A=0.6, B=0.2), letters(A=0.1, B=0.3)) == pytest.approx((0.75 + 0.75) / 2)


def test_a_teacher_that_always_says_a_scores_one_half() -> None:
    assert score(letters(A=0.999, B=0.001), letters(A=0.999, B=0.001)) == pytest.approx(0.5)


def test_a_letter_that_is_not_reported_counts_as_next_to_nothing() -> None:
    assert score(letters(A=0.9), letters(B=0.9)) == pytest.approx(1.0, abs=1e-5)
    assert score(letters(B=0.9), letters(A=0.9)) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize(
    "reply",
    [
        Reply("C", "length"),
        Reply("A", "length", (("A", -math.inf), ("B", -math.inf))),
        letters(C=0.9),
        letters(A=0.04, B=0.05),
    ],
)
def test_a_reply_without_either_letter_is_no_answer(reply: Reply) -> None:
    with pytest.raises(Unanswered) as caught:
        score(letters(A=0.9, B=0.1), reply)
    assert caught.value.code == "no_answer"


def test_broken_log_probabilities_stay_within_zero_and_one() -> None:
    strange = Reply("A", "length", (("A", 5.0), ("B", math.nan)))
    assert 0.0 <= score(strange, strange) <= 1.0


def test_both_questions_have_ended_when_one_fails() -> None:
    ended: list[bool] = []

    async def ask(request: Request) -> Reply:
        if not swapped(request):
            raise Unanswered("no_answer", "HTTP 500")
        await asyncio.sleep(0.01)
        ended.append(True)
        return letters(A=0.5, B=0.5)

    with pytest.raises(Unanswered):
        asyncio.run(shows(ask, WRITER, TARGET, "blue ball"))
    assert ended == [True]


def test_questions_about_a_picture_see_that_picture_alone_and_want_one_greedy_token() -> None:
    oracle = Oracle()
    asyncio.run(shows(oracle.ask, WRITER, TARGET, "blue ball"))
    asyncio.run(shows_edit(oracle.ask, WRITER, TARGET, SLEEVES))
    assert [request.stage for request in oracle.asked] == ["verify"] * 2 + ["verify_edit"] * 2
    for request in oracle.asked:
        assert [picture for turn in request.turns for picture in turn.pictures] == [TARGET]
        assert (request.sampling.max_tokens, request.sampling.temperature) == (1, 0.0)
        assert request.choices == ("A", "B") and request.schema_json == ""
    assert "<request>sleeves: long sleeves to sleeveless</request>" in oracle.asked[-1].turns[-1].text


@pytest.mark.parametrize("to", ["longer", "much darker than before", "more colorful"])
def test_whether_a_comparative_is_shown_is_asked_of_both_pictures(to: str) -> None:
    asked: list[Request] = []

    async def ask(request: Request) -> Reply:
        asked.append(request)
        return letters(A=0.5, B=0.5)

    edit = Edit(aspect="length", from_="knee length", to=to)
    asyncio.run(shows_change(ask, WRITER, REFERENCE, TARGET, edit))
    assert [request.stage for request in asked] == ["verify_change"] * 2
    for request in asked:
        assert request.turns[-1].pictures == (REFERENCE, TARGET)
        assert f"<request>length: knee length to {to}</request>" in request.turns[-1].text
    asyncio.run(shows_change(ask, WRITER, REFERENCE, TARGET, SLEEVES))
    assert [request.turns[-1].pictures for request in asked[2:]] == [(TARGET,)] * 2


def test_questions_about_the_text_extend_the_caption_turn_and_never_show_the_target() -> None:
    oracle, caption = Oracle(), CaptionAnswer(claims=("red dress",))
    asyncio.run(follows(oracle.ask, WRITER, REFERENCE, caption, "make it blue", "blue dress"))
    asyncio.run(
        covers(oracle.ask, WRITER, REFERENCE, caption, "make it blue", edits_text((SLEEVES, SLEEVES)))
    )
    for request in oracle.asked:
        assert request.turns[:2] == caption_turns(WRITER, REFERENCE)
        assert request.turns[2].text == '{"claims":["red dress"]}'
        assert [picture for turn in request.turns for picture in turn.pictures] == [REFERENCE]
    assert f"{edit_text(SLEEVES)}; {edit_text(SLEEVES)}" in oracle.asked[-1].turns[-1].text


def test_every_question_has_its_prompt_with_places_for_both_meanings() -> None:
    for name in MEANINGS:
        assert {"{{first_meaning}}", "{{second_meaning}}"} <= set(load_prompts()[name].text.split())


def test_another_seed_of_the_writer_asks_no_greedy_question_again() -> None:
    digests = []
    for seed in (0, 5):
        oracle = Oracle()
        writer = replace(WRITER, sampling=replace(WRITER.sampling, seed=seed))
        asyncio.run(shows(oracle.ask, writer, TARGET, "blue ball"))
        assert {request.sampling for request in oracle.asked} == {Sampling(0.0, 1.0, 0, 1)}
        digests.append([request.digest() for request in oracle.asked])
    assert digests[0] == digests[1]
