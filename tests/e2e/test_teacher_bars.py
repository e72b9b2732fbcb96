"""The sample's teacher keeps its bars through the real server, on triplets that it has never seen."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from annotate.prompts import PROMPT_FOLDER
from annotate.teacher.server import Server
from sample.teacher.evaluate import evaluate

pytestmark = pytest.mark.slow

COUNT, BLANK = 100, 40
BARS = {
    "caption": 0.93,
    "conclusion": 0.87,
    "claims_right": 0.99,
    "verify_one_claim": 0.99,
    "verify_edit": 0.97,
    "verify_random": 0.98,
    "verify_neighbour": 0.90,
    "follows": 0.95,
    "covers": 0.90,
}


def slack(bar: float, count: int) -> float:
    """Three standard deviations of a share that is exactly at its bar."""
    return 3 * float((bar * (1 - bar) / count) ** 0.5)


@pytest.fixture(scope="module")
def figures(teacher: Server) -> Mapping[str, Mapping[str, float]]:
    """Bars by domain; the card's figures come from the same function with 500 triplets."""
    return asyncio.run(evaluate(teacher.url, teacher.model, PROMPT_FOLDER, COUNT, BLANK))


@pytest.mark.parametrize("domain", ["garments", "scenes"])
@pytest.mark.parametrize("name", sorted(BARS))
def test_the_teacher_reaches_its_bar(
    figures: Mapping[str, Mapping[str, float]], domain: str, name: str
) -> None:
    assert figures[domain][name] >= BARS[name] - slack(BARS[name], COUNT)


@pytest.mark.parametrize("domain", ["garments", "scenes"])
def test_without_a_picture_it_knows_nothing(figures: Mapping[str, Mapping[str, float]], domain: str) -> None:
    blank = figures[domain]
    assert blank["blank_caption"] <= 0.05
    assert blank["blank_conclusion"] <= 0.05
    assert 0.3 <= blank["blank_verify_random"] <= 0.7
