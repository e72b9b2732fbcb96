"""The three writers: real layouts, planted dirt recorded, same seed same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, UnidentifiedImageError

from annotate.errors import UsageError
from sample.__main__ import main
from sample.vocabulary import ABSENT, GARMENT_ASPECTS, KINDS, SCENE_ASPECTS
from sample.writers import WRITERS, Sizes, plan
from sample.writers.cirr import HELD_OUT, RANKS, choose_edits, draw_subset, rivals
from sample.writers.dirt import RATES

DATASETS = ("cirr", "fashioniq", "circo")
REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = Sizes(train=45, val=36, test=6)
LARGE = Sizes(train=1000, val=300, test=100)


def _digest(root: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        whole.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return whole.hexdigest()


def _json(path: Path) -> Any:
    return json.loads(path.read_text())


def _truth(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "truth.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small dataset each, with its pictures."""
    roots = {name: tmp_path_factory.mktemp(name) for name in DATASETS}
    for name, root in roots.items():
        WRITERS[name](root, 7, SMALL, False)
    return roots


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The default sizes, with a stand-in for every picture: nothing here looks at pixels."""
    patch = pytest.MonkeyPatch()
    patch.setattr(plan, "image_bytes", lambda look, rng, kind: b"x" * 100)
    roots = {name: tmp_path_factory.mktemp(f"large-{name}") for name in DATASETS}
    for name, root in roots.items():
        WRITERS[name](root, 7, LARGE, False)
    patch.undo()
    return roots


def _wrong(line: dict[str, Any]) -> bool:
    return any(name.startswith("wrong_target") for name in line["dirt"])


@pytest.mark.parametrize("dataset", DATASETS)
def test_same_seed_gives_the_same_bytes_and_another_seed_others(
    dataset: str, written: dict[str, Path], tmp_path: Path
) -> None:
    WRITERS[dataset](tmp_path / "again", 7, SMALL, False)
    WRITERS[dataset](tmp_path / "other", 8, Sizes(5, 5, 5), False)
    WRITERS[dataset](tmp_path / "third", 7, Sizes(5, 5, 5), False)
    assert _digest(tmp_path / "again") == _digest(written[dataset])
    assert _digest(tmp_path / "other") != _digest(tmp_path / "third")


@pytest.mark.parametrize("dataset", DATASETS)
def test_bytes_do_not_depend_on_the_hash_seed_of_the_process(dataset: str, tmp_path: Path) -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        out = tmp_path / hash_seed
        command = [sys.executable, "-m", "sample", "write", "--dataset", dataset, "--out", str(out)]
        command += ["--seed", "5", "--train", "36", "--val", "36", "--test", "3"]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": hash_seed}, cwd=REPOSITORY)
        digests.add(_digest(out))
    assert len(digests) == 1


def test_the_page_on_the_sample_names_every_dirt(full_size: dict[str, Path]) -> None:
    page = (REPOSITORY / "docs" / "sample.md").read_text()
    for dataset in DATASETS:
        for name in {name for line in _truth(full_size[dataset]) for name in line["dirt"]}:
            assert f"`{name}`" in page


@pytest.mark.parametrize("dataset", DATASETS)
def test_differences_between_reference_and_target_are_edits_and_unmentioned(
    dataset: str, full_size: dict[str, Path]
) -> None:
    for line in _truth(full_size[dataset]):
        reference, target = line["reference"]["attributes"], line["target"]["attributes"]
        if _wrong(line):
            assert any(target[edit["aspect"]] != edit["to"] for edit in line["edits"])
            continue
        said = {e["aspect"]: (e["from"], e["to"]) for e in line["edits"] + line["unmentioned"]}
        differ = {a: (v, target[a]) for a, v in reference.items() if v != target[a]}
        assert said == differ
        assert all(ABSENT not in (e["from"], e["to"]) for e in line["unmentioned"])
        assert len(line["unmentioned"]) <= 3


@pytest.mark.parametrize("dataset", DATASETS)
def test_at_least_forty_percent_of_the_triplets_differ_in_something_unmentioned(
    dataset: str, full_size: dict[str, Path]
) -> None:
    lines = [line for line in _truth(full_size[dataset]) if not _wrong(line)]
    assert 0.4 <= sum(bool(line["unmentioned"]) for line in lines) / len(lines) <= 0.6


@pytest.mark.parametrize("dataset", DATASETS)
def test_eight_percent_of_the_targets_are_wrong_and_half_of_them_look_alikes(
    dataset: str, full_size: dict[str, Path]
) -> None:
    lines = _truth(full_size[dataset])
    counts = Counter(name for line in lines for name in line["dirt"] if name.startswith("wrong"))
    assert sum(counts.values()) / len(lines) == pytest.approx(0.08, abs=0.004)
    assert abs(counts["wrong_target_random"] - counts["wrong_target_lookalike"]) <= 4


@pytest.mark.parametrize(("dataset", "split"), [("cirr", "train"), ("fashioniq", "train"), ("circo", "val")])
def test_every_dirt_of_a_split_is_planted_about_as_often_as_in_the_real_files(
    dataset: str, split: str, full_size: dict[str, Path]
) -> None:
    lines = [line for line in _truth(full_size[dataset]) if line["triplet_id"].split("/")[1] == split]
    counts = Counter(name for line in lines for name in line["dirt"])
    rates = {name: getattr(RATES[dataset][split], name) for name in RATES[dataset][split].__slots__}
    for name, rate in rates.items():
        assert (counts[name] > 0) == (rate > 0), name
        assert counts[name] <= max(4, 1.3 * rate * len(lines)), name


def test_each_dirt_can_be_seen_in_the_files(written: dict[str, Path]) -> None:
    captions = {
        category: _json(written["fashioniq"] / "captions" / f"cap.{category}.train.json")
        for category in ("dress", "shirt", "toptee")
    }
    seen: set[str] = set()
    for line in _truth(written["fashioniq"]):
        _, split, category, place = line["triplet_id"].split("/")
        if split != "train":
            continue
        row = captions[category][int(place)]
        assert row["candidate"] == line["reference"]["image"]
        assert row["target"] == line["target"]["image"]
        first, second = row["captions"]
        images = [written["fashioniq"] / "images" / f"{row[end]}.jpg" for end in ("candidate", "target")]
        facts = {
            "both_captions_empty": not first.strip() and not second.strip(),
            "empty_caption": bool(first.strip()) != bool(second.strip()),
            "equal_captions": first == second != "",
            "stray_blanks": first != first.strip() or second != second.strip(),
            "exact_repeat": captions[category].index(row) < int(place),
            "missing_image": not all(path.exists() for path in images),
        }
        for name, holds in facts.items():
            assert holds == (name in line["dirt"]), (name, line["triplet_id"], row)
        seen.update(line["dirt"])
    assert seen >= set(facts)


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_picture_opens_save_the_undecodable_ones_that_truth_names(
    dataset: str, written: dict[str, Path]
) -> None:
    broken = set()
    for path in written[dataset].rglob("*"):
        if path.suffix not in (".png", ".jpg"):
            continue
        try:
            with Image.open(path) as picture:
                picture.load()
                assert picture.size == (128, 128)
        except (UnidentifiedImageError, OSError):
            broken.add(path.stem.lstrip("0"))
    named = [line for line in _truth(written[dataset]) if "undecodable_image" in line["dirt"]]
    assert named
    assert broken
    for line in named:
        assert broken & {line["reference"]["image"], line["target"]["image"]}


@pytest.mark.parametrize("dataset", DATASETS)
def test_clean_data_has_no_dirt_at_all(dataset: str, tmp_path: Path) -> None:
    WRITERS[dataset](tmp_path, 7, Sizes(40, 40, 4), True)
    assert not any(line["dirt"] for line in _truth(tmp_path))


@pytest.mark.parametrize("dataset", DATASETS)
def test_aspects_file_lists_the_truths_aspects(dataset: str, full_size: dict[str, Path]) -> None:
    names = _json(full_size[dataset] / "aspects.json")
    assert names == list(GARMENT_ASPECTS if dataset == "fashioniq" else SCENE_ASPECTS)
    assert list(_truth(full_size[dataset])[0]["reference"]["attributes"]) == names


def test_cirr_records_agree_with_their_subset_and_split_file(full_size: dict[str, Path]) -> None:
    for split, prefix in (("train", "train"), ("val", "dev"), ("test1", "test1")):
        records = _json(full_size["cirr"] / "captions" / f"cap.rc2.{split}.json")
        names = _json(full_size["cirr"] / "image_splits" / f"split.rc2.{split}.json")
        assert len(records) == {"train": 1000, "val": 300, "test1": 100}[split]
        assert len({record["pairid"] for record in records}) == len(records)
        for record in records:
            members = record["img_set"]["members"]
            assert len(set(members)) == 6
            assert record["reference"] in members
            assert set(members) <= set(names)
            if split != "test1":
                assert record["target_hard"] in members
                assert record["target_soft"][record["target_hard"]] == 1.0
        assert all(
            path.startswith(f"./{prefix}/") and path.endswith(f"/{n}.png") for n, path in names.items()
        )
    per_reference = 1000 / len(
        {r["reference"] for r in _json(full_size["cirr"] / "captions/cap.rc2.train.json")}
    )
    assert 1.3 < per_reference < 2.0


def test_cirr_test1_keeps_a_blank_caption_and_a_repeated_query(full_size: dict[str, Path]) -> None:
    records = _json(full_size["cirr"] / "captions" / "cap.rc2.test1.json")
    assert any(not record["caption"].strip() for record in records)
    assert len({(record["reference"], record["caption"]) for record in records}) < len(records)


def test_six_members_of_a_subset_differ_from_each_other_in_few_things() -> None:
    rng = random.Random(2)
    for _ in range(40):
        looks = draw_subset(rng)
        assert len(set(looks)) == 6
        for a, b in RANKS:
            edits = choose_edits(rng, looks[a], looks[b], [])
            differ = sum(x != y for x, y in zip(looks[a].attributes, looks[b].attributes, strict=True))
            assert 1 <= differ <= 8
            assert edits is None or 1 <= len(edits) <= 6


def test_a_cirr_text_fits_no_other_member_of_its_subset_as_well_as_the_target() -> None:
    """As CIRR's writers were told; else no retriever could know which member was meant."""
    rng, unclear, rows = random.Random(4), 0, 0
    for _ in range(100):
        looks = draw_subset(rng)
        for a, b in RANKS:
            others = [look for look in looks if look not in (looks[a], looks[b])]
            edits = choose_edits(rng, looks[a], looks[b], others)
            if edits is not None:
                rows += 1
                unclear += any(rivals(looks[a], edits, looks[b], look) for look in others)
    assert rows > 700 and unclear / rows < 0.01


