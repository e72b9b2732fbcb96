"""The proving ground against the real teacher in the real vLLM: 200 good rows, 200 spoilt ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annotate.teacher.server import Server
from sample.__main__ import main
from sample.prove.corruptions import CONTROLS, CORRUPTIONS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_200)]


def test_two_hundred_rows_fill_the_table_and_asking_again_needs_no_answers(
    teacher: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "prove"
    command = ["prove", "--teacher-url", teacher.url, "--rows", "200", "--out", str(out)]
    assert main(command) == 0
    first = capsys.readouterr().out
    found = json.loads((out / "prove.json").read_text())
    kinds = {kind["kind"]: kind for kind in found["kinds"]}
    assert set(kinds) == {*CONTROLS, *CORRUPTIONS}
    assert kinds["clean"]["rows"] == 200
    assert sum(kinds[name]["rows"] for name in CORRUPTIONS) >= 150
    for name in ("text_looped", "meta_words", "conclusion_vague"):
        assert kinds[name]["rejected"] == kinds[name]["rows"], name
    assert main(command) == 0
    assert capsys.readouterr().out == first
