"""Images are found in every layout seen in the wild, and nowhere outside ROOT."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from annotate.datasets import FoundImages, check_missing, find_images, load_triplets
from annotate.errors import InputError

MakeRoot = Callable[..., Path]


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"image")
    return path


@pytest.mark.parametrize("extension", [".png", ".jpg", ".jpeg", ".JPG"])
@pytest.mark.parametrize(
    ("folder", "layout"),
    [
        ("images", "images/"),
        ("images/shirt", "images/<category>/"),
        ("shirt", "<category>/"),
        ("resized_image/shirt", "resized_image/<category>/"),
    ],
)
def test_fashioniq_layouts_are_found_and_named(
    folder: str, layout: str, extension: str, tmp_path: Path
) -> None:
    path = put(tmp_path / folder / f"B01{extension}")
    found = find_images("fashioniq", "train", tmp_path, ["B01", "B02"])
    assert found.paths == {"B01": path}
    assert found.layout == f"{layout}*{extension.lower()}"
    assert found.missing == ("B02",)
    assert tmp_path / folder in found.looked_in


@pytest.mark.parametrize("extension", [".png", ".jpg", ".jpeg"])
@pytest.mark.parametrize("base", ["img_raw/", ""])
def test_cirr_layouts_go_through_the_split_file_whatever_the_extension(
    base: str, extension: str, make_root: MakeRoot
) -> None:
    root = make_root("cirr")
    path = put(root / f"{base}train/34/train-1-0-img0{extension}")
    found = find_images("cirr", "train", root, ["train-1-0-img0", "train-2-0-img0"])
    assert found.paths == {"train-1-0-img0": path}
    assert found.layout == f"{base}<path in split file>/*{extension}"
    assert found.looked_in == (root / "img_raw/train", root / "train")


@pytest.mark.parametrize("folder", ["", "img_raw/", "cirr/img_raw/", "cirr/"])
def test_cirr_annotations_may_lie_in_a_folder_beside_those_of_the_pictures(
    folder: str, make_root: MakeRoot
) -> None:
    root = make_root("cirr")
    nested = root / "cirr"
    nested.mkdir()
    for name in ("captions", "image_splits"):
        (root / name).rename(nested / name)
    path = put(root / f"{folder}train/34/train-1-0-img0.png")
    assert len(load_triplets("cirr", "train", root)) == 3
    found = find_images("cirr", "train", root, ["train-1-0-img0"])
    assert found.paths == {"train-1-0-img0": path}


def test_a_cirr_name_absent_from_the_split_file_is_missing_even_if_a_file_lies_there(
    make_root: MakeRoot,
) -> None:
    root = make_root("cirr")
    put(root / "train/34/stray.png")
    assert find_images("cirr", "train", root, ["stray"]).missing == ("stray",)


@pytest.mark.parametrize("folder", ["COCO2017_unlabeled/unlabeled2017", "unlabeled2017"])
def test_circo_images_are_found_below_coco(folder: str, tmp_path: Path) -> None:
    path = put(tmp_path / folder / "000000000007.jpg")
    found = find_images("circo", "val", tmp_path, ["000000000007"])
    assert (found.paths, found.layout) == ({"000000000007": path}, f"{folder}/*.jpg")


def test_the_layout_with_most_images_wins_and_mixed_extensions_are_told(tmp_path: Path) -> None:
    put(tmp_path / "images/B01.jpg")
    put(tmp_path / "dress/B01.jpg")
    put(tmp_path / "toptee/B02.png")
    found = find_images("fashioniq", "train", tmp_path, ["B01", "B02"])
    assert found.layout == "<category>/*{.jpg,.png}"
    assert not found.missing


def test_the_asked_category_is_looked_in_first_and_the_others_after(tmp_path: Path) -> None:
    put(tmp_path / "images/shirt/B01.jpg")
    wanted = put(tmp_path / "images/toptee/B01.jpg")
    other = put(tmp_path / "images/shirt/B02.jpg")
    found = find_images("fashioniq", "train", tmp_path, ["B01", "B02"], category="toptee")
    assert found.paths == {"B01": wanted, "B02": other}


def test_names_match_exactly_and_folders_are_no_images(tmp_path: Path) -> None:
    put(tmp_path / "images/b01.jpg")
    put(tmp_path / "images/B011.jpg")
    put(tmp_path / "images/B01.txt")
    (tmp_path / "images/B01.png").mkdir()
    assert find_images("fashioniq", "train", tmp_path, ["B01"]).missing == ("B01",)


def test_no_image_anywhere_is_layout_none_with_all_folders_named(tmp_path: Path) -> None:
    found = find_images("circo", "val", tmp_path, ["000000000007"])
    assert found.layout == "none"
    assert found.looked_in == (tmp_path / "COCO2017_unlabeled/unlabeled2017", tmp_path / "unlabeled2017")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a\u0000", "a\\b", "..", ""])
def test_a_name_that_is_not_plain_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a plain image name"):
        find_images("circo", "val", tmp_path, [name])


def test_a_link_that_cannot_be_followed_is_no_image(tmp_path: Path) -> None:
    put(tmp_path / "images/B02.jpg")
    (tmp_path / "images/B01.jpg").symlink_to("x" * 300)  # no rights to enter read the same, and work for root
    assert find_images("fashioniq", "train", tmp_path, ["B01", "B02"]).missing == ("B01",)


def test_a_link_to_a_file_outside_root_is_refused(tmp_path: Path) -> None:
    secret = put(tmp_path / "secret.jpg")
    root = tmp_path / "root"
    (root / "images").mkdir(parents=True)
    (root / "images/B01.jpg").symlink_to(secret)
    with pytest.raises(InputError, match=r"B01\.jpg is a symbolic link that leads out of ROOT"):
        find_images("fashioniq", "train", root, ["B01"])


def test_a_link_to_a_folder_outside_root_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere/B01.jpg")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/images").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="leads out of ROOT"):
        find_images("fashioniq", "train", tmp_path / "root", ["B01"])


def test_links_inside_root_and_a_linked_root_itself_are_fine(tmp_path: Path) -> None:
    put(tmp_path / "data/pictures/B01.jpg")
    (tmp_path / "data/images").symlink_to("pictures")
    (tmp_path / "data/pictures/B02.jpg").symlink_to("B01.jpg")
    (tmp_path / "root").symlink_to("data")
    assert set(find_images("fashioniq", "train", tmp_path / "root", ["B01", "B02"]).paths) == {"B01", "B02"}


def test_a_dangling_link_is_missing_and_a_circle_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/B01.jpg").symlink_to("gone.jpg")
    assert find_images("fashioniq", "train", tmp_path, ["B01"]).missing == ("B01",)
    (tmp_path / "images/B02.jpg").symlink_to("B02.jpg")
    with pytest.raises(InputError, match="circle"):
        find_images("fashioniq", "train", tmp_path, ["B02"])


def found_of(present: int, missing: int) -> FoundImages:
    paths = {f"p{n}": Path(f"p{n}.jpg") for n in range(present)}
    return FoundImages("images/*.jpg", paths, tuple(f"m{n}" for n in range(missing)), (Path("a"), Path("b")))


def test_up_to_a_tenth_of_the_images_may_be_missing() -> None:
    check_missing(found_of(90, 10))
    check_missing(found_of(0, 0))
    with pytest.raises(InputError) as caught:
        check_missing(found_of(89, 11))
    assert str(caught.value) == (
        "11 of 100 images are missing (first: m0), more than 10%; looked in a, b; "
        "put them there, or set ALLOW_MISSING=1 to quarantine their triplets"
    )


def test_missing_images_are_allowed_when_asked_for() -> None:
    check_missing(found_of(1, 99), allow=True)


def test_forty_six_thousand_names_are_found_in_seconds(tmp_path: Path) -> None:
    names = [f"B{n:09d}" for n in range(46_000)]
    for folder in ("dress", "shirt", "toptee"):
        (tmp_path / "images" / folder).mkdir(parents=True)
    for n, name in enumerate(names):
        (tmp_path / "images" / ("dress", "shirt", "toptee")[n % 3] / f"{name}.png").touch()
    start = time.process_time()
    found = find_images("fashioniq", "train", tmp_path, names)
    assert len(found.paths) == 46_000
    assert time.process_time() - start < 5


def test_annotations_are_not_touched_by_probing(make_root: MakeRoot) -> None:
    root = make_root("cirr")
    before = json.dumps(sorted(str(path) for path in root.rglob("*")))
    find_images("cirr", "train", root, ["train-1-0-img0"])
    assert json.dumps(sorted(str(path) for path in root.rglob("*"))) == before
