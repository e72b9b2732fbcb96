"""What the teacher's commands cannot use is one line that says what to give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from annotate.errors import UsageError
from sample.teacher.__main__ import main
from sample.teacher.pictures import open_pictures


def test_pictures_of_another_number_are_not_taken_for_those_wanted(tmp_path: Path) -> None:
    """The arrays keep the size that they were made with: more would end outside of them, fewer untrained."""
    open_pictures(tmp_path, "garments", 60).pixels[59] = 7
    for count in (20, 80):
        with pytest.raises(
            UsageError, match=rf"garments-10000 holds 60 pictures a domain, not {count}; give"
        ):
            open_pictures(tmp_path, "garments", count)
    assert np.all(open_pictures(tmp_path, "garments", 60).pixels[59] == 7)


def test_a_teacher_that_nobody_serves_has_no_bars(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    flags = ["--url", "http://127.0.0.1:9/v1", "--model", "teacher@1", "--count", "1", "--blank", "0"]
    assert main(["evaluate", *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --url http://127.0.0.1:9/v1: no teacher answers there")
