"""Families of look-alikes, rendered on the spot: not only which picture is right, but which is less wrong.

A vector that learned to tell right from wrong has no order among the wrong ones. A retriever needs it: its
target mostly differs in something that nobody mentioned, and must still come before what differs in more.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sample import world
from sample.teacher.pictures import round_trip

BRANCHES, LENGTH = 2, 2
SIZE = 1 + BRANCHES * LENGTH
"""Looks of a family: the first, and branches of it whose next look differs a little from the one before."""


def draw_family(rng: random.Random, domain: world.Domain) -> list[world.Look]:
    """A look and its kin. What is far on one branch has another difference than what is near on the other,
    so that differences of any kind are weighed against each other."""
    family = [world.draw_look(rng, domain)]
    for _ in range(BRANCHES):
        look = family[0]
        for _ in range(LENGTH):
            look = _new_kin(rng, look, family)
            family.append(look)
    return family


def _new_kin(rng: random.Random, look: world.Look, family: Sequence[world.Look]) -> world.Look:
    """Kin of `look` that is not in the family yet: a change may undo one, branches may make the same, and a
    text of one picture must not be called wrong for another that looks the same."""
    while True:
        kin = _akin(rng, look)
        if all(world.differences(kin, known) for known in family):
            return kin


def _akin(rng: random.Random, look: world.Look) -> world.Look:
    """A look that differs in one attribute or, as often, in what one difference of a scene can be: an object
    more or less, or another in its place."""
    if rng.random() < 0.5:
        return world.one_attribute_neighbour(rng, look)
    return world.apply(look, world.draw_edits(rng, look, 1))


def apart(family: Sequence[world.Look]) -> list[list[int]]:
    """In how many aspects any two of a family differ."""
    return [[len(world.differences(one, other)) for other in family] for one in family]


def photographed(rng: random.Random, looks: Sequence[world.Look]) -> NDArray[np.uint8]:
    """A new picture of each look; uint8 [n, 128, 128, 3]."""
    return np.stack([np.asarray(round_trip(world.render(look, rng))) for look in looks])


def graded_loss(scores: Tensor, away: Tensor) -> Tensor:
    """How unlikely the order by distance is under the scores (Plackett-Luce), both ways, a place.

    `scores` and `away` are [families, SIZE, SIZE], of texts against pictures. In each row the nearest must be
    drawn first, then the next nearest of the rest, and so on; draws between equally near ones do not count.
    """
    both = torch.cat([scores, scores.transpose(1, 2)])
    distance, order = torch.cat([away, away.transpose(1, 2)]).sort(dim=-1, stable=True)
    sorted_scores = both.gather(-1, order)
    rest = sorted_scores.flip(-1).logcumsumexp(-1).flip(-1)
    nearest = distance[..., :-1] < distance[..., 1:]
    drawn: Tensor = (rest - sorted_scores)[..., :-1]
    return drawn[nearest].mean()
