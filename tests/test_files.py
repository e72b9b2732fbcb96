"""Files appear whole or not at all; what a killed process left half-written is cleared away."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotate.files import atomic_path, remove_leftovers, write_atomic


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    write_atomic(tmp_path / "file", "old")
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_leftovers_go_and_nothing_else(tmp_path: Path) -> None:
    kept = ["file", ".file", "a.12.tmp", ".x.tmp", "below/.hidden.jpg"]
    left = [
        ".file.4711.tmp",
        "below/.shard-00000.parquet.9.tmp",
        ".state-4.77.tmp/weights",
        ".model.8.old/weights",
    ]
    for name in [*kept, *left]:
        write_atomic(tmp_path / name, name)
    remove_leftovers(tmp_path)
    assert not list(tmp_path.glob(".state-*")) + list(tmp_path.glob(".model*")), "folders go as wholes"
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == set(kept)


def test_leftovers_of_others_below_a_folder_stay(tmp_path: Path) -> None:
    for name in (".mine.1.tmp", "another-run/.theirs.2.tmp"):
        write_atomic(tmp_path / name, name)
    remove_leftovers(tmp_path, below=False)
    assert not (tmp_path / ".mine.1.tmp").exists() and (tmp_path / "another-run" / ".theirs.2.tmp").exists()
