"""What is refused as training data, each with its one line; the stream's order, skipping and captions."""

from __future__ import annotations

import dataclasses
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from annotate.errors import InputError, OutputError, UsageError
from retrieval.conversation import chain_part
from retrieval.data import TrainCaptions, chances_of, examples, hard_negatives_a_row
from retrieval.defaults import default_roots
from retrieval.objective import image_key
from retrieval.pictures import Pictures
from retrieval.schedule import TrainSettings
from retrieval.sources import (
    check_one_kind,
    data_digest,
    default_sources,
    open_source,
    parse_image_roots,
)
from tests.retrieval import tiny_world

WEIGHTS = {"cirr": 1.0, "fashioniq": 3.0}
KEYS = {image_key("cirr", f"train-{i}-0-img0") for i in range(18)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tiny_world.cirr(tmp_path / "cirr", "train")


def test_a_complete_folder_is_opened_with_its_rows_and_images(tmp_path: Path, root: Path) -> None:
    source = open_source(tiny_world.published(tmp_path / "out", root))
    assert (source.n_rows, source.dataset, len(source.images)) == (12, "cirr", 13)
    assert len(data_digest([source])) == 64


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "incomplete"}, "its run is incomplete"),
        ({"dataset": "circo"}, "CIRCO is for evaluation only"),
        ({"split": "val"}, "annotates val, which is evaluated on"),
        ({"files": {}}, "nothing to train on"),
        ({"root": "nowhere"}, "root is gone; pass where it lies now as --image-root"),
    ],
)
def test_unusable_manifests_are_refused(tmp_path: Path, root: Path, changes: Any, words: str) -> None:
    out = tiny_world.published(tmp_path / "out", root, **changes)
    with pytest.raises(InputError, match=words):
        open_source(out)


def test_missing_broken_or_exchanged_files_are_refused(tmp_path: Path, root: Path) -> None:
    with pytest.raises(OutputError, match=r"holds no manifest\.json, nothing is published there; run make"):
        open_source(tmp_path)
    out = tiny_world.published(tmp_path / "out", root)
    part = out / "train" / "part-00000.parquet"
    part.write_bytes(part.read_bytes() + b"x")
    with pytest.raises(InputError, match="is not the file that the manifest names"):
        open_source(out)
    part.unlink()
    with pytest.raises(InputError, match="is gone, but the manifest names it"):
        open_source(out)
    (out / "manifest.json").write_text("{}")
    with pytest.raises(OutputError, match="fields are wrong"):
        open_source(out)


def test_images_that_are_gone_or_changed_are_named(tmp_path: Path, root: Path) -> None:
    out = tiny_world.published(tmp_path / "out", root)
    source = open_source(out)
    example = next(examples([source], seed=0))
    pictures = Pictures()
    pictures.load(example.target, example.target_digest)
    tiny_world.picture(example.target, 999)
    with pytest.raises(InputError, match="has changed since it was annotated"):
        Pictures().load(example.target, example.target_digest)
    example.target.unlink()
    with pytest.raises(
        InputError, match=rf"image {example.target.stem} of cirr/train/\d+ and 0 more are gone"
    ):
        open_source(out)


def test_a_selection_made_during_training_changes_nothing_and_one_made_just_before_is_refused(
    tmp_path: Path, root: Path
) -> None:
    out = tiny_world.published(tmp_path / "out", root, rows=4)
    source = open_source(out)
    stream = examples([source], seed=0)
    seen = {example.triplet_id for example in islice(stream, 2)}
    other = tiny_world.published(tmp_path / "other", root, rows=12)
    (other / "train" / "part-00000.parquet").replace(out / "train" / "part-00000.parquet")
    seen |= {example.triplet_id for example in islice(stream, 40)}
    assert seen == {f"cirr/train/{number}" for number in range(4)}
    with pytest.raises(InputError, match="is not the file that the manifest names"):
        next(examples([source], seed=0))


