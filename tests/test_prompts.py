"""Prompts are files that people edit: what is wrong with one is a line, before anything is asked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from annotate.errors import UsageError
from annotate.prompts import PLACES, PROMPT_FOLDER, load_prompts, prompt_version


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PROMPT_FOLDER, tmp_path / "prompts"))


def test_every_shipped_file_is_a_known_prompt() -> None:
    assert {path.stem for path in PROMPT_FOLDER.glob("*.md")} == set(PLACES)


def test_the_version_is_of_the_texts_however_they_were_saved(folder: Path) -> None:
    before = prompt_version(load_prompts())
    (folder / "notes.md").write_text("what we tried")
    for path in folder.glob("*.md"):
        text = path.read_text(encoding="utf-8")
        path.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    assert prompt_version(load_prompts(folder)) == before


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), r"verify\.md cannot be read \(No such file"),
        (
            lambda path: path.write_bytes("Does it fit \u2013 or not?".encode("cp1252")),
            r"not UTF-8 \(byte 12\)",
        ),
        (
            lambda path: path.write_text("Is {{statment}} true?"),
            r"verify\.md has the places \['statment'\], but",
        ),
    ],
)
def test_a_prompt_that_cannot_be_used_is_named(
    folder: Path, damage: Callable[[Path], object], words: str
) -> None:
    damage(folder / "verify.md")
    with pytest.raises(UsageError, match=words):
        load_prompts(folder)
