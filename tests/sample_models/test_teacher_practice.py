"""What the teacher practises on is true of the picture, and balanced."""

from __future__ import annotations

import random

import pytest

from sample import world
from sample.claim_words import reworded
from sample.teacher.draw import (
    draw_settled,
    draw_shown_edit,
    draw_statement,
    draw_triplet,
    some_reworded,
    spoilt,
)


@pytest.mark.parametrize("domain", ["garments", "scenes"])
def test_statements_are_labelled_by_the_look_and_nearly_half_are_true(domain: world.Domain) -> None:
    rng = random.Random(f"{domain}-statements")
    verdicts = []
    for _ in range(1500):
        look = world.draw_look(rng, domain)
        claims, truths = draw_statement(rng, look)
        assert truths == [claim in world.claims(look) for claim in claims]
        assert claims
        verdicts.append(all(truths))
    assert 0.45 < sum(verdicts) / len(verdicts) < 0.6


@pytest.mark.parametrize("domain", ["garments", "scenes"])
def test_drawn_triplets_have_one_to_four_asked_changes_and_a_text(domain: world.Domain) -> None:
    rng = random.Random(f"{domain}-triplets")
    for _ in range(300):
        look = world.draw_look(rng, domain)
        edits, text = draw_triplet(rng, look)
        assert text.strip() == text and text
        assert 1 <= len(edits) <= 8
        assert world.apply(look, edits) != look


@pytest.mark.parametrize("domain", ["garments", "scenes"])
def test_an_edit_is_shown_exactly_when_the_look_has_the_value_after(domain: world.Domain) -> None:
    rng = random.Random(f"{domain}-edits")
    truths = []
    for _ in range(800):
        look = world.draw_look(rng, domain)
        edit, truth = draw_shown_edit(rng, look)
        assert (look.value(edit.aspect) == edit.new) is truth
        truths.append(truth)
    assert 0.45 < sum(truths) / len(truths) < 0.55


@pytest.mark.parametrize("domain", ["garments", "scenes"])
def test_spoilt_edits_are_another_set_of_edits(domain: world.Domain) -> None:
    rng = random.Random(f"{domain}-spoilt")
    for _ in range(500):
        look = world.draw_look(rng, domain)
        edits, _ = draw_triplet(rng, look)
        assert set(spoilt(rng, look, edits)) != set(edits)


@pytest.mark.parametrize("domain", ["garments", "scenes"])
def test_a_settled_claim_holds_of_reference_and_edits_and_an_unsettled_one_does_not(
    domain: world.Domain,
) -> None:
    rng = random.Random(f"{domain}-settled")
    truths = []
    for _ in range(500):
        case = draw_settled(rng, world.draw_look(rng, domain))
        wanted = world.claims(world.apply(case.reference, case.edits))
        assert (case.claim in wanted) is case.settled
        truths.append(case.settled)
    assert 0.45 < sum(truths) / len(truths) < 0.55


@pytest.mark.parametrize("domain", ["garments", "scenes"])
def test_a_reworded_claim_says_something_else_than_the_claim(domain: world.Domain) -> None:
    rng = random.Random(f"{domain}-reworded")
    ways = set()
    for _ in range(200):
        claim = rng.choice(world.claims(world.draw_look(rng, domain)))
        words = reworded(rng, claim)
        assert words
        ways.add(words != claim)
    assert True in ways


@pytest.mark.parametrize(
    ("claim", "of_color_alone"), [("green dress", False), ("red dress", True), ("green shirt", True)]
)
def test_a_claim_that_its_category_makes_untrue_is_not_said_without_it(
    claim: str, of_color_alone: bool
) -> None:
    """Of a green shirt "its color is green" is true, and "green dress" is not."""
    rng = random.Random(claim)
    look = world.draw_look(rng, "garments", "shirt")
    look = world.apply(look, [world.Edit("color", look.value("color"), "green")])
    said = {words for _ in range(400) for words in some_reworded(rng, look, [claim])}
    assert any(words.startswith("its color is") for words in said) is of_color_alone
    assert len(said) > 3