def test_a_garment_of_two_categories_is_the_picture_that_was_annotated(tmp_path: Path, root: Path) -> None:
    """One ASIN in two category folders: `annotate run` on all categories took the first of them."""
    for place, seed in (("shirt/B1", 1), ("toptee/B1", 2), ("toptee/B2", 3)):
        tiny_world.picture(tmp_path / "fiq" / f"{place}.png", seed)
    each = {"dataset": "fashioniq", "category": "toptee", "reference": "B1", "target": "B2", "subset": ()}
    for category, folder in ((None, "shirt"), ("toptee", "toptee")):
        changes = {"dataset": "fashioniq", "root": str(tmp_path / "fiq"), "category": category}
        out = tiny_world.published(tmp_path / folder, root, rows=1, each=each, **changes)
        source = open_source(out)
        assert source.images["B1"] == tmp_path / "fiq" / folder / "B1.png"


def test_a_moved_root_is_found_by_image_root(tmp_path: Path, root: Path) -> None:
    out = tiny_world.published(tmp_path / "out", root, root="elsewhere")
    for given in ([str(root)], [f"cirr={root}", "/gone"], [f"cirr={root}", f"fashioniq={tmp_path}"]):
        source = open_source(out, parse_image_roots(given))
        assert (source.n_rows, source.root) == (12, root)
    assert default_roots([source], print) == {"cirr": root}  # where to measure, too
    with pytest.raises(InputError, match="root is gone"):
        open_source(out, parse_image_roots(["/gone", f"fashioniq={root}"]))


def test_one_dataset_has_one_root() -> None:
    for given in (["/a", "/b"], ["cirr=/a", "fashioniq=/c", "cirr=/b"]):
        with pytest.raises(UsageError, match=rf"--image-root {given[-1]}: a second root"):
            parse_image_roots(given)


def test_default_sources_take_the_users_folders_before_the_samples(tmp_path: Path, root: Path) -> None:
    with pytest.raises(InputError, match="no complete"):
        default_sources(tmp_path)
    sample = tiny_world.published(tmp_path / "cirr-train", root, source="sample")
    tiny_world.published(tmp_path / "half-train", root, status="incomplete")
    assert default_sources(tmp_path) == [sample]
    user = tiny_world.published(tmp_path / "user-cirr-train", root)
    assert default_sources(tmp_path) == [user]
    with pytest.raises(UsageError, match="sample and user shards are not trained on together"):
        check_one_kind([open_source(sample), open_source(user)])


def test_the_stream_is_the_same_every_time_and_skipping_equals_having_read(
    tmp_path: Path, root: Path
) -> None:
    source = open_source(tiny_world.published(tmp_path / "out", root))
    whole = list(islice(examples([source], seed=3, hard_negatives=2), 40))
    assert list(islice(examples([source], seed=3, skip=17, hard_negatives=2), 23)) == whole[17:]
    assert list(islice(examples([source], seed=4, hard_negatives=2), 40)) != whole
    assert set(Counter(e.triplet_id for e in whole[:36]).values()) == {3}, "each epoch has every row once"


def test_examples_carry_chain_positives_and_hard_negatives(tmp_path: Path, root: Path) -> None:
    source = open_source(tiny_world.published(tmp_path / "out", root))
    for example in islice(examples([source], seed=0, hard_negatives=2), 12):
        index = int(example.triplet_id.rsplit("/", 1)[1])
        assert chain_part(example.chain, "conclusion") == f"{tiny_world.COLOURS[(index + 1) % 6]} picture"
        assert example.target_key == image_key("cirr", f"train-{index + 1}-0-img0")
        assert example.positive_keys == (example.target_key,)
        others = {f"train-{i}-0-img0" for i in range(index + 2, index + 6)}
        assert {path.stem for path in example.hard} <= others and len(set(example.hard)) == 2
        assert example.hard_keys == tuple(image_key("cirr", path.stem) for path in example.hard)


