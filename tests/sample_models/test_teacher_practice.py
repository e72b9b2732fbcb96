"""What the teacher practises on is true of the picture, and balanced."""

from __future__ import annotations

import random

import pytest

from sample import world
from sample.teacher.draw import draw_statement, draw_triplet


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
