"""What is opened to be measured on: whole, or with what is lacking counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotate.errors import InputError
from retrieval.evaluate import Choices, open_eval_sets
from retrieval.pictures import Pictures
from sample.writers import WRITERS, Sizes
from schemas.triplet import DATASETS, Dataset


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_samples_worlds_can_be_measured_on_with_all_their_dirt(dataset: Dataset, tmp_path: Path) -> None:
    """train-eval renders these itself; a picture cut off must not end it after minutes of training."""
    WRITERS[dataset](tmp_path, 5, Sizes(train=40, val=60, test=30), False)
    pictures = Pictures()
    for eval_set in open_eval_sets(dataset, tmp_path, Choices(allow_missing=True)):
        assert eval_set.triplets
        assert all(pictures.decodes(eval_set.images[name]) for name in eval_set.gallery)
        assert all(pictures.decodes(eval_set.images[t.reference]) for t in eval_set.triplets)


def test_a_damaged_gallery_image_counts_as_missing_where_missing_ones_are_allowed(tmp_path: Path) -> None:
    WRITERS["circo"](tmp_path, 5, Sizes(train=0, val=60, test=0), True)
    (whole,) = open_eval_sets("circo", tmp_path, Choices())
    harmless = set(whole.gallery) - {n for t in whole.triplets for n in (t.reference, t.target, *t.positives)}
    damaged = whole.images[min(harmless)]
    damaged.write_bytes(damaged.read_bytes()[:100])
    (lacking,) = open_eval_sets("circo", tmp_path, Choices(allow_missing=True))
    assert len(lacking.gallery) == len(whole.gallery) - 1
    assert len(lacking.triplets) == len(whole.triplets)
    assert len(lacking.expected.gallery or ()) == len(whole.gallery)


def test_a_gallery_image_that_is_gone_stops_it_by_name(tmp_path: Path) -> None:
    WRITERS["circo"](tmp_path, 5, Sizes(train=0, val=60, test=0), True)
    (whole,) = open_eval_sets("circo", tmp_path, Choices())
    gone = whole.images[whole.gallery[0]]
    gone.unlink()
    with pytest.raises(InputError, match=gone.stem.lstrip("0")):
        open_eval_sets("circo", tmp_path, Choices())
