"""Labels by hand: a weighted draw, blind questions, several people; files that tell what is wrong in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from annotate.calibration.draw import draw_rows
from annotate.calibration.label import PAGE, label, page, shown
from annotate.calibration.labels import agreement, append_label, merged, read_labels
from annotate.errors import InputError
from schemas.calibration import Label
from tests.shards.test_publish import annotate, mixed
from tests.tables.rows import make_row

STRATA = {"accepted": [f"a{n}" for n in range(900)], "rejected": [f"r{n}" for n in range(100)]}


def one(triplet_id: str, person: str, right: bool) -> Label:
    return Label(triplet_id=triplet_id, person=person, right=right)


def test_the_draw_is_the_same_for_everybody_and_a_larger_one_continues_it() -> None:
    drawn = draw_rows(STRATA, 60, seed=1)
    assert drawn == draw_rows({name: ids[::-1] for name, ids in STRATA.items()}, 60, seed=1)
    assert draw_rows(STRATA, 200, seed=1)[:60] == drawn
    assert drawn != draw_rows(STRATA, 60, seed=2)
    assert len({entry.triplet_id for entry in drawn}) == 60


def test_weights_undo_the_shares_of_the_strata() -> None:
    drawn = draw_rows(STRATA, 200, seed=3)
    counted = Counter(entry.stratum for entry in drawn)
    assert counted["rejected"] > 0.2 * 200, "rejected rows are drawn more often than they occur"
    weights = {entry.stratum: entry.weight for entry in drawn}
    assert weights == {"accepted": pytest.approx(0.9 / 0.7), "rejected": pytest.approx(0.1 / 0.3)}
    estimate = sum(e.weight for e in drawn if e.stratum == "rejected") / sum(e.weight for e in drawn)
    assert estimate == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [300, 600, 900, 993, 1000])
def test_weights_stay_right_when_a_small_stratum_runs_dry(count: int, seed: int) -> None:
    strata = {"accepted": [f"a{n}" for n in range(843)], "rejected": [f"r{n}" for n in range(150)]}
    drawn = draw_rows(strata, count, seed)
    estimate = sum(e.weight for e in drawn if e.stratum == "rejected") / sum(e.weight for e in drawn)
    assert estimate == pytest.approx(150 / 993, abs=0.035 if count < 993 else 1e-9)
    assert len(drawn) == 993 or count < 993


def test_a_draw_of_more_than_there_is_has_every_row_once() -> None:
    assert {e.triplet_id for e in draw_rows({"accepted": ["x", "y"], "rejected": []}, 9, 0)} == {"x", "y"}


def answers(*given: str) -> tuple[Callable[[str], str], list[str]]:
    asked: list[str] = []
    left = iter(given)

    def read(prompt: str) -> str:
        asked.append(prompt)
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    return read, asked


def test_a_person_judges_without_seeing_verdict_or_scores_and_goes_on_later(tmp_path: Path) -> None:
    annotate(tmp_path, mixed())
    out, file = tmp_path / "out", tmp_path / "labels.jsonl"
    read, asked = answers("y", "what?", "n", "s", "q")
    assert "ada: 2 labels of 9" in label(out, file, "ada", 20, 0, lambda digest: None, read)
    assert (out / PAGE).exists()
    for text in asked:
        assert not {"accepted", "rejected", "p_covers", "threshold", "edits_mismatch"} & set(text.split())
    read, more = answers()
    label(out, file, "ada", 20, 0, lambda digest: None, read)
    assert "3 of 9" in more[0], "what is judged is not asked again"
    assert [entry.right for entry in read_labels(file)] == [True, False]
    read, _ = answers("y", "y")
    assert "agreement on 2 pairs: 50.0%" in label(out, file, "bob", 20, 0, lambda digest: None, read)


def test_the_page_shows_foreign_text_as_text() -> None:
    row = make_row(1, modification="<script>alert(1)</script>", verdict="rejected", reasons=("no",))
    text = page(row, lambda digest: None)
    assert "<script>" not in text and "&lt;script&gt;" in text
    assert "rejected" not in text + shown(row)


def test_most_people_decide_and_a_tie_counts_as_wrong() -> None:
    labels = [one("x", "a", True), one("x", "b", False), one("y", "a", True), one("y", "b", True)]
    labels += [one("z", "a", True), one("z", "b", False), one("z", "c", True)]
    assert {name: entry.right for name, entry in merged(labels).items()} == {"x": False, "y": True, "z": True}
    agreed = agreement(labels)
    assert (agreed.people, agreed.pairs) == (("a", "b", "c"), 5)
    assert agreed.share == pytest.approx(2 / 5)
    assert agreement([one("x", "a", True)]).share is None


def test_a_later_label_of_the_same_person_replaces_the_earlier(tmp_path: Path) -> None:
    file = tmp_path / "new" / "labels.jsonl"
    for right in (True, False):
        append_label(file, one("x", "a", right))
    assert [entry.right for entry in read_labels(file)] == [False]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2"),
        ('{"triplet_id":"x","person":"a"}', "right"),
        ('{"triplet_id":"x","person":"a","right":true,"weight":0}', "weight"),
        ('{"triplet_id":"x","person":"a","right":true,"score":1}', "score"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text(one("x", "a", True).model_dump_json() + "\n" + line + "\n")
    with pytest.raises(InputError, match="line 2") as caught:
        read_labels(file)
    assert words in str(caught.value)