def test_what_else_fits_a_row_is_a_positive_and_no_hard_negative(tmp_path: Path, root: Path) -> None:
    fitting = {"positives": ("train-3-0-img0",), "also_matches": ("train-5-0-img0",)}
    source = open_source(tiny_world.published(tmp_path / "out", root, rows=1, each=fitting))
    example = next(examples([source], seed=0, hard_negatives=4))
    names = ["train-1-0-img0", "train-3-0-img0", "train-5-0-img0"]
    assert example.positive_keys == tuple(image_key("cirr", name) for name in names)
    assert {path.stem for path in example.hard} == {"train-2-0-img0", "train-4-0-img0"}


def test_hard_negatives_are_all_members_that_are_there_also_those_of_no_other_row(
    tmp_path: Path, root: Path
) -> None:
    out = tiny_world.published(tmp_path / "out", root, rows=2)  # as with LIMIT: images 3 to 6 are no row's
    source = open_source(out)
    assert {name.split("-")[1] for name in source.images} == set("012")
    assert {name.split("-")[1] for name in source.members} == set("3456")
    assert [len(each.hard) for each in islice(examples([source], seed=0, hard_negatives=4), 2)] == [4, 4]
    assert hard_negatives_a_row([source], 4) == 4 and hard_negatives_a_row([source], 1) == 1
    for number in (3, 6):
        (root / "train" / f"train-{number}-0-img0.png").unlink()
    left = open_source(out)
    assert {len(each.hard) for each in islice(examples([left], seed=0, hard_negatives=4), 2)} == {2, 3}
    assert hard_negatives_a_row([left], 4) == 2.5 and hard_negatives_a_row([left], 2) == 2


@pytest.mark.parametrize(
    ("captions", "texts"),
    [
        ("both", {"Is red and no belt", "No belt and is red"}),
        ("clip4cir", {"Is red and no belt", "No belt and is red", "Is red", "No belt"}),
        ("and", {"is red and no belt"}),
    ],
)
def test_captions_are_drawn_as_the_mode_says_by_default_both_since_the_chain_answers_both(
    tmp_path: Path, root: Path, captions: TrainCaptions, texts: set[str]
) -> None:
    out = tiny_world.published(tmp_path / "out", root, each={"modifications": ("is red", "no belt")})
    drawn = {example.text for example in islice(examples([open_source(out)], 0, captions=captions), 60)}
    assert drawn == texts
    assert TrainSettings().captions == "both"


def test_datasets_are_mixed_by_weight_shared_among_their_sources(tmp_path: Path, root: Path) -> None:
    one = open_source(tiny_world.published(tmp_path / "one", root, rows=12))
    two = open_source(tiny_world.published(tmp_path / "two", root, rows=4))
    other = dataclasses.replace(two, manifest=two.manifest.model_copy(update={"dataset": "fashioniq"}))
    by_rows = chances_of([one, two, other], None)
    assert by_rows == [12, 4, 4]
    assert chances_of([one, two, other], {"cirr": 1.0, "fashioniq": 3.0}) == [0.75, 0.25, 3.0]
    drawn = Counter(e.target_key in KEYS for e in islice(examples([one, other], 0, weights=WEIGHTS), 400))
    assert 70 < drawn[True] < 130, "a quarter of the examples is CIRR's"
    for wrong in ({"cirr": 1.0}, {"cirr": 0.0, "fashioniq": 0.0}, {"cirr": 1.0, "fashioniq": -1.0}):
        with pytest.raises(UsageError, match="do not weigh the datasets cirr, fashioniq"):
            next(examples([one, other], seed=0, weights=wrong))


def test_images_of_several_recipes_are_not_mixed(tmp_path: Path, root: Path) -> None:
    one = open_source(tiny_world.published(tmp_path / "one", root))
    two = open_source(tiny_world.published(tmp_path / "two", root, image_recipe="fit224-q90-v1"))
    with pytest.raises(UsageError, match="images of several recipes"):
        check_one_kind([one, two])
