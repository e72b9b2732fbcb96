"""Verdicts are a pure function of scores and thresholds; every code has words a person understands."""

from __future__ import annotations

import math
import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.card import reasons_page
from annotate.errors import UsageError
from annotate.selection import (
    DEFAULT_THRESHOLDS,
    NOT_MEASURED,
    QUARANTINES,
    REASON_OF_SCORE,
    REASONS,
    REJECTIONS,
    checked_thresholds,
    is_rejected,
    verdict,
)
from schemas.row import Row

DOCS = Path(__file__).resolve().parents[2] / "docs"
PROBABILITY = st.floats(0.0, 1.0)


@pytest.mark.parametrize(
    ("p_match", "expected"), [(1.0, "accepted"), (0.95, "accepted"), (0.949999, "rejected")]
)
def test_the_threshold_itself_is_accepted(p_match: float, expected: str) -> None:
    assert verdict({"p_match": p_match}, {"p_match": 0.95})[0] == expected


def test_a_score_that_is_no_number_reaches_no_threshold() -> None:
    assert verdict({"round_trip": float("nan")}, {"round_trip": 0.0}) == ("rejected", ("not_found_again",))


@pytest.mark.parametrize(("score", "code"), REASON_OF_SCORE.items())
def test_each_score_below_its_threshold_has_its_own_reason(score: str, code: str) -> None:
    scores = dict.fromkeys(REASON_OF_SCORE, 1.0) | {score: 0.2}
    assert verdict(scores, dict.fromkeys(REASON_OF_SCORE, 0.5)) == ("rejected", (code,))


def test_a_target_that_differs_in_what_nobody_mentioned_is_no_reason_to_reject() -> None:
    scores = dict.fromkeys(DEFAULT_THRESHOLDS, 1.0)
    assert verdict({**scores, "p_match": 0.01}) == ("accepted", ())


@st.composite
def near_thresholds(draw: st.DrawFn) -> tuple[dict[str, float | None], dict[str, float]]:
    """Thresholds, and scores that mostly reach them: exactly, by much, missing them by nothing, or absent."""
    names = draw(st.sets(st.sampled_from(sorted(REASON_OF_SCORE)), min_size=1))
    thresholds = {name: draw(PROBABILITY) for name in sorted(names)}
    scores: dict[str, float | None] = {}
    for name in sorted(REASON_OF_SCORE):
        least = thresholds.get(name, 0.5)
        scores[name] = draw(st.sampled_from((*(1.0, least) * 5, math.nextafter(least, -1.0), None)))
    return scores, thresholds


@settings(deadline=None)
@given(near_thresholds(), st.randoms())
def test_a_row_is_accepted_when_each_score_that_has_a_threshold_reaches_it(
    drawn: tuple[dict[str, float | None], dict[str, float]], random: Random
) -> None:
    scores, thresholds = drawn
    shuffled = list(scores.items())
    random.shuffle(shuffled)
    found, reasons = verdict(scores, thresholds)
    assert (found, reasons) == verdict(dict(shuffled), thresholds)
    missed = {
        name for name, least in thresholds.items() if (value := scores[name]) is not None and value < least
    }
    unmeasured = any(scores[name] is None for name in thresholds)
    assert found == ("rejected" if missed or unmeasured else "accepted")
    expected = {REASON_OF_SCORE[name] for name in missed} or ({NOT_MEASURED} if unmeasured else set())
    assert set(reasons) == expected and len(reasons) == len(expected)
    assert is_rejected(scores, thresholds) == bool(missed)


@pytest.mark.parametrize("scores", [{}, {"p_match": None}])
def test_a_score_that_was_not_measured_accepts_nothing(scores: dict[str, float | None]) -> None:
    assert verdict(scores, {"p_match": 0.0}) == ("rejected", (NOT_MEASURED,))


@pytest.mark.parametrize("thresholds", [{}, {"p_macth": 0.9}, {"p_match": 1.5}, {"p_match": float("nan")}])
def test_thresholds_that_cannot_be_used_are_refused(thresholds: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        checked_thresholds(thresholds)


def test_default_thresholds_can_be_used_and_are_score_columns() -> None:
    assert checked_thresholds(DEFAULT_THRESHOLDS) == DEFAULT_THRESHOLDS
    assert set(REASON_OF_SCORE) <= set(Row.model_fields)


def test_a_misspelt_score_is_met_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown score 'p_edit' \(did you mean p_edits\?\); known: form, "):
        checked_thresholds({"p_edit": 0.9})
    with pytest.raises(UsageError, match="unknown score 'zzz'; known: "):
        checked_thresholds({"zzz": 0.9})


def test_a_code_is_in_one_group_and_explained_in_a_sentence() -> None:
    assert not set(REJECTIONS) & set(QUARANTINES)
    assert set(REASON_OF_SCORE.values()) <= set(REJECTIONS)
    for code, words in REASONS.items():
        assert re.fullmatch(r"[a-z_]+", code)
        assert words.endswith(".") and len(words.split()) >= 4


def test_the_reasons_page_is_current() -> None:
    assert (DOCS / "reasons.md").read_text(encoding="utf-8") == reasons_page()
