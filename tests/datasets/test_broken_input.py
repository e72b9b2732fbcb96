"""Whatever is broken in ROOT or a file is one `InputError` line: which file, which record, what to do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotate.datasets import load_gallery, load_triplets
from annotate.errors import InputError

MakeRoot = Callable[..., Path]
RecordsOf = Callable[[str], list[dict[str, Any]]]

FILES = {
    "fashioniq": ("train", "captions/cap.dress.train.json"),
    "cirr": ("train", "captions/cap.rc2.train.json"),
    "circo": ("val", "annotations/val.json"),
}


def complaint(dataset: str, root: Path, split: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        load_triplets(dataset, split or FILES[dataset][0], root)
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.exit_status == 2
    return message


@pytest.mark.parametrize("dataset", FILES)
def test_broken_json_names_file_line_and_column(dataset: str, make_root: MakeRoot) -> None:
    root = make_root(dataset, '[\n  {"a": 1},\n  {"b": }\n]')
    message = complaint(dataset, root)
    assert f"{root / FILES[dataset][1]}: broken JSON at line 3 column 9" in message


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "line 1 column 1"),
        ("[" * 100_000, "nested too deeply"),
        ('[{"pairid": ' + "9" * 5000 + "}]", "mend it"),
        ('[{"pairid": 1, "pairid": 2}]', "key 'pairid' twice"),
        ("{}", "should be a list of records, is an object"),
        ("[]", "holds no records"),
        ("[1]", "record 0: should be an object, is a number"),
        ("null", "is null"),
    ],
)
def test_json_that_holds_no_records_says_what_it_is(text: str, named: str, make_root: MakeRoot) -> None:
    assert named in complaint("cirr", make_root("cirr", text))


def test_text_that_is_not_utf8_names_the_byte(make_root: MakeRoot) -> None:
    root = make_root("cirr")
    (root / FILES["cirr"][1]).write_bytes(b'[{"caption": "caf\xe9"}]')
    assert "not UTF-8 at byte 17" in complaint("cirr", root)


@pytest.mark.parametrize(
    ("dataset", "field"),
    [
        ("fashioniq", "candidate"),
        ("fashioniq", "target"),
        ("fashioniq", "captions"),
        ("cirr", "pairid"),
        ("cirr", "reference"),
        ("cirr", "target_hard"),
        ("cirr", "target_soft"),
        ("cirr", "caption"),
        ("cirr", "img_set"),
        ("circo", "id"),
        ("circo", "reference_img_id"),
        ("circo", "target_img_id"),
        ("circo", "gt_img_ids"),
        ("circo", "relative_caption"),
        ("circo", "semantic_aspects"),
    ],
)
def test_a_missing_field_names_file_record_and_field(
    dataset: str, field: str, make_root: MakeRoot, records_of: RecordsOf
) -> None:
    records = records_of(dataset)
    del records[1][field]
    message = complaint(dataset, make_root(dataset, records))
    assert Path(FILES[dataset][1]).name in message
    assert "record 1" in message
    assert f"field '{field}' is missing" in message


@pytest.mark.parametrize(
    ("dataset", "field", "value"),
    [
        ("fashioniq", "candidate", 3),
        ("fashioniq", "captions", "is red"),
        ("fashioniq", "captions", ["is red"]),
        ("fashioniq", "captions", ["is red", None]),
        ("fashioniq", "target", None),
        ("cirr", "pairid", "11"),
        ("cirr", "pairid", True),
        ("cirr", "pairid", 1.5),
        ("cirr", "pairid", -1),
        ("cirr", "pairid", 10**4_200),
        ("circo", "id", 10**18),
        ("cirr", "caption", ["a"]),
        ("cirr", "target_soft", {"train-1-0-img0": "1.0"}),
        ("cirr", "target_soft", {"train-1-0-img0": float("nan")}),
        ("cirr", "img_set", {"members": "abc"}),
        ("circo", "id", None),
        ("circo", "reference_img_id", "000000000007"),
        ("circo", "reference_img_id", 10**12),
        ("circo", "gt_img_ids", []),
    ],
)
def test_a_wrong_type_names_file_record_and_field(
    dataset: str, field: str, value: object, make_root: MakeRoot, records_of: RecordsOf
) -> None:
    records = records_of(dataset)
    records[1][field] = value
    message = complaint(dataset, make_root(dataset, records))
    assert "record 1" in message
    assert field in message
    assert "download the file again" in message


def test_a_broken_record_is_named_by_its_own_id_too(make_root: MakeRoot, records_of: RecordsOf) -> None:
    records = records_of("cirr")
    del records[2]["caption"]
    assert "record 2 (pairid 12)" in complaint("cirr", make_root("cirr", records))


@pytest.mark.parametrize(("dataset", "field"), [("cirr", "pairid"), ("circo", "id")])
def test_the_same_id_twice_is_a_broken_file(
    dataset: str, field: str, make_root: MakeRoot, records_of: RecordsOf
) -> None:
    records = records_of(dataset)
    records[1][field] = records[0][field]
    assert f"{field} {records[0][field]} twice (records 0 and 1)" in complaint(
        dataset, make_root(dataset, records)
    )


@pytest.mark.parametrize(
    "name",
    [
        "../B01",
        "/etc/passwd",
        "a/b",
        "..",
        ".",
        "",
        "a\\b",
        "a\u0000b",
        ".hidden",
        "a\nb",
        "C:\\x",
        "x" * 256,
    ],
)
@pytest.mark.parametrize(("dataset", "field"), [("fashioniq", "candidate"), ("cirr", "target_hard")])
def test_an_image_name_that_could_leave_its_folder_is_refused_with_its_record(
    dataset: str, field: str, name: str, make_root: MakeRoot, records_of: RecordsOf
) -> None:
    records = records_of(dataset)
    records[1][field] = name
    message = complaint(dataset, make_root(dataset, records))
    assert "record 1" in message
    assert field in message
    assert "not a plain image name" in message


def test_traversal_in_members_and_target_soft_is_refused(make_root: MakeRoot, records_of: RecordsOf) -> None:
    records = records_of("cirr")
    records[0]["img_set"]["members"] = ["../x", "b"]
    assert "img_set.members.0" in complaint("cirr", make_root("cirr", records))
    records = records_of("cirr")
    records[0]["target_soft"] = {"../x": 1.0}
    assert "record 0" in complaint("cirr", make_root("cirr", records))


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "/etc/passwd", "./a/../b.png", "a//b", "a\\b", "a\u0000b", ""]
)
def test_a_path_in_the_split_file_that_leaves_root_is_refused(path: str, make_root: MakeRoot) -> None:
    root = make_root("cirr")
    split_file = root / "image_splits/split.rc2.train.json"
    split_file.write_text(json.dumps(json.loads(split_file.read_text()) | {"train-0-0-img0": path}))
    assert "split.rc2.train.json: entry 'train-0-0-img0'" in complaint("cirr", root)


def test_a_missing_root_says_so(tmp_path: Path) -> None:
    assert "does not exist" in complaint("cirr", tmp_path / "nowhere")


def test_a_root_that_is_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "is a file" in complaint("cirr", tmp_path / "file")


def test_an_unreadable_root_says_so(make_root: MakeRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_root("cirr")

    def refuse(path: Path) -> None:  # mode 000 would not stop a test that runs as root
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    message = complaint("cirr", root)
    assert "Permission denied" in message
    assert "check the path and its permissions" in message


def test_an_annotation_path_that_is_a_folder_says_so(make_root: MakeRoot) -> None:
    root = make_root("cirr")
    path = root / FILES["cirr"][1]
    path.unlink()
    path.mkdir()
    assert "cap.rc2.train.json" in complaint("cirr", root)


@pytest.mark.parametrize(
    ("there", "asked", "named"),
    [
        ("cirr", "fashioniq", "looks like CIRR; use DATASET=cirr"),
        ("fashioniq", "cirr", "looks like FashionIQ; use DATASET=fashioniq"),
        ("circo", "cirr", "looks like CIRCO; use DATASET=circo"),
        ("cirr", "circo", "looks like CIRR; use DATASET=cirr"),
    ],
)
def test_a_root_of_another_dataset_says_which(
    there: str, asked: str, named: str, make_root: MakeRoot
) -> None:
    assert named in complaint(asked, make_root(there))


def test_a_root_one_folder_too_high_names_the_right_one(make_root: MakeRoot) -> None:
    root = make_root("fashioniq")
    assert f"did you mean ROOT={root}?" in complaint("fashioniq", root.parent)


def test_an_empty_root_says_what_is_needed(tmp_path: Path) -> None:
    message = complaint("cirr", tmp_path)
    assert "does not look like CIRR: there is no captions/cap.rc2.train.json" in message


def test_a_split_that_root_lacks_is_named(make_root: MakeRoot) -> None:
    assert "holds CIRR, but not captions/cap.rc2.val.json" in complaint("cirr", make_root("cirr"), "val")


def test_cirr_file_of_another_split_is_told_by_its_official_names(
    make_root: MakeRoot, records_of: RecordsOf
) -> None:
    root = make_root("cirr", records_of("cirr"), split="val")
    message = complaint("cirr", root, "val")
    assert "cap.rc2.val.json" in message
    assert "an image of another split than val" in message


@pytest.mark.parametrize("dataset", ["fashioniq", "cirr"])
def test_file_whose_images_are_not_in_the_split_file_is_of_another_split(
    dataset: str, make_root: MakeRoot, records_of: RecordsOf
) -> None:
    records = json.loads(json.dumps(records_of(dataset)).replace("train-", "mine-").replace('"B', '"Z'))
    assert "another split or category" in complaint(dataset, make_root(dataset, records))


def test_circo_val_in_the_place_of_test_is_told_by_its_targets(
    make_root: MakeRoot, records_of: RecordsOf
) -> None:
    assert "it is the file of split val" in complaint(
        "circo", make_root("circo", records_of("circo"), "test"), "test"
    )


def test_circo_gallery_without_image_info_says_where_to_get_it(make_root: MakeRoot) -> None:
    root = make_root("circo")
    (root / "COCO2017_unlabeled/annotations/image_info_unlabeled2017.json").unlink()
    with pytest.raises(InputError, match=r"image_info_unlabeled2017\.zip"):
        load_gallery("circo", "val", root)


@pytest.mark.parametrize("value", [{"a": 1}, ["a", 1], ["a", "a"], ["../a"]])
def test_a_broken_fashioniq_split_file_names_the_entry(value: object, make_root: MakeRoot) -> None:
    root = make_root("fashioniq")
    (root / "image_splits/split.dress.train.json").write_text(json.dumps(value))
    with pytest.raises(InputError, match=r"split\.dress\.train\.json"):
        load_gallery("fashioniq", "train", root)
