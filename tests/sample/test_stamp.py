"""A rendered world says which version drew it: whoever changes what a seed draws has to raise the version."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image

from annotate.cli import main
from sample.writers import Sizes
from sample.writers.whole import STAMP, WORLD, stale_words, write_world

SMALL = Sizes(train=6, val=3, test=2)
DRAWN = {
    "cirr": "aadc275f977dfa5c0f68262f33a91f287827a315b15cacba41344f4b5ba13276",
    "fashioniq": "90d52c8d6b0ebe0509ed6d222ee9a1d7bd93d4d932a02c5573f81baebae4f6ad",
    "circo": "c0c99c0af15a28e296f39ad15bc8436bd825cac0ee578e7d4a792c519b3a6965",
}
"""What WORLD draws, told by thumbnails. A test that fails here says: raise WORLD, put the new digests."""


def _digest(root: Path) -> str:
    """Of names, annotation texts and thumbnails; compressed bytes and last bits are the libraries'."""
    found = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file() and path.name != STAMP):
        found.update(str(path.relative_to(root)).encode())
        if path.suffix in (".png", ".jpg"):
            with Image.open(path) as image:
                found.update(image.convert("L").resize((8, 8)).tobytes())
        else:
            found.update(path.read_bytes())
    return found.hexdigest()


@pytest.mark.parametrize("dataset", sorted(DRAWN))
def test_the_same_seed_draws_the_same_until_the_version_is_raised(dataset: str, tmp_path: Path) -> None:
    write_world(dataset, tmp_path, 7, SMALL, True)
    assert (WORLD, _digest(tmp_path)) == (2, DRAWN[dataset])
    assert stale_words(tmp_path) == ""


def test_a_world_of_another_version_is_named_before_it_is_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    root = Path("outputs/sample/cirr-seed7")
    root.mkdir(parents=True)
    write_world("cirr", root, 7, SMALL, True)
    for stamp in ("{}", "[]", "no JSON"):
        (root / STAMP).write_text(stamp)
        assert "does not say which version rendered it" in stale_words(root)
    (root / STAMP).write_text('{"world": 0}')
    assert "was rendered by another version" in stale_words(root)
    (root / STAMP).unlink()
    run = ["run", "--runner", "local", "--teacher-url", "http://127.0.0.1:9/v1", "--teacher-model", "m"]
    assert main(run) == 2
    assert f"{root} does not say which version rendered it" in capsys.readouterr().err
    (root / STAMP).write_text(json.dumps({"world": WORLD}))
    assert main(run) == 2
    assert "version" not in capsys.readouterr().err
