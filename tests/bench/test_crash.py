"""`make crash` in small: killed again and again, a run still ends in the bytes of an undisturbed one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.crash import main, replies


@pytest.mark.slow
def test_kills_at_random_instants_change_no_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--kills", "10", "--triplets", "40", "--work", str(tmp_path / "crash")])
    assert status == 0, capsys.readouterr().out


@pytest.mark.slow
def test_with_vllm_killed_too_every_stored_answer_is_used_again_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["--vllm", "--kills", "1", "--work", str(tmp_path / "crash")])
    assert status == 0, capsys.readouterr().out
    assert replies(tmp_path / "crash" / "last.jsonl")
