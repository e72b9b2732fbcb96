"""A changed setting says before it asks how many requests that costs and why; unchanged answers are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from annotate.cli import main
from annotate.shards.pending import Pending
from annotate.telling import cost_words
from bench.driving import fault_server, stats, write_world

CANARY = 4  # requests of the canary


def words(causes: dict[tuple[str, ...], int]) -> str:
    return cost_words(Pending(sum(causes.values()), 1, 100, 10, causes))


def test_what_was_never_asked_is_told_from_what_is_asked_again() -> None:
    said = words({("stage",): 3, ("conversation",): 4, ("prompt", "conversation"): 20, ("images",): 2})
    assert "(20 asked before with another prompt; 7 not asked before; 2 about pictures that are new" in said


def test_a_fresh_run_gives_no_reasons() -> None:
    assert "(" not in words({}).replace("to ask: 0", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "reason", "asked"),
    [
        ({"caption_tokens": 400}, "26 asked before with another sampling", 26),
        ({"conclusion_tokens": 400}, "10 asked before with another sampling", 10),
        (
            {"image_recipe": "fit224-q90-v1"},
            "26 about pictures that are new, changed or encoded otherwise",
            26,
        ),
        ({"concurrency": 3}, "everything has been answered", 0),
        ({"thresholds": "form=0.5"}, "everything has been answered", 0),
    ],
)
def test_exactly_what_depends_on_a_changed_setting_is_asked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object], reason: str, asked: int
) -> None:
    """Of 10 triplets with 6 references, judged by form alone: 6 captions, 10 reasonings, 10 conclusions."""
    world, out = write_world(tmp_path / "world", 10), tmp_path / "out"
    with fault_server() as url:

        def run(**settings: object) -> str:
            given = {"dataset": "cirr", "root": world, "out": out, "teacher_url": f"{url}/ok/v1"}
            flags = {**given, "teacher_model": "test", "runner": "local", "checks": "form"}
            flags |= settings
            words = [w for name, v in flags.items() for w in (f"--{name.replace('_', '-')}", str(v))]
            assert main(["run", *words]) == 0
            return capsys.readouterr().err

        assert "to ask: 26 requests about 10 triplets" in run()
        before = stats(url)["requests"]
        said = run(**change)
        now = stats(url)["requests"]
    assert reason in said, said
    assert now - before == (asked and asked + CANARY)
