"""The checks that look: grounded caption, target match, leakage, look-alikes, round trip."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from annotate.checks import Evidence, Findings
from annotate.checks.grounded_caption import grounded_caption
from annotate.checks.hard_negatives import hard_negatives
from annotate.checks.leakage import leakage, rationale_phrases
from annotate.checks.round_trip import round_trip
from annotate.checks.target_match import target_match
from annotate.images import moved
from annotate.teacher.request import Ask, Picture, Reply, Request
from annotate.teacher.retry import Unanswered
from schemas.answers import Edit
from tests.checks.oracle import (
    CAPTION,
    CONCLUSION,
    EVIDENCE,
    RECIPE,
    REFERENCE,
    SLEEVES,
    TARGET,
    WRITER,
    Oracle,
    evidence,
    letters,
)

OTHER = Picture("c" * 64, RECIPE)
CLAIMS = ("red dress", "plain", "sleeveless", "v neck", "no belt", "long length", "no emblem", "zip")
WIDE = evidence(caption=("long sleeves", *(c for c in CLAIMS if c != "sleeveless")), conclusion=CLAIMS)


def target_shows(*facts: str) -> Oracle:
    return Oracle(shown={REFERENCE: CAPTION, TARGET: facts})


def test_a_caption_that_holds_as_a_whole_costs_one_question() -> None:
    oracle = Oracle()
    found = asyncio.run(grounded_caption(oracle.ask, EVIDENCE))
    assert found == {"p_grounded": pytest.approx(0.999), "claim_grounded": ()}
    assert len(oracle.asked) == 2


def test_a_caption_is_asked_about_the_picture_a_little_moved() -> None:
    oracle = Oracle(sure=0.985)
    asyncio.run(grounded_caption(oracle.ask, EVIDENCE))
    assert {request.turns[-1].pictures for request in oracle.asked} == {(moved(REFERENCE),)}


def test_a_caption_that_is_sure_as_a_whole_is_asked_no_further() -> None:
    oracle = Oracle(sure=0.992)
    assert asyncio.run(grounded_caption(oracle.ask, EVIDENCE))["claim_grounded"] == ()
    assert len(oracle.asked) == 2


def test_a_caption_that_is_nearly_sure_as_a_whole_is_asked_claim_by_claim() -> None:
    oracle = Oracle(sure=0.985)
    found = asyncio.run(grounded_caption(oracle.ask, EVIDENCE))
    assert found["claim_grounded"] == pytest.approx((0.985,) * len(CAPTION))
    assert len(oracle.asked) == 2 + 2 * len(CAPTION)


def test_a_false_claim_of_the_caption_is_found_by_name() -> None:
    oracle = Oracle()
    found = asyncio.run(grounded_caption(oracle.ask, evidence(caption=(*CAPTION[:-1], "belt"))))
    assert found["p_grounded"] == pytest.approx(0.001)
    assert found["claim_grounded"] == pytest.approx((0.999, 0.999, 0.999, 0.999, 0.001))


def test_a_target_that_shows_all_is_asked_for_the_whole_and_each_edit() -> None:
    oracle = Oracle()
    found = asyncio.run(target_match(oracle.ask, EVIDENCE))
    assert (found["p_match"], found["p_edits"], found["kept_share"]) == pytest.approx((0.999, 0.999, 1.0))
    assert found["claim_match"] == pytest.approx((0.999,) * len(CONCLUSION))
    assert len(oracle.asked) == 4


def test_an_unmentioned_change_leaves_edits_and_most_kept_claims_standing() -> None:
    oracle = target_shows(*(claim for claim in CLAIMS if claim != "plain"))
    found = asyncio.run(target_match(oracle.ask, WIDE))
    assert found["p_match"] == pytest.approx(0.001)
    assert found["p_edits"] == pytest.approx(0.999)
    assert found["kept_share"] == pytest.approx(1 - 1 / 7)
    assert len(oracle.asked) == 2 + 2 + 4


def test_a_target_that_fails_an_edit_is_found_by_the_edit() -> None:
    oracle = target_shows("red dress", "plain", "long sleeves", "v neck", "no belt")
    found = asyncio.run(target_match(oracle.ask, EVIDENCE))
    assert found["p_edits"] == pytest.approx(0.001)
    assert found["kept_share"] == 1.0


def test_another_thing_altogether_has_a_low_share_counted_a_claim_each() -> None:
    oracle = target_shows("sleeveless", "v neck", "long length")
    found = asyncio.run(target_match(oracle.ask, WIDE))
    assert found["kept_share"] == pytest.approx(2 / 7)
    held = [0.999 if claim in ("v neck", "long length") else 0.001 for claim in CLAIMS]
    assert found["claim_match"] == pytest.approx(tuple(held))


def test_the_least_of_several_edits_counts() -> None:
    two = (SLEEVES, Edit(aspect="waist", from_="no belt", to="belt"))
    found = asyncio.run(target_match(Oracle().ask, evidence(edits=two)))
    assert found["p_edits"] == pytest.approx(0.001)


def test_one_kept_claim_that_changed_unmentioned_rejects_nothing() -> None:
    short = evidence(
        caption=("red dress", "long sleeves"), kept=("color",), conclusion=("red dress", "sleeveless")
    )
    oracle = Oracle(shown={REFERENCE: CAPTION, TARGET: ("blue dress", "sleeveless")})
    found = asyncio.run(target_match(oracle.ask, short))
    assert (found["p_match"], found["p_edits"], found["kept_share"]) == pytest.approx((0.001, 0.999, 1.0))


def test_claims_that_follow_as_strings_are_not_asked_whether_they_leak() -> None:
    oracle = Oracle()
    found = asyncio.run(leakage(oracle.ask, EVIDENCE))
    assert found == {
        "p_settled": 1.0,
        "no_leak": 1.0,
        "claim_leak": (0.0,) * len(CONCLUSION),
        "leak_claims": (),
    }
    assert oracle.asked == []


def test_what_only_the_target_tells_is_a_leak() -> None:
    oracle = target_shows(*CONCLUSION, "star emblem")
    found = asyncio.run(leakage(oracle.ask, evidence(conclusion=(*CONCLUSION, "star emblem"))))
    assert found["leak_claims"] == ("star emblem",)
    assert found["no_leak"] == pytest.approx(1 - 0.999 * 0.999)
    assert found["claim_leak"] == pytest.approx((0.0,) * len(CONCLUSION) + (0.999 * 0.999,))
    assert found["p_settled"] == pytest.approx(0.001)


def test_a_writer_that_sees_the_target_may_have_its_edits_from_there() -> None:
    teal = {
        "edits": (Edit(aspect="color", from_="red dress", to="teal dress"),),
        "kept": ("pattern", "sleeves", "neckline", "waist"),
        "conclusion": ("teal dress", *CAPTION[1:]),
        "rationale": "change color to teal dress, keep the rest",
    }
    blind = replace(evidence(**teal), modification="in a different color")
    oracle = Oracle(shown={REFERENCE: CAPTION, TARGET: blind.chain.conclusion.claims}, settled=CAPTION)
    assert asyncio.run(leakage(oracle.ask, blind))["leak_claims"] == () and not oracle.asked
    seeing = replace(blind, writer=replace(WRITER, sees_target=True))
    assert asyncio.run(leakage(oracle.ask, seeing))["leak_claims"] == ("teal dress",)
    oracle.asked.clear()
    told = replace(seeing, modification="a teal one")
    assert asyncio.run(leakage(oracle.ask, told))["leak_claims"] == () and not oracle.asked


def test_what_a_seeing_writer_edits_is_asked_also_where_no_claim_says_it() -> None:
    teal = evidence(
        edits=(Edit(aspect="color", from_="red", to="teal"),),
        conclusion=("plain", "long sleeves", "v neck"),
        rationale="The color changes from red to teal.",
    )
    seen = replace(teal, writer=replace(WRITER, sees_target=True), modification="in a different color")
    oracle = Oracle(shown={REFERENCE: CAPTION, TARGET: ("color: teal",)}, settled=())
    found = asyncio.run(leakage(oracle.ask, seen))
    assert found["leak_claims"] == ("color: teal",) and found["no_leak"] == pytest.approx(0.002, abs=1e-3)
    assert rationale_phrases(seen) == ("The color changes from red to teal",)
    assert rationale_phrases(teal) == ()


def test_what_a_seeing_writer_edits_is_asked_though_its_words_stand_elsewhere() -> None:
    bare = Edit(aspect="waist", from_="black belt", to="no belt")
    red = Edit(aspect="cube", from_="blue", to="red")
    seen = evidence(
        caption=("cube: blue", "red ball", "black belt"),
        edits=(bare, red),
        kept=(),
        conclusion=("cube: red", "red ball", "no belt"),
        rationale="keep the ball",
    )
    seen = replace(seen, writer=replace(WRITER, sees_target=True), modification="show the cube larger")
    oracle = Oracle(settled=(), modification=seen.modification)
    found = asyncio.run(leakage(oracle.ask, seen))
    assert found["p_settled"] == pytest.approx(0.001)


def test_an_invention_is_unsettled_but_no_leak() -> None:
    found = asyncio.run(leakage(Oracle().ask, evidence(conclusion=(*CONCLUSION, "star emblem"))))
    assert found["leak_claims"] == ()
    assert found["no_leak"] == pytest.approx(1 - 0.999 * 0.001)
    assert found["p_settled"] == pytest.approx(0.001)


def test_a_rewording_that_reference_and_request_settle_is_neither() -> None:
    oracle = Oracle(settled=("without sleeves",))
    changed = evidence(conclusion=("without sleeves", *CONCLUSION))
    found = asyncio.run(leakage(oracle.ask, changed))
    assert found["p_settled"] == pytest.approx(0.999) and found["no_leak"] == 1.0
    assert oracle.counted("verify") == 0, "the target is asked about unsettled claims only"


def test_a_rationale_leaks_through_words_that_nothing_else_has() -> None:
    told = evidence(rationale="change sleeves to sleeveless, the star emblem stays, keep the rest")
    assert rationale_phrases(told) == ("the star emblem stays",)
    assert rationale_phrases(EVIDENCE) == ()
    oracle = target_shows(*CONCLUSION, "the star emblem stays")
    assert asyncio.run(leakage(oracle.ask, told))["leak_claims"] == ("the star emblem stays",)


def test_a_lookalike_that_fits_as_well_leaves_no_margin_and_is_named() -> None:
    oracle = Oracle(shown={TARGET: CONCLUSION, OTHER: CONCLUSION, REFERENCE: CAPTION})
    fitting = replace(EVIDENCE, lookalikes=(("other", OTHER),))
    found = asyncio.run(hard_negatives(oracle.ask, fitting))
    assert found == {"margin": pytest.approx(0.5), "also_matches": ("other",)}
    oracle.shown = {TARGET: CONCLUSION, OTHER: ("blue dress",)}
    found = asyncio.run(hard_negatives(oracle.ask, fitting))
    assert found == {"margin": pytest.approx(0.999), "also_matches": ()}


def test_without_lookalikes_there_is_no_margin() -> None:
    assert asyncio.run(hard_negatives(Oracle().ask, EVIDENCE)) == {"margin": None, "also_matches": ()}


def encoder(**vectors: list[float]) -> dict[str, str]:
    return {name: json.dumps(vector) for name, vector in vectors.items()}


@pytest.mark.parametrize(("target", "found"), [([1.0, 0.1], True), ([0.0, 1.0], False)])
def test_the_round_trip_is_the_share_of_the_target(target: list[float], found: bool) -> None:
    told = {None: [1.0, 0.0], TARGET: target, REFERENCE: [0.7, 0.7]}
    asked: list[Request] = []

    async def embed(request: Request) -> Reply:
        asked.append(request)
        pictures = request.turns[0].pictures
        return Reply(json.dumps(told[pictures[0] if pictures else None]), "stop")

    score = asyncio.run(round_trip(Oracle().ask, replace(EVIDENCE, embed=embed, encoder="clip")))[
        "round_trip"
    ]
    assert isinstance(score, float) and (score > 0.999) is found and 0.0 <= score <= 1.0
    assert {request.model for request in asked} == {"clip"}
    assert len({request.digest() for request in asked}) == 3


def test_an_encoder_whose_vectors_are_too_large_to_compare_gives_no_answer() -> None:
    async def huge(request: Request) -> Reply:
        return Reply(json.dumps([1.5e308, -1.5e308, 1.5e308]), "stop")

    async def large(request: Request) -> Reply:
        return Reply(json.dumps([1e200, -1e200, 2e200]), "stop")

    with pytest.raises(Unanswered):
        asyncio.run(round_trip(Oracle().ask, replace(EVIDENCE, embed=huge, encoder="clip")))
    found = asyncio.run(round_trip(Oracle().ask, replace(EVIDENCE, embed=large, encoder="clip")))
    assert found["round_trip"] == pytest.approx(0.5)


def test_without_an_encoder_there_is_no_round_trip_and_a_broken_one_gives_no_answer() -> None:
    assert asyncio.run(round_trip(Oracle().ask, EVIDENCE)) == {"round_trip": None}

    async def broken(request: Request) -> Reply:
        return Reply("hello", "stop")

    with pytest.raises(Unanswered):
        asyncio.run(round_trip(Oracle().ask, replace(EVIDENCE, embed=broken, encoder="clip")))


LOOKING = replace(evidence(conclusion=("new hat", "new belt", "new bag")), lookalikes=(("c", OTHER),))


@pytest.mark.parametrize(
    ("check", "before"),
    [
        (grounded_caption, 2),
        (target_match, 0),
        (target_match, 4),
        (hard_negatives, 0),
        (leakage, 0),
        (round_trip, 0),
    ],
)
def test_all_questions_of_a_check_have_ended_when_it_fails_by_the_first_of_them(
    check: Callable[[Ask, Evidence], Awaitable[Findings]], before: int
) -> None:
    """The first `before` questions are answered; of the others the one asked last fails first."""
    begun: list[int] = []
    ended: list[int] = []

    async def ask(request: Request) -> Reply:
        number = len(begun)
        begun.append(number)
        try:
            if number < before:
                return letters(A=0.5, B=0.5)
            await asyncio.sleep(0.002 * (20 - number))
            raise Unanswered("no_answer", f"question {number}")
        finally:
            ended.append(number)

    async def failing() -> tuple[str, int]:
        with pytest.raises(Unanswered) as caught:
            await check(ask, replace(LOOKING, embed=ask, encoder="clip"))
        return str(caught.value), len(begun) - len(ended)

    assert asyncio.run(failing()) == (f"no_answer: question {before}", 0)
    assert len(begun) > before + 1
