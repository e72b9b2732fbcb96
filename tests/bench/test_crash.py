"""`make crash` in small: killed again and again, a run still ends in the bytes of an undisturbed one."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import crash
from bench.crash import Tally, main, replies


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


@pytest.mark.parametrize("flags", [["--kills", "0"], ["--kills", "-1"], ["--kills", "0", "--vllm"]])
def test_without_a_kill_nothing_is_proved_and_nothing_is_emptied(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kept").write_text("")
    assert main([*flags, "--work", str(tmp_path)]) == 2
    assert "proves nothing; give 1 or more" in capsys.readouterr().err and (tmp_path / "kept").exists()


def test_a_run_that_fails_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.crash.run_command", lambda *_, **__: ["false"])
    assert main(["--kills", "1", "--triplets", "2", "--work", str(tmp_path / "crash")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: false ended with status 1")


@pytest.mark.parametrize(("again", "wrong"), [(2 * 3 + 3, False), (2 * 3 + 4, True)])
def test_a_start_that_is_killed_before_its_canary_repeats_no_answer_of_it(
    again: int, wrong: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two starts are killed before they ask anything, the third one gets to its end."""
    asked = iter((False, False, True))

    def victim(*_: object) -> SimpleNamespace:
        asks = next(asked)
        return SimpleNamespace(process=SimpleNamespace(wait=lambda: 0), asks=lambda: asks)

    def at_once(*_: object) -> bool:
        return True

    monkeypatch.setattr(crash, "MOMENTS", (at_once,))
    monkeypatch.setattr(crash, "Victim", victim)
    monkeypatch.setattr(crash, "kill_group", lambda process: None)
    monkeypatch.setattr(crash, "stats", lambda url: {"answered_twice": again})
    tally = Tally()
    crash._one_out(2, tmp_path, tmp_path, "http://127.0.0.1:9", 1.0, random.Random(1), tally)
    assert bool(tally.wrong) is wrong
