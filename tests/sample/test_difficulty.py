"""The world is no toy: readers that do not look get nowhere (full-size figure: the teacher's card)."""

from __future__ import annotations

import numpy as np
import pytest

from sample.difficulty import fit_probe, measure
from sample.vocabulary import Domain


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["garments", "scenes"])
def test_nearest_picture_and_thumbnail_probe_stay_below_a_quarter(domain: Domain) -> None:
    found = measure(domain, pictures=2000, held_out=150, steps=1000)
    assert found.nearest_exact < 0.25
    assert found.probe_exact < 0.25
    # Guessing alone gets fewer aspects right, so both did learn something and the bound says something.
    assert found.probe_aspects > 0.3


def test_probe_learns_what_a_thumbnail_shows() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (3000, 1))
    thumbnails = rng.integers(0, 255, (3000, 192)).astype(np.uint8)
    thumbnails[:, :20] = (labels * 100).astype(np.uint8)
    weights = fit_probe(thumbnails, labels, [2], steps=600)
    scaled = thumbnails.astype(np.float32) / 64 - 2
    read = (scaled @ weights[:-1] + weights[-1]).argmax(axis=1)
    assert (read == labels[:, 0]).mean() > 0.98
