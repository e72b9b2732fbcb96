"""Every bad input ends with exit status 2 and one line that says what, where, and what to do."""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from annotate.cli import main

Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], fault_server: str, tmp_path: Path) -> Refused:
    """Runs `annotate run` with flags (a good server unless one is named); returns the line on stderr."""

    def run(**flags: object) -> str:
        given = {
            "teacher_url": f"{fault_server}/ok/v1",
            "teacher_model": "test",
            "out": tmp_path / "out",
            "runner": "local",
        }
        given |= flags
        texts = {name: str(value) for name, value in given.items() if value is not None}
        words = [word for name, value in texts.items() for word in ("--" + name.replace("_", "-"), value)]
        try:
            status = main(["run", *words])
        except SystemExit as leave:
            status = int(str(leave.code))
        captured = capsys.readouterr()
        assert status == 2, captured.err
        line = captured.err.strip().splitlines()[-1]
        assert "Traceback" not in captured.err
        return line

    return run


@pytest.fixture
def cirr(roots: dict[str, Path], tmp_path: Path) -> Path:
    """A CIRR folder to break: annotations copied, pictures linked inside."""
    shutil.copytree(roots["cirr"], tmp_path / "CIRR")
    return tmp_path / "CIRR"


def captions(root: Path) -> Path:
    return root / "captions" / "cap.rc2.train.json"


def rewrite(root: Path, change: Callable[[list[dict[str, object]]], object]) -> None:
    records = json.loads(captions(root).read_text())
    change(records)
    captions(root).write_text(json.dumps(records))


def test_unknown_dataset_names_the_three(refused: Refused) -> None:
    line = refused(dataset="coco")
    assert "coco" in line and "cirr" in line and "fashioniq" in line and "circo" in line


def test_unknown_split_names_those_of_the_dataset(refused: Refused, cirr: Path) -> None:
    line = refused(dataset="cirr", split="tset1", root=cirr)
    assert "tset1" in line and "test1" in line


@pytest.mark.parametrize(("name", "value"), [("limit", "abc"), ("seed", "1.5"), ("limit", "-3")])
def test_limit_and_seed_must_be_whole_numbers(refused: Refused, name: str, value: str) -> None:
    line = refused(**{name: value})
    assert value in line and "give" in line


def test_missing_root_is_named(refused: Refused, tmp_path: Path) -> None:
    assert "nowhere" in refused(root=tmp_path / "nowhere")


def test_root_that_is_a_file_is_named(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in refused(root=tmp_path / "file")


def test_root_of_another_dataset_says_which_it_looks_like(refused: Refused, roots: dict[str, Path]) -> None:
    assert "fashioniq" in refused(dataset="cirr", root=roots["fashioniq"]).lower()


def test_broken_json_is_named_with_its_position(refused: Refused, cirr: Path) -> None:
    text = captions(cirr).read_text()
    captions(cirr).write_text(text[:200])
    line = refused(root=cirr)
    assert "cap.rc2.train.json" in line and "line" in line


def test_missing_field_is_named_with_its_record(refused: Refused, cirr: Path) -> None:
    rewrite(cirr, lambda records: records[7].pop("reference"))
    line = refused(root=cirr)
    assert re.search(r"cap\.rc2\.train\.json: record 7 \(pairid \d+\): field 'reference' is missing", line)


def test_wrong_type_is_named_with_its_record(refused: Refused, cirr: Path) -> None:
    rewrite(cirr, lambda records: records[3].update(caption=["a", "b"]))
    line = refused(root=cirr)
    assert re.search(r"cap\.rc2\.train\.json: record 3 \(pairid \d+\): field 'caption' is \['a', 'b'\]", line)


def test_one_id_twice_is_a_broken_file(refused: Refused, cirr: Path) -> None:
    rewrite(cirr, lambda records: records[5].update(pairid=records[4]["pairid"]))
    assert "pairid" in refused(root=cirr)


def test_path_traversal_in_an_image_name_is_refused(refused: Refused, cirr: Path) -> None:
    rewrite(cirr, lambda records: records[2].update(reference="../../../etc/passwd"))
    assert "passwd" in refused(root=cirr)


def test_too_many_missing_images_name_the_folders_looked_in(refused: Refused, cirr: Path) -> None:
    shutil.rmtree(cirr / "img_raw")
    line = refused(root=cirr)
    assert "img_raw" in line and "ALLOW_MISSING=1" in line


def test_split_without_targets_has_nothing_to_check_against(refused: Refused, cirr: Path) -> None:
    assert "nothing to check against" in refused(root=cirr, split="test1")


def test_out_that_cannot_be_written_is_named(refused: Refused, cirr: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    line = refused(root=cirr, out=tmp_path / "plain" / "out")
    assert "plain" in line and "OUT" in line


def test_out_of_another_job_is_refused(refused: Refused, roots: dict[str, Path], tmp_path: Path) -> None:
    good = ["run", "--dataset", "circo", "--root", str(roots["circo"]), "--out", str(tmp_path / "out")]
    assert main([*good, "--teacher-url", "http://127.0.0.1:9/v1", "--teacher-model", "m"]) == 2  # claims OUT
    line = refused(dataset="cirr", root=roots["cirr"], out=tmp_path / "out")
    assert "another job" in line and "circo" in line


def test_refusing_server_is_named(refused: Refused, cirr: Path) -> None:
    line = refused(root=cirr, teacher_url="http://127.0.0.1:9/v1")
    assert "http://127.0.0.1:9/v1" in line


def test_server_that_answers_html_is_named(refused: Refused, cirr: Path, other_model: str) -> None:
    page = other_model.removesuffix("/v1") + "/page/v1"
    line = refused(root=cirr, teacher_url=page)
    assert "HTML" in line and page in line


def test_server_with_another_model_names_what_it_serves(
    refused: Refused, cirr: Path, tmp_path: Path, other_model: str
) -> None:
    line = refused(root=cirr, teacher_url=other_model, teacher_model="Qwen/Qwen2.5-VL-7B-Instruct")
    assert "Qwen/Qwen2.5-VL-7B-Instruct" in line and "tiny" in line


def test_server_without_guided_decoding_is_refused(refused: Refused, cirr: Path, fault_server: str) -> None:
    line = refused(root=cirr, teacher_url=f"{fault_server}/refusal_text/v1")
    assert "schema" in line


def test_credentials_in_the_url_are_refused_and_not_repeated(refused: Refused) -> None:
    line = refused(teacher_url="http://me:geheim@host/v1")
    assert "geheim" not in line and "TEACHER_API_KEY" in line


def test_port_in_use_is_named(refused: Refused, cirr: Path, servable: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = refused(
            root=cirr, teacher=servable, teacher_url=None, teacher_model=None, port=port,
        )  # fmt: skip
    assert str(port) in line


def test_unknown_check_lists_the_known(refused: Refused, cirr: Path) -> None:
    assert "target_match" in refused(root=cirr, checks="vibes")


def test_unknown_threshold_lists_the_known(refused: Refused, cirr: Path) -> None:
    assert "p_match" in refused(root=cirr, thresholds="p_mach=0.5")


def test_inspect_without_a_run_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["inspect", "cirr/train/1", "--out", str(tmp_path)]) == 2
    assert "manifest.json" in capsys.readouterr().err
