"""Caption modes, cleaning and what counts as a usable caption."""

from __future__ import annotations

import pytest

from annotate.datasets.captions import clean, join_captions, usable
from schemas.triplet import CaptionMode


@pytest.mark.parametrize(
    ("mode", "joined"),
    [
        ("and", "is Red. and has no belt?"),
        ("clip4cir", "Is red and has no belt"),
        ("reversed", "Has no belt and is Red"),
        ("first", "Is red"),
        ("second", "Has no belt"),
    ],
)
def test_each_mode_joins_two_captions_in_its_own_way(mode: CaptionMode, joined: str) -> None:
    assert join_captions((" is Red.", "has no belt? "), mode) == joined


@pytest.mark.parametrize("mode", ["and", "clip4cir", "reversed", "first", "second"])
def test_an_unusable_caption_leaves_no_dangling_and(mode: CaptionMode) -> None:
    assert join_captions(("", "is red"), mode).lower() == "is red"
    assert join_captions(("is red", " ?! "), mode).lower() == "is red"
    assert join_captions((" ", "."), mode) == ""


@pytest.mark.parametrize("mode", ["and", "clip4cir", "reversed", "first", "second"])
def test_a_single_caption_is_only_cleaned_whatever_the_mode(mode: CaptionMode) -> None:
    assert join_captions(("  show  three Bottles. ",), mode) == "show three Bottles."
    assert join_captions((" ",), mode) == ""


@pytest.mark.parametrize(
    "text", ["", "  ", "\t\n", "?!…", "—", "\u200b", "\ufeff", "\u00a0", "~", "\u0301", "«»"]
)
def test_a_caption_of_blanks_and_punctuation_is_not_usable(text: str) -> None:
    assert not usable(text)


@pytest.mark.parametrize("text", ["a", " 3 ", "é", "赤い", "🐶", "?x?"])
def test_a_caption_with_a_letter_digit_or_sign_is_usable(text: str) -> None:
    assert usable(text)


def test_cleaning_drops_control_characters_and_composes_accents() -> None:
    assert clean("a\x00b\tc\r\nd\u200be\u202ef  g\x1b[31m") == "a b c d" + "ef g [31m"
    assert clean("cafe\u0301") == "café"
    assert clean("\u00a0red\u3000dress\u2028") == "red dress"
    assert clean("👩\u200d🚀") == "👩\u200d🚀"
