"""Damaged, foreign or odd files and names, given to the commands that read a run's files: one line each."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotate.calibration.label import page_of
from annotate.cli import main
from annotate.errors import UsageError
from annotate.files import read_regular, usable_path
from annotate.tables import ROW_SCHEMA
from sample.__main__ import main as sample
from schemas.calibration import Label
from tests.shards.test_publish import annotate, mixed

LONG = "a" * 300


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    annotate(folder, mixed())
    return folder / "out"


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    """A published OUT to break."""
    shutil.copytree(made, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must be refused; returns its one line."""

    def run(*words: object, main: Callable[[list[str]], int] = main) -> str:
        assert main([str(word) for word in words]) == 2
        line, rest = capsys.readouterr().err.split("\n", 1)
        assert not rest
        return line

    return run


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def noise(path: Path) -> None:
    """The pages hold something else; the columns are described as ever."""
    data = bytearray(path.read_bytes())
    data[4:2_000] = b"\xa5" * 1_996
    path.write_bytes(data)


def foreign(path: Path) -> None:
    pq.write_table(pa.table({"text": ["of another program"]}), path)


def no_utf8(path: Path) -> None:
    table = pq.read_table(path)
    broken = pa.Array.from_buffers(
        pa.string(),
        len(table),
        [None, pa.py_buffer(bytes(4 * len(table)) + b"\x01\0\0\0"), pa.py_buffer(b"\xff")],
    )
    pq.write_table(
        table.set_column(0, ROW_SCHEMA.field("triplet_id"), broken).cast(ROW_SCHEMA, safe=False), path
    )


def odd_verdict(path: Path) -> None:
    table = pq.read_table(path)
    place = table.schema.get_field_index("verdict")
    values = pa.array(["perhaps"] * len(table), pa.string())
    pq.write_table(table.set_column(place, ROW_SCHEMA.field("verdict"), values), path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [cut, noise, foreign, no_utf8, odd_verdict, folder])
def test_a_spoilt_parquet_file_is_named(
    out: Path, tmp_path: Path, refused: Callable[..., str], spoil: Callable[[Path], None]
) -> None:
    file = tmp_path / "labels.jsonl"
    judged = [Label(triplet_id=f"cirr/train/{n}", person="a", right=True) for n in range(10)]
    file.write_text("".join(label.model_dump_json() + "\n" for label in judged))
    for place, commands in (
        ("train", (["inspect", "cirr/train/1"],)),
        ("annotations", (["calibrate", "--labels", file], ["select"])),
    ):
        spoil(out / place / "part-00000.parquet")
        for command in commands:
            assert "part-00000.parquet" in refused(*command, "--out", out)


def test_an_id_of_any_bytes_is_an_unknown_id(out: Path, refused: Callable[..., str]) -> None:
    for odd in ("\udcff", "cirr/train/\udcff", "\ud800" * 50, ""):
        assert "has no triplet" in refused("inspect", odd, "--out", out)
    assert "manifest.json" in refused("inspect", "\udcff/\udcff/\udcff")


@pytest.mark.parametrize("name", [LONG, "~nosuchuser/x", "x/" * 2_000, "loop/x"])
def test_a_path_that_cannot_be_looked_up_is_one_line_everywhere(
    tmp_path: Path, refused: Callable[..., str], name: str
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    person = ["--person", "a"]
    journal: list[list[object]] = [
        ["journal", a, "--out", name] for a in ("stats", "verify", "compact", "export")
    ]
    commands: list[list[object]] = [
        *journal,
        ["inspect", "x", "--out", name],
        ["select", "--out", name],
        ["select", "--out", tmp_path, "--calibration", name],
        ["label", "--out", name, "--labels", "l", *person],
        ["label", "--out", tmp_path, "--labels", name, *person],
        ["calibrate", "--out", tmp_path, "--labels", name],
        ["run", "--root", name],
        ["run", "--out", name],
        ["run", "--teacher", name],
        ["run", "--teacher-python", name],
        ["run", "--config", name],
        ["doctor", "--root", name],
    ]
    for command in commands:
        assert refused(*command).startswith("error: ")
    for words in (["score", name, "--truth", "t"], ["score", "o", "--truth", name], ["prove", "--out", name]):
        assert refused(*words, main=sample)
    assert refused("inspect", f"{LONG}/x/y")


def test_numbers_out_of_range_are_one_line(out: Path, refused: Callable[..., str]) -> None:
    command = ["label", "--out", out, "--labels", "l", "--person", "a"]
    for seed in ("-1", "x", "1" * 30):
        assert "--seed" in refused(*command, "--seed", seed)
    for count in ("0", "-5", "1e9"):
        assert "--count" in refused(*command, "--count", count)


def test_what_never_ends_is_not_read(out: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    for endless in (tmp_path / "pipe", Path("/dev/zero")):
        assert "no regular file" in refused("run", "--config", endless)
        assert "no regular file" in refused("calibrate", "--out", out, "--labels", endless)
        assert "no thresholds" in refused(
            "select", "--out", out, "--calibration", endless, "--precision", 0.9
        )
        assert "no regular file" in refused("score", out, "--truth", endless, main=sample)
    with pytest.raises(OSError, match="larger than"):
        (tmp_path / "big").write_bytes(b"x" * 5_000_000)
        read_regular(tmp_path / "big", 1 << 20)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff", "not UTF-8 at byte 0"),
        (b"[" * 100_000, "nested too deeply"),
        (b"5\n", "line 1"),
        (b"", "knows no"),
    ],
)
def test_a_truth_file_that_is_none_is_named(
    out: Path, tmp_path: Path, refused: Callable[..., str], data: bytes, words: str
) -> None:
    (tmp_path / "truth.jsonl").write_bytes(data)
    line = refused("score", out, "--truth", tmp_path / "truth.jsonl", main=sample)
    assert words in line and "truth.jsonl" in line


def test_a_folder_where_the_report_or_the_page_belongs_is_one_line(
    out: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    (out / "report.html").unlink(missing_ok=True)
    for name, command in (
        ("report.html", ["select"]),
        (page_of(out, "a").name, ["label", "--labels", tmp_path / "l", "--person", "a"]),
    ):
        (out / name).mkdir()
        assert name in refused(*command, "--out", out)


def test_a_proof_is_not_made_in_an_annotations_folder(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sample(["prove", "--out", str(out)]) == 2
    assert "is an annotation's folder; give OUT another one" in capsys.readouterr().err
    assert not (out / "rendered").exists()


def test_a_path_that_can_be_looked_up_is_taken_whether_something_is_there_or_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("new", "file", "file/below"):
        assert usable_path(str(tmp_path / name)) == tmp_path / name
    assert usable_path("~") == Path.home()
    with pytest.raises(UsageError, match="no usable path"):
        usable_path("a\0b")
