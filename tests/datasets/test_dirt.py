"""docs/dirt.md holds line by line: each code has its outcome on a dataset damaged accordingly."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from annotate.datasets import find_images, join_captions, load_triplets
from annotate.datasets.dirt import NOTES, PROBLEMS
from annotate.errors import InputError
from annotate.images import ImageProblem, ImageStore

MakeRoot = Callable[..., Path]
RecordsOf = Callable[[str], list[dict[str, Any]]]
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "dirt.md"

CAPTIONS: dict[str, list[str]] = {
    "empty_modification": [" ", "?!"],
    "modification_too_long": ["red " * 700, "is red"],
    "one_empty_caption": ["", "is bright"],
    "equal_captions": ["is darker", "is darker"],
    "stray_blanks": [" is bright\n", "has sleeves"],
    "broken_unicode": ["caf\ud800", "is bright"],
}
IMAGE_CODES = ("missing_image", "undecodable_image", "image_too_large")


def rows(heading: str) -> list[list[str]]:
    """Cells of the table that starts with `heading`."""
    lines = iter(DOCUMENT.read_text(encoding="utf-8").splitlines())
    table = []
    for line in lines:
        if line.startswith(f"| {heading} |"):
            next(lines)
            for row in lines:
                if not row.startswith("|"):
                    break
                table.append([cell.strip() for cell in row.strip("|").split("|")])
    return table


def documented(outcome: str) -> set[str]:
    return {row[0].strip("`") for row in rows("code") if row[2] == outcome}


def test_the_table_lists_exactly_the_codes_of_the_readers_and_the_image_store() -> None:
    assert documented("quarantined") == {*PROBLEMS, *IMAGE_CODES}
    assert documented("noted") == set(NOTES)
    assert len(rows("code")) == len(PROBLEMS) + len(IMAGE_CODES) + len(NOTES)


@pytest.mark.parametrize("code", [code for code in CAPTIONS if code in PROBLEMS])
def test_a_caption_problem_quarantines_its_triplet_only(
    code: str, make_root: MakeRoot, records_of: RecordsOf
) -> None:
    records = records_of("fashioniq")
    records[1]["captions"] = CAPTIONS[code]
    triplets = load_triplets("fashioniq", "train", make_root("fashioniq", records), "dress")
    assert [t.problem for t in triplets] == [None, code, None]
    assert triplets[1].modifications == tuple(CAPTIONS[code])


@pytest.mark.parametrize("code", [code for code in CAPTIONS if code in NOTES])
def test_a_caption_oddity_is_noted_and_the_triplet_used(
    code: str, make_root: MakeRoot, records_of: RecordsOf
) -> None:
    records = records_of("fashioniq")
    records[1]["captions"] = CAPTIONS[code]
    triplets = load_triplets("fashioniq", "train", make_root("fashioniq", records), "dress")
    assert [t.problem for t in triplets] == [None] * 3
    assert [t.notes for t in triplets] == [(), (code,), ()]
    assert join_captions(triplets[1].modifications, "and")


def test_half_a_surrogate_pair_becomes_a_replacement_character(
    make_root: MakeRoot, records_of: RecordsOf
) -> None:
    records = records_of("circo")
    records[0]["relative_caption"] = CAPTIONS["broken_unicode"][0]
    triplet = load_triplets("circo", "val", make_root("circo", records))[0]
    assert triplet.modifications == ("caf\ufffd",)
    assert triplet.modifications[0].encode()


def test_a_whole_surrogate_pair_is_kept(make_root: MakeRoot, records_of: RecordsOf) -> None:
    records = records_of("circo")
    records[0]["relative_caption"] = "add a 🐶"  # json.dumps writes it as two escapes
    triplet = load_triplets("circo", "val", make_root("circo", records))[0]
    assert (triplet.modifications, triplet.notes) == (("add a 🐶",), ())


def test_an_exact_repeat_quarantines_the_later_one(make_root: MakeRoot, records_of: RecordsOf) -> None:
    records = records_of("cirr")
    records.append(records[0] | {"pairid": 99, "caption": " Change  number 0"})
    triplets = load_triplets("cirr", "train", make_root("cirr", records))
    assert [t.problem for t in triplets] == [None, None, None, "exact_repeat"]


@pytest.mark.parametrize("field", ["reference", "target_hard", "caption"])
def test_another_reference_target_or_text_is_no_repeat(
    field: str, make_root: MakeRoot, records_of: RecordsOf
) -> None:
    records = records_of("cirr")
    records.append(records[0] | {"pairid": 99, field: "train-5-0-img0"})
    assert all(t.problem is None for t in load_triplets("cirr", "train", make_root("cirr", records)))


def test_the_same_row_in_two_categories_is_no_repeat(make_root: MakeRoot) -> None:
    assert all(t.problem is None for t in load_triplets("fashioniq", "train", make_root("fashioniq")))


def test_a_target_that_is_the_reference_is_noted(make_root: MakeRoot, records_of: RecordsOf) -> None:
    records = records_of("fashioniq")
    records[0]["target"] = records[0]["candidate"]
    triplet = load_triplets("fashioniq", "train", make_root("fashioniq", records), "dress")[0]
    assert (triplet.problem, triplet.notes) == (None, ("target_is_reference",))


@pytest.mark.parametrize("code", IMAGE_CODES)
def test_an_image_problem_carries_its_code(code: str, tmp_path: Path, make_root: MakeRoot) -> None:
    root = make_root("cirr")
    path = root / "train/34/train-0-0-img0.png"
    path.parent.mkdir(parents=True)
    if code != "missing_image":
        Image.new("1", (10_000, 5_001 if code == "image_too_large" else 9)).save(path)
    if code == "undecodable_image":
        path.write_bytes(path.read_bytes()[:45])
    found = find_images("cirr", "train", root, ["train-0-0-img0"])
    if code == "missing_image":
        assert found.missing == ("train-0-0-img0",)
        return
    with pytest.raises(ImageProblem) as caught:
        ImageStore(tmp_path / "store", "fit448-q90-v1").store(found.paths["train-0-0-img0"])
    assert caught.value.code == code


def damaged(what: str, make_root: MakeRoot, records: list[dict[str, Any]], outside: Path) -> Path:
    """A CIRR train folder that is broken in the named way."""
    if what == "a field is missing":
        del records[0]["caption"]
    elif what == "a field has a wrong type":
        records[0]["caption"] = 3
    elif what == "the same id twice":
        records[1]["pairid"] = records[0]["pairid"]
    elif what == "an image name that could leave its folder":
        records[0]["reference"] = "../../etc/passwd"
    elif what == "a file of another split":
        for record in records:
            record["reference"] = record["reference"].replace("train", "dev")
    elif what == "a ROOT of another dataset":
        return make_root("fashioniq")
    root = make_root("cirr", "[{]" if what == "broken JSON" else records)
    if what == "a picture that is a symbolic link out of ROOT":
        outside.mkdir()
        (root / "train").symlink_to(outside)
        (outside / "34").mkdir()
    return root


@pytest.mark.parametrize("row", rows("what is broken"), ids=lambda row: row[0])
def test_a_broken_file_stops_with_the_documented_line(
    row: list[str], make_root: MakeRoot, records_of: RecordsOf, tmp_path: Path
) -> None:
    root = damaged(row[0], make_root, records_of("cirr"), tmp_path / "outside")
    with pytest.raises(InputError, match=re.escape(row[1].strip("`"))) as caught:
        triplets = load_triplets("cirr", "train", root)
        find_images("cirr", "train", root, [t.reference for t in triplets])
    assert caught.value.exit_status == 2


def test_the_second_table_is_read() -> None:
    assert len(rows("what is broken")) == 8
