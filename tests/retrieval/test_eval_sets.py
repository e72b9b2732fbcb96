"""What is opened to be measured on: whole, or with what is lacking counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from annotate.errors import InputError
from retrieval.eval_sets import open_eval_sets
from retrieval.evaluate import Choices
from retrieval.pictures import Pictures
from sample.writers import WRITERS, Sizes
from schemas.triplet import DATASETS, Dataset
from tests.retrieval import tiny_world


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_samples_worlds_can_be_measured_on_with_all_their_dirt(dataset: Dataset, tmp_path: Path) -> None:
    """train-eval renders these itself; a picture cut off must not end it after minutes of training."""
    WRITERS[dataset](tmp_path, 5, Sizes(train=40, val=60, test=30), False)
    pictures = Pictures()
    for eval_set in open_eval_sets(dataset, tmp_path, Choices(allow_missing=True)):
        assert eval_set.triplets
        for name in (*eval_set.gallery, *(triplet.reference for triplet in eval_set.triplets)):
            pictures.load(eval_set.images[name])


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


def test_a_picture_that_no_model_takes_is_found_before_anything_is_trained(tmp_path: Path) -> None:
    root = tiny_world.cirr(tmp_path, "val")
    narrow = root / "dev" / "dev-17-0-img0.png"
    Image.new("RGB", (402, 2)).save(narrow)
    with pytest.raises(InputError, match=r"dev-17-0-img0\.png: .*402 x 2 pixels are too narrow"):
        open_eval_sets("cirr", root, Choices(), decode=True)
    with pytest.raises(InputError, match="402 x 2 pixels are too narrow"):
        Pictures().load(narrow)
    Image.new("RGB", (400, 2)).save(narrow)
    Pictures().load(narrow)


def test_a_gallery_image_that_is_gone_stops_it_by_name(tmp_path: Path) -> None:
    WRITERS["circo"](tmp_path, 5, Sizes(train=0, val=60, test=0), True)
    (whole,) = open_eval_sets("circo", tmp_path, Choices())
    gone = whole.images[whole.gallery[0]]
    gone.unlink()
    with pytest.raises(InputError, match=gone.stem.lstrip("0")):
        open_eval_sets("circo", tmp_path, Choices())


def test_a_damaged_picture_is_named_before_anything_is_trained_and_the_looking_is_told(
    tmp_path: Path,
) -> None:
    root, said = tiny_world.cirr(tmp_path, "val"), list[str]()
    open_eval_sets("cirr", root, Choices(), say=said.append, decode=True)
    assert said == ["cirr val: 18/18 pictures decoded, 0 of them damaged"]
    damaged = root / "dev" / "dev-17-0-img0.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(
        InputError, match=r"dev-17-0-img0\.png: undecodable_image.* --allow-missing .*ALLOW_MIS"
    ):
        open_eval_sets("cirr", root, Choices(), decode=True)
    (left,) = open_eval_sets("cirr", root, Choices(allow_missing=True), say=said.append)
    assert len(left.gallery) == 17 and said[1:] == ["cirr val: 18/18 pictures decoded, 1 of them damaged"]
    open_eval_sets("cirr", root, Choices())  # whoever embeds at once looks but once


def test_a_query_that_cannot_be_asked_is_named_or_counted(tmp_path: Path) -> None:
    root = tiny_world.cirr(tmp_path, "val")
    captions = root / "captions" / "cap.rc2.val.json"
    records = json.loads(captions.read_text())
    records[3]["img_set"]["members"][5] = "dev-99-0-img0"
    captions.write_text(json.dumps(records))
    with pytest.raises(InputError, match="cirr/val/3 and 0 more queries name an image that the gallery"):
        open_eval_sets("cirr", root, Choices())
    (left,) = open_eval_sets("cirr", root, Choices(allow_missing=True))
    assert (len(left.triplets), len(left.expected.triplet_ids)) == (11, 12)


def test_missing_images_of_a_submission_cannot_be_allowed(tmp_path: Path) -> None:
    WRITERS["cirr"](tmp_path, 5, Sizes(train=0, val=0, test=70), True)
    (whole,) = open_eval_sets("cirr", tmp_path, Choices(), "test1")
    whole.images[whole.gallery[0]].unlink()
    with pytest.raises(InputError, match="a submission needs every image") as refused:
        open_eval_sets("cirr", tmp_path, Choices(), "test1")
    assert "allow-missing" not in str(refused.value)
