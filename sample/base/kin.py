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

SIZE = 4
"""Looks of a family, each one attribute away from the one before."""


def draw_family(rng: random.Random, domain: world.Domain) -> list[world.Look]:
    """A look and its kin, of which each differs from the one before in one attribute."""
    family = [world.draw_look(rng, domain)]
    while len(family) < SIZE:
        family.append(world.one_attribute_neighbour(rng, family[-1]))
    return family


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