def test_circo_asks_for_combinations_which_cirr_never_shows(full_size: dict[str, Path]) -> None:
    def pairs(line: dict[str, Any], end: str) -> set[tuple[str, str]]:
        shown = line[end]["attributes"]
        return {(kind, shown[kind].split()[-1]) for kind in KINDS if shown[kind] != ABSENT}

    for line in _truth(full_size["cirr"]):
        assert not (pairs(line, "reference") | pairs(line, "target")) & HELD_OUT
    for line in _truth(full_size["circo"]):
        assert pairs(line, "reference") & HELD_OUT
        assert _wrong(line) or pairs(line, "target") & HELD_OUT


def test_circo_queries_have_several_right_targets_in_the_gallery(full_size: dict[str, Path]) -> None:
    root = full_size["circo"]
    records = _json(root / "annotations" / "val.json")
    info = _json(root / "COCO2017_unlabeled" / "annotations" / "image_info_unlabeled2017.json")
    gallery = {image["id"] for image in info["images"]}
    for record in records:
        right = record["gt_img_ids"]
        assert right[0] == record["target_img_id"]
        assert len(set(right)) == len(right)
        assert record["reference_img_id"] not in right
        assert set(right) <= gallery
    assert 3 < sum(len(record["gt_img_ids"]) for record in records) / len(records) < 7
    assert all(image["file_name"] == f"{image['id']:012d}.jpg" for image in info["images"])


