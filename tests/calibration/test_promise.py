"""The stratified path from end to end: draw, label, calibrate, select; the promise holds, seed after seed."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from annotate.calibration.calibrate import Labelled, choose_thresholds
from annotate.calibration.draw import draw_rows
from annotate.calibration.labels import read_labels
from annotate.calibration.path import keeps
from annotate.cli import main
from annotate.shards.published import read_manifest
from annotate.tables import parts, read_rows
from schemas.calibration import Calibration
from tests.calibration.world import published, scored

ROWS = 1_200


def wrong(number: int) -> bool:
    return number % 6 == 0


def p_edits(number: int) -> float:
    """Wrong rows have low scores; of the right ones a third is lower than the default threshold wants."""
    spread = (number * 7919 % 997) / 997
    return 0.25 * spread if wrong(number) else 0.3 + 0.6 * spread


def test_labels_of_a_draw_become_a_selection_that_keeps_its_promise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = published(tmp_path, [scored(number, p_edits=p_edits(number)) for number in range(ROWS)])
    before = read_manifest(out).counts
    asked: list[str] = []

    def judge(prompt: str) -> str:
        asked.append(prompt)
        return "n" if wrong(int(re.findall(r"make the ball blue \((\d+)\)", prompt)[0])) else "y"

    monkeypatch.setattr("builtins.input", judge)
    file = tmp_path / "labels.jsonl"
    command = ["--out", str(out), "--labels", str(file)]
    assert main(["label", *command, "--person", "ada", "--count", "250"]) == 0
    assert "to judge: 175 of" in capsys.readouterr().out and len(asked) == 250
    assert not re.search("accepted|rejected|p_edits|edit_not_shown", "".join(asked)), "judged blind"
    labels = read_labels(file)
    assert sum(one.stratum == "accepted" for one in labels) == 175
    assert {tuple(one.strata.items()) for one in labels} == {
        (("accepted", before.accepted), ("rejected", before.rejected))
    }
    verdicts = {
        name: {row.triplet_id for row in read_rows(parts(out, name))} for name in ("train", "rejected")
    }
    assert all(
        one.triplet_id in verdicts["train" if one.stratum == "accepted" else "rejected"] for one in labels
    )

    assert main(["calibrate", *command, "--precision", "0.9"]) == 0
    assert main(["select", "--out", str(out), "--precision", "0.9"]) == 0
    found = Calibration.model_validate_json((out / "thresholds.json").read_bytes())
    kept = {row.triplet_id: int(row.native_id) for row in read_rows(parts(out, "train"))}
    assert sum(map(wrong, kept.values())) <= 0.1 * len(kept) and len(kept) > before.accepted
    weighed = sum(
        size * float(np.mean([one.triplet_id in kept for one in labels if one.stratum == name]))
        for name, size in labels[0].strata.items()
    )
    assert found.kept_share == pytest.approx(weighed / ROWS, abs=1e-5)
    assert read_manifest(out).precision == found.promise


def test_over_many_draws_the_promise_of_weighted_labels_is_broken_in_no_more_than_5_percent() -> None:
    """A quarter of the rows is accepted and errs in 2 %, the others, of which fewer are drawn, in 30 %: who
    takes the labels for a simple random sample promises what is not so."""
    rng, of_each, alpha, tries = np.random.default_rng(1), (1_000, 3_000), 0.1, 60
    stratum = np.repeat([0, 1], of_each)
    bad = np.concatenate([np.arange(1_000) < 20, np.arange(3_000) < 900])
    score = np.where(bad, 0.8 * rng.random(4_000), 0.2 + 0.8 * rng.random(4_000))
    sizes = np.array(of_each, dtype=np.float64)[stratum]
    rows = Labelled(("a",), score[:, None], bad.astype(np.float64), sizes, stratum)
    accepted, rejected = ([str(place) for place in np.flatnonzero(stratum == one)] for one in (0, 1))
    certified, broken = [0, 0], [0, 0]
    for seed in range(tries):
        drawn = np.array([int(entry.triplet_id) for entry in draw_rows(accepted, rejected, 600, seed)])
        weighted = rows.part(drawn)
        for which, data in enumerate((weighted, replace(weighted, stratum=None, sizes=np.ones(600)))):
            choice = choose_thresholds(data, 1 - alpha, seed)
            if choice.certified:
                certified[which] += 1
                broken[which] += (
                    float(bad[keeps(rows.scores, np.array([choice.thresholds["a"]]))].mean()) > alpha
                )
    most = 0.05 * tries + 3 * np.sqrt(tries * 0.05 * 0.95)
    assert certified[0] >= 10 and broken[0] <= most
    assert broken[1] > most, "plain Clopper and Pearson"
