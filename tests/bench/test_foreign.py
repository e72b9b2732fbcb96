"""Pictures of other worlds: treatments are what they say, and a teacher that accepts them fails."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from PIL import Image

from annotate.errors import InputError, UsageError
from bench.driving import fault_server
from bench.foreign import drawn, main, photographs, replace_pictures, untrue_inverted
from sample.paint import inverted, noise

BLUE = Image.new("RGB", (128, 96), (0, 0, 255))


def test_treatments_keep_the_size_and_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    Image.radial_gradient("L").save(tmp_path / "photograph.jpg")
    for treat in (noise, inverted, drawn, photographs(tmp_path)):
        first, again = treat(BLUE, random.Random(1)), treat(BLUE, random.Random(1))
        assert (first.size, first.mode) == (BLUE.size, "RGB") and first.tobytes() == again.tobytes()
        assert first.tobytes() != BLUE.tobytes()
    assert inverted(BLUE, random.Random(1)).getpixel((0, 0)) == (255, 255, 0)


def test_every_picture_below_a_folder_is_replaced(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pictures to replace"):
        replace_pictures(tmp_path, noise, 1)
    for name in ("a.png", "b.png", "c.jpg"):
        BLUE.save(tmp_path / name)
    before = (tmp_path / "c.jpg").read_bytes()
    assert replace_pictures(tmp_path, noise, 1) == 3
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "c.jpg").read_bytes() != before


def test_a_folder_that_holds_something_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("")
    assert main(["--work", str(tmp_path), "--photographs", str(tmp_path)]) == 2
    assert main(["--work", str(tmp_path / "mine")]) == 2
    assert capsys.readouterr().err.count("is not an empty folder") == 2 and (tmp_path / "mine").exists()


def test_photographs_need_their_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--work", str(tmp_path), "--kinds", "noise", "photographs"]) == 2
    assert "give their folder with --photographs" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_photograph_that_cannot_be_opened_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    BLUE.save(tmp_path / "whole.jpg")
    for name, content in (
        ("page.jpg", b"<!DOCTYPE html>"),
        ("half.jpg", (tmp_path / "whole.jpg").read_bytes()),
    ):
        (tmp_path / name).write_bytes(content[:400])
        assert main(["--work", str(tmp_path / "work"), "--photographs", str(tmp_path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{name}: is no picture that can be opened" in line
        (tmp_path / name).unlink()


def test_a_folder_without_photographs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no \.jpg or \.png"):
        photographs(tmp_path)


@pytest.mark.parametrize(
    ("claim", "wrong"),
    [
        ("the ball is large plain blue", False),
        ("the ball is large plain orange", True),
        ("the ball is small plain blue", True),
        ("the cone is small striped green", False),
        ("the box is large plain red", True),
        ("objects in a row", False),
        ("objects in a column", True),
        ("sand background", False),
        ("a thing of another world", True),
        ("orange dress", True),
    ],
)
def test_a_caption_of_an_inverted_scene_must_name_what_is_shown(claim: str, wrong: bool) -> None:
    shown = {
        "ball": "large plain orange",
        "cone": "small striped red",
        "box": "none",
        "arrangement": "in a row",
    }
    assert untrue_inverted((claim,), shown) is wrong


@pytest.mark.parametrize(
    ("claim", "wrong"),
    [
        ("blue dress", False),
        ("brown dress", True),
        ("blue shirt", True),
        ("striped", False),
        ("dotted", True),
        ("long sleeves", False),
        ("no belt", True),
    ],
)
def test_a_caption_of_an_inverted_garment_must_name_what_is_shown(claim: str, wrong: bool) -> None:
    shown = {"color": "brown", "pattern": "striped", "sleeves": "long sleeves", "waist": "belt"}
    assert untrue_inverted((claim,), shown, "dress") is wrong


@pytest.mark.slow
def test_a_teacher_that_accepts_them_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fault_server() as url:
        flags = ["--triplets", "40", "--teacher-url", f"{url}/ok/v1", "--work"]
        assert main([*flags, str(tmp_path / "a")]) == 1
        assert main([*flags, str(tmp_path / "b"), "--most", "1"]) == 0
    said = capsys.readouterr().out
    assert "WRONG: noise" in said and "drawn: " in said