REAL_FILES = {
    "cirr": ("captions/cap.rc2.val.json", "captions/cap.rc2.test1.json"),
    "fashioniq": ("captions/cap.dress.train.json", "captions/cap.shirt.test.json"),
    "circo": ("annotations/val.json", "annotations/test.json"),
}


def _shape(value: object) -> object:
    """Keys and types, a list by its first item; names and ids that serve as keys are left out."""
    if isinstance(value, dict):
        return {key: _shape(part) for key, part in value.items() if key != "target_soft"}
    if isinstance(value, list):
        return [_shape(value[0])] if value else []
    return type(value).__name__


@pytest.mark.skipif(
    "CIR_REAL_DATA" not in os.environ, reason="CIR_REAL_DATA names no folder of real annotations"
)
@pytest.mark.parametrize("dataset", DATASETS)
def test_records_have_the_real_files_keys_in_the_real_order(dataset: str, full_size: dict[str, Path]) -> None:
    for name in REAL_FILES[dataset]:
        real = _json(Path(os.environ["CIR_REAL_DATA"]) / dataset / name)[0]
        ours = _json(full_size[dataset] / name)[0]
        assert _shape(ours) == _shape(real)
        assert list(ours) == list(real)


def test_write_refuses_a_folder_that_is_not_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "something").write_text("")
    assert main(["write", "--dataset", "cirr", "--out", str(tmp_path)]) == 2
    assert "not empty" in capsys.readouterr().err


def test_write_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--train", "9", "--val", "4", "--test", "2", "--seed", "3"]
    assert main(["write", "--dataset", "cirr", "--out", str(tmp_path / "new"), *flags]) == 0
    assert "9 train, 4 val, 2 test1 triplets" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("dataset", "sizes", "most"),
    [
        ("cirr", Sizes(train=80_001, val=0, test=0), "80,000"),
        ("cirr", Sizes(train=10, val=100_000, test=0), "80,000"),
        ("circo", Sizes(val=30_000, test=0), "29,095"),
        ("circo", Sizes(val=15_000, test=14_096), "29,095"),
    ],
)
def test_more_than_there_are_names_for_is_refused_before_anything_is_written(
    dataset: str, sizes: Sizes, most: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"{most} .* give at most as many"):
        WRITERS[dataset](tmp_path, 7, sizes, True)
    assert not list(tmp_path.iterdir())
