"""Verdicts derived anew from a published OUT: no row that was not checked, no file that is not the run's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from annotate.checks import CHECKS
from annotate.checks.form import FORM
from annotate.errors import OutputError, UsageError
from annotate.report import final_screen, pick_examples, write_report
from annotate.report.chain import unchecked_words
from annotate.selection import DEFAULT_THRESHOLDS, checked_thresholds
from annotate.shards.publish import rejudge
from annotate.tables import parts, read_rows, to_table, write_table
from annotate.teacher.request import Reply, Request
from schemas.manifest import Precision
from tests.shards.test_publish import annotate, contents, mixed
from tests.shards.world import scripted, verified


def test_new_thresholds_judge_anew_what_is_stored(tmp_path: Path) -> None:
    annotate(tmp_path, mixed())
    out = tmp_path / "out"
    manifest = rejudge(out, {"p_covers": 0.03})
    assert manifest.counts.model_dump() == {"input": 10, "accepted": 8, "rejected": 1, "quarantined": 1}
    assert manifest.thresholds == {**DEFAULT_THRESHOLDS, "p_covers": 0.03}
    assert "cirr/train/5" in [row.triplet_id for row in read_rows(parts(out, "train"))]
    assert all(row.reasons == () for row in read_rows(parts(out, "train")))


def defaults_and(**given: float) -> dict[str, float]:
    return {**DEFAULT_THRESHOLDS, **given}


@pytest.mark.parametrize(
    "settings",
    [
        {"checks": (FORM,), "thresholds": {"form": 1.0}},
        {"checks": (FORM,), "thresholds": {"form": 1.0}, "early_stop": True},
        {"thresholds": defaults_and(p_covers=0.03), "early_stop": True},
        {"thresholds": defaults_and(p_match=0.995), "early_stop": True},
        {"checks": CHECKS, "thresholds": defaults_and(margin=0.6)},
        {"thresholds": defaults_and(p_covers=0.999), "early_stop": True, "chances": 1},
        {"thresholds": {"p_edits": 0.5}},
    ],
)
def test_a_selection_without_thresholds_gives_what_annotate_gave(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    in_order = checked_thresholds(settings["thresholds"])  # as annotate brings them
    made = annotate(tmp_path, mixed(), **{**settings, "thresholds": in_order})
    out = tmp_path / "out"
    before = contents(out)
    assert rejudge(out, {}) == made
    assert contents(out) == before
    rejudge(out, {"form": 0.5})
    assert rejudge(out, {}) == made
    assert contents(out) == before


@pytest.mark.parametrize("earlier", [False, True], ids=["noted", "of an earlier version"])
def test_where_no_row_got_far_a_lower_threshold_accepts_none_whose_checks_did_not_run(
    tmp_path: Path, earlier: bool
) -> None:
    def answer(request: Request) -> Reply | None:
        return verified(request, 0.01) if request.stage == "covers" else None

    made = annotate(tmp_path, scripted(answer), early_stop=True)
    out = tmp_path / "out"
    if earlier:
        old = made.model_dump_json(exclude={"run_thresholds", "saw_target", "contamination"})
        (out / "manifest.json").write_text(old)
    manifest = rejudge(out, {"p_covers": 0.0})
    assert manifest.counts.accepted == 0
    assert manifest.reasons == {"not_measured": 10}
    assert manifest.thresholds == {**DEFAULT_THRESHOLDS, "p_covers": 0.0}


def test_default_checks_that_never_ran_are_named(tmp_path: Path) -> None:
    assert unchecked_words(annotate(tmp_path / "all", mixed())) == ""
    made = annotate(tmp_path, mixed(), checks=(FORM,), thresholds={"form": 1.0})
    out = tmp_path / "out"
    words = "coherence, grounded_caption, target_match, leakage never ran"
    write_report(out, made, lambda digest: None)
    for text in ((out / "README.md").read_text(), (out / "report.html").read_text()):
        assert words in text
    assert words in final_screen(made, pick_examples(out), (), ())
    assert words in unchecked_words(rejudge(out, {}))


def test_a_row_that_was_stopped_early_is_not_accepted_by_lower_thresholds(tmp_path: Path) -> None:
    annotate(tmp_path, mixed(), early_stop=True)
    manifest = rejudge(tmp_path / "out", {"p_covers": 0.03})
    assert manifest.reasons == {"edits_mismatch": 1, "not_measured": 1, "reasoning_invalid": 1}
    (row,) = (
        row for row in read_rows(parts(tmp_path / "out", "rejected")) if row.reasons == ("not_measured",)
    )
    assert row.triplet_id == "cirr/train/5"
    assert row.skipped_checks == ("grounded_caption", "target_match", "leakage")


def test_a_score_that_no_row_has_cannot_be_judged_by(tmp_path: Path) -> None:
    annotate(tmp_path, mixed())
    with pytest.raises(UsageError, match="no score margin"):
        rejudge(tmp_path / "out", {"margin": 0.6})


def test_an_estimated_precision_goes_with_its_thresholds_and_leaves_with_others(tmp_path: Path) -> None:
    annotate(tmp_path, mixed())
    estimated = Precision(
        promised=0.9,
        estimate=0.95,
        low=0.91,
        high=0.99,
        confidence=0.95,
        kept_labels=100,
        method="test",
        labels="a" * 64,
    )
    manifest = rejudge(tmp_path / "out", {"p_covers": 0.03}, estimated)
    assert (manifest.thresholds, manifest.precision) == ({"p_covers": 0.03}, estimated)
    assert "95.0%" in (tmp_path / "out" / "README.md").read_text()
    assert rejudge(tmp_path / "out", {"p_covers": 0.03}).precision is None


def test_judging_back_gives_the_same_bytes_as_the_run(tmp_path: Path) -> None:
    annotate(tmp_path, mixed())
    before = contents(tmp_path / "out")
    rejudge(tmp_path / "out", {"p_match": 1.0})
    assert contents(tmp_path / "out") != before
    rejudge(tmp_path / "out", {})
    assert contents(tmp_path / "out") == before


def changed(path: Path) -> str:
    """Scores that a hand made better, in a file that is whole."""
    rows = [row.model_copy(update={"p_covers": 1.0, "detail": "mine"}) for row in read_rows([path])]
    write_table(to_table(rows), path)
    return f"{path} was changed"


def missing(path: Path) -> str:
    path.unlink()
    return f"{path} is missing"


def added(path: Path) -> str:
    other = path.with_name("part-00001.parquet")
    other.write_bytes(path.read_bytes())
    return f"{other} is no file of this run"


@pytest.mark.parametrize("spoil", [changed, missing, added])
@pytest.mark.parametrize("part", ["annotations", "quarantine"])
def test_files_that_are_not_the_manifests_are_not_judged(
    tmp_path: Path, part: str, spoil: Callable[[Path], str]
) -> None:
    annotate(tmp_path, mixed())
    out = tmp_path / "out"
    before = (out / "manifest.json").read_bytes()
    words = spoil(*parts(out, part))
    with pytest.raises(OutputError) as caught:
        rejudge(out, {"p_covers": 0.03})
    assert str(caught.value).startswith(words) and "\n" not in str(caught.value)
    assert (out / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.1])
@pytest.mark.parametrize("name", ["promised", "estimate", "low", "high", "confidence"])
def test_a_precision_outside_0_to_1_is_no_precision(name: str, value: float) -> None:
    right = {"promised": 0.9, "estimate": 0.95, "low": 0.91, "high": 0.99, "confidence": 0.95}
    with pytest.raises(ValidationError, match=name):
        Precision(**(right | {name: value}), kept_labels=1, method="test", labels="a" * 64)


def test_judging_refuses_bad_thresholds_and_an_unpublished_out(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no manifest"):
        rejudge(tmp_path, {"p_match": 0.5})
    annotate(tmp_path, mixed())
    before = contents(tmp_path / "out")
    with pytest.raises(UsageError):
        rejudge(tmp_path / "out", {"beauty": 0.5})
    (tmp_path / "out" / "manifest.json").write_text("{}")
    with pytest.raises(OutputError, match=r"manifest\.json"):
        rejudge(tmp_path / "out", {"p_match": 0.5})
    assert before.keys() == contents(tmp_path / "out").keys()


def test_a_run_of_quarantined_rows_alone_may_be_selected_again(tmp_path: Path) -> None:
    made = annotate(tmp_path, scripted(lambda request: Reply("nonsense", "stop")))
    assert made.counts.quarantined == 10
    assert rejudge(tmp_path / "out", {}).thresholds == made.thresholds


def test_a_selection_touches_no_file_of_somebody_else_and_keeps_the_runs_settings(tmp_path: Path) -> None:
    made = annotate(tmp_path, mixed())
    out = tmp_path / "out"
    own = out / "train" / "mine.parquet"
    own.write_bytes(b"PAR1")
    write_report(out, made, lambda digest: None)
    manifest = rejudge(out, {"p_covers": 0.9})
    assert own.read_bytes() == b"PAR1"
    assert not (out / "report.html").exists(), "that of the rows before"
    page = write_report(out, manifest, lambda digest: None).read_text()
    assert manifest.settings == made.settings == {"LIMIT": "200"} and "Settings of the run" in page
