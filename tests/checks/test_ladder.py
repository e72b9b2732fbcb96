"""The ladder: order, complete columns, early stops that change no verdict, costs counted once a question."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.checks import CHECKS, DEFAULT_CHECKS, Check, Evidence, Findings, choose, measured
from annotate.checks.ladder import Climbed, Costs, climb
from annotate.errors import UsageError
from annotate.selection import DEFAULT_THRESHOLDS, REASON_OF_SCORE, is_rejected, verdict
from annotate.teacher.request import Ask
from schemas.row import Row
from tests.checks.oracle import CAPTION, CONCLUSION, EVIDENCE, REFERENCE, TARGET, Oracle, evidence


def fixed(name: str, **findings: float | None) -> Check:
    async def run(ask: Ask, evidence: Evidence) -> Findings:
        return findings

    return Check(name, tuple(findings) or ("missing",), 0, run)


def decided(scores: Mapping[str, float | None]) -> bool:
    return is_rejected(scores, DEFAULT_THRESHOLDS)


def walk(evidence: Evidence, oracle: Oracle, checks: tuple[Check, ...], early_stop: bool = True) -> Climbed:
    return asyncio.run(climb(oracle.ask, evidence, checks, decided if early_stop else lambda scores: False))


def test_checks_have_distinct_names_and_columns_that_row_and_selection_know() -> None:
    columns = [column for check in CHECKS for column in (*check.columns, *check.details)]
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert len(set(columns)) == len(columns)
    assert set(columns) <= set(Row.model_fields)
    assert set(REASON_OF_SCORE) == set(measured(CHECKS))
    assert set(DEFAULT_THRESHOLDS) <= set(measured(DEFAULT_CHECKS))


def test_scores_come_in_the_order_of_the_checks_and_none_may_be_left_out() -> None:
    found = asyncio.run(climb(Oracle().ask, EVIDENCE, (fixed("one", one=0.5), fixed("two", two=None))))
    assert found.scores == {"one": 0.5, "two": None}
    with pytest.raises(RuntimeError, match="three"):
        asyncio.run(climb(Oracle().ask, EVIDENCE, (fixed("three"),)))


def test_a_rejected_row_is_asked_no_further_and_says_what_was_left_out() -> None:
    oracle = Oracle()
    found = walk(evidence(conclusion=(*CONCLUSION, "plain")), oracle, DEFAULT_CHECKS)
    assert found.scores == {"form": 0.5}
    assert found.skipped == ("coherence", "grounded_caption", "target_match", "leakage")
    assert oracle.asked == []


def test_a_writer_that_saw_the_target_is_asked_for_leaks_even_when_rejected() -> None:
    seen = replace(
        evidence(conclusion=(*CONCLUSION, "plain", "star emblem")),
        writer=replace(EVIDENCE.writer, sees_target=True),
    )
    oracle = Oracle(shown={REFERENCE: CAPTION, TARGET: (*CONCLUSION, "star emblem")})
    found = walk(seen, oracle, DEFAULT_CHECKS)
    assert "leakage" not in found.skipped and found.details["leak_claims"] == ("star emblem",)


@settings(deadline=None, max_examples=60)
@given(
    st.fixed_dictionaries(
        {name: st.sampled_from((1.0,) * 6 + (least, least / 2)) for name, least in DEFAULT_THRESHOLDS.items()}
    )
)
def test_stopping_early_never_changes_a_verdict(scores: dict[str, float]) -> None:
    """Each score is mostly good: a third of the rows is accepted, the others fail late as often as early."""
    checks = tuple(fixed(name, **{name: value}) for name, value in scores.items())
    stopped = walk(EVIDENCE, Oracle(), checks).scores
    whole = walk(EVIDENCE, Oracle(), checks, early_stop=False).scores
    assert verdict(stopped)[0] == verdict(whole)[0]
    assert set(verdict(stopped)[1]) <= set(verdict(whole)[1])


def test_the_default_ladder_asks_at_most_fifteen_requests_of_a_row_with_an_unmentioned_change() -> None:
    oracle = Oracle(shown={REFERENCE: CAPTION, TARGET: (*CONCLUSION[:1], "striped", *CONCLUSION[2:])})
    found = walk(EVIDENCE, oracle, DEFAULT_CHECKS)
    assert verdict(found.scores) == ("accepted", ())
    assert len(oracle.asked) <= 15


def test_a_question_shared_by_two_rows_is_counted_once() -> None:
    oracle, costs = Oracle(), Costs()
    for _ in range(2):
        asyncio.run(climb(oracle.ask, EVIDENCE, DEFAULT_CHECKS, decided, costs))
    assert costs.requests == {"coherence": 2, "grounded_caption": 2, "target_match": 4}
    assert set(costs.seconds) == set(costs.requests)


@pytest.mark.parametrize(
    ("names", "thresholds", "words"),
    [
        (("form",), ("p_match",), "leaves out"),
        (("round_trip",), (), "ENCODER_URL"),
    ],
)
def test_checks_that_cannot_be_chosen(
    names: tuple[str, ...], thresholds: tuple[str, ...], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        choose(names, thresholds)


def test_no_names_mean_the_default_checks_and_an_encoder_adds_the_round_trip() -> None:
    assert choose((), ()) == DEFAULT_CHECKS
    assert {check.name for check in choose((), (), encoder=True)} - {c.name for c in DEFAULT_CHECKS} == {
        "round_trip"
    }
    assert [check.name for check in choose(("target_match", "form"), ())] == ["form", "target_match"]
