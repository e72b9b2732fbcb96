"""A changed setting says before it asks how many requests that costs and why, and what it changes in OUT."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from annotate.cli import main
from annotate.shards.pending import Pending
from annotate.shards.published import read_manifest
from annotate.teacher.client import Stats
from annotate.telling import asked_words, cost_words, wait_words
from bench.driving import fault_server, rows_of, stats, write_world
from schemas.manifest import Precision

Run = Callable[..., str]
CANARY = 4  # requests of the canary


def words(causes: dict[tuple[str, ...], int]) -> str:
    return cost_words(Pending(sum(causes.values()), 1, 100, 10, causes))


def test_what_was_never_asked_is_told_from_what_is_asked_again() -> None:
    said = words({("stage",): 3, ("conversation",): 4, ("prompt", "conversation"): 20, ("images",): 2})
    assert "(20 asked before with another prompt; 7 not asked before; 2 about pictures, as they are" in said


def test_what_was_asked_is_said_at_the_end_and_what_of_it_was_not_smooth() -> None:
    smooth = Stats(requests=1200, prompt_tokens=4000, cached_tokens=3000, completion_tokens=900)
    assert (
        asked_words(smooth) == "asked: 1,200 requests, 4,000 prompt tokens (75% of them cached), 900 written"
    )
    rough = asked_words(Stats(requests=3, retries=2, hedges=1))
    assert rough.endswith("0 written; 2 tried again; 1 asked of a second server, too")


def test_waits_are_told_a_kept_row_and_only_where_there_were_any() -> None:
    said = wait_words({"coherence": 30.0, "target_match": 90.0}, 60)
    assert said.endswith("(many wait at once): coherence 0.5 s, target_match 1.5 s")
    assert wait_words({"coherence": 0.2}, 60) == wait_words({"coherence": 30.0}, 0) == wait_words({}, 9) == ""


def test_a_fresh_run_gives_no_reasons() -> None:
    assert "(" not in words({})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "reason", "asked"),
    [
        ({"caption_tokens": 400}, "26 asked before with another sampling", 26),
        ({"conclusion_tokens": 400}, "10 asked before with another sampling", 10),
        (
            {"image_recipe": "fit224-q90-v1"},
            "26 about pictures, as they are shown now, not asked before",
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

        assert "to ask: an estimated 26 requests about 10 triplets" in run()
        before = stats(url)["requests"]
        said = run(**change)
        now = stats(url)["requests"]
    assert reason in said, said
    assert now - before == (asked and asked + CANARY)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """`run(**settings)`: a run on one OUT of 10 triplets, judged by form and coherence; what it said."""
    world = write_world(tmp_path / "world", 10)
    with fault_server() as url:

        def go(**settings: object) -> str:
            given = {"dataset": "cirr", "root": world, "out": tmp_path / "out", "runner": "local"}
            given |= {"teacher_url": f"{url}/ok/v1", "teacher_model": "test", "checks": "form,coherence"}
            flags = given | settings
            words = [w for name, v in flags.items() for w in (f"--{name.replace('_', '-')}", str(v))]
            assert main(["run", *words]) == 0
            return capsys.readouterr().err

        yield go


def test_a_run_that_changes_the_thresholds_of_out_says_so_before_it_does(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert "was selected" not in run()
    assert main(["select", "--out", str(out), "--thresholds", "form=0.5"]) == 0
    said = capsys.readouterr().err
    assert f"{out} was selected with form=1; this run uses form=0.5\n" in said
    said = run()
    note = f"{out} was selected with form=0.5; this run uses form=1; THRESHOLDS=form=0.5 keeps the former\n"
    assert note in said and said.index(note) < said.index("publishing")
    assert "was selected" not in run()
    assert f"{out} was selected with form=1; this run uses form=0.5\n" in run(thresholds="form=0.5")
    assert "was selected" not in run(thresholds="form=0.5")


def test_a_run_that_takes_a_promised_precision_away_says_how_it_comes_back(run: Run, tmp_path: Path) -> None:
    run()
    promise = Precision(
        promised=0.9, estimate=1, low=0.9, high=1, confidence=0.95, kept_labels=9, method="m", labels="l"
    )
    manifest = read_manifest(tmp_path / "out").model_copy(update={"precision": promise})
    (tmp_path / "out" / "manifest.json").write_text(manifest.model_dump_json())
    back = (
        f"promises no precision; `make select OUT={tmp_path / 'out'} PRECISION=0.9` brings it back for rows"
    )
    assert f"promised a precision of 0.9; this run {back}" in run()


def test_a_smaller_limit_says_how_many_rows_stay_and_that_no_answer_is_lost(run: Run, tmp_path: Path) -> None:
    assert "this run keeps" not in run()
    said = run(limit=4)
    note = f"{tmp_path / 'out'} holds 10 triplets; this run keeps 4 of them in the Parquet files; the journal"
    assert note in said and said.index(note) < said.index("publishing")
    assert len(rows_of(tmp_path / "out")) == 4
    again = run()
    assert "this run keeps" not in again and "everything has been answered" in again
    run(limit=4)
    drawn = rows_of(tmp_path / "out")
    said = run(limit=4, seed=3)
    kept = len(drawn.keys() & rows_of(tmp_path / "out").keys())
    assert kept < 4 and f"holds 4 triplets; this run keeps {kept} of them" in said
