"""What strings tell: which claim an edit overrides, which claim states it, which follows."""

from __future__ import annotations

import pytest

from annotate.checks.words import follows_as_string, kept_claims, overridden, states, stating
from schemas.answers import Edit
from tests.checks.oracle import CAPTION, chain

SCENE = ("the ball is small plain red", "the box is small plain red", "sand background")


def edit(aspect: str, old: str, new: str) -> Edit:
    return Edit(aspect=aspect, from_=old, to=new)


@pytest.mark.parametrize(
    ("claim", "value", "said"),
    [
        ("long sleeves", "long sleeves", True),
        ("Long  Sleeves", "long sleeves", True),
        ("blue ball", "blue", True),
        ("no belt", "belt", False),
        ("belt", "no belt", False),
        ("sleeveless", "", False),
    ],
)
def test_a_claim_states_a_value_when_it_has_its_words_and_negates_alike(
    claim: str, value: str, said: bool
) -> None:
    assert states(claim, value) is said


def test_the_aspect_tells_which_of_two_like_things_is_meant() -> None:
    assert overridden(edit("ball", "small plain red", "large plain red"), SCENE) == (SCENE[0],)
    assert overridden(edit("cone", "small plain red", "none"), SCENE) == ()
    assert overridden(edit("ball", "none", "small plain red"), SCENE) == ()


def test_another_thing_of_the_wanted_value_does_not_state_the_edit() -> None:
    change = edit("ball", "small plain red", "large plain red")
    assert stating(change, SCENE, ("the box is large plain red",)) == ()
    assert stating(change, SCENE, ("the ball is large plain red",)) == ("the ball is large plain red",)


@pytest.mark.parametrize(
    ("claim", "follows"),
    [
        ("red dress", True),
        ("sleeveless", True),
        ("it is sleeveless", True),
        ("long sleeves", False),
        ("sleeveless with a bow", False),
        ("striped", False),
    ],
)
def test_a_claim_follows_as_a_string_from_caption_and_edits(claim: str, follows: bool) -> None:
    assert follows_as_string(claim, chain()) is follows


def test_a_new_value_takes_the_place_of_the_old_one_in_its_claim() -> None:
    color = edit("color", "red", "blue")
    assert follows_as_string("blue dress", chain(edits=(color,)))
    assert not follows_as_string("blue shirt", chain(edits=(color,)))


def test_kept_claims_are_those_that_state_no_edit() -> None:
    assert kept_claims(chain()) == (0, 1, 3, 4)
    assert len(kept_claims(chain(conclusion=CAPTION))) == len(CAPTION)
