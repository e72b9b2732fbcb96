"""Labels by hand: a weighted draw, blind questions, several people; files that tell what is wrong in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from annotate.calibration.draw import draw_rows
from annotate.calibration.label import at_best, label, page, page_of, shown
from annotate.calibration.labels import agreement, append_label, judged, merged, read_labels, strata_of
from annotate.calibration.thresholds import calibrate
from annotate.errors import InputError, OutputError, UsageError
from annotate.shards.publish import rejudge
from annotate.tables import parts, read_rows
from schemas.calibration import Label
from tests.shards.test_publish import annotate, guided_teacher, mixed
from tests.shards.test_rejudge import changed
from tests.tables.rows import make_row

ACCEPTED, REJECTED = [f"a{n}" for n in range(900)], [f"r{n}" for n in range(100)]
SIZES = {"accepted": 900, "rejected": 100}


def one(triplet_id: str, person: str, right: bool) -> Label:
    return Label(triplet_id=triplet_id, person=person, right=right)


def test_the_draw_is_the_same_for_everybody_and_a_larger_one_holds_it() -> None:
    drawn = draw_rows(ACCEPTED, REJECTED, 60, seed=1)
    assert drawn == draw_rows(ACCEPTED[::-1], REJECTED[::-1], 60, seed=1)
    assert set(drawn) <= set(draw_rows(ACCEPTED, REJECTED, 200, seed=1))
    assert drawn != draw_rows(ACCEPTED, REJECTED, 60, seed=2)
    assert len({entry.triplet_id for entry in drawn}) == 60


def test_seven_of_ten_rows_are_accepted_ones_wherever_one_stops() -> None:
    drawn = draw_rows(ACCEPTED, REJECTED, 200, seed=3)
    assert Counter(entry.stratum for entry in drawn) == {"accepted": 140, "rejected": 60}
    assert 40 <= Counter(entry.stratum for entry in drawn[:80])["accepted"] <= 70


@pytest.mark.parametrize(
    ("count", "numbers"),
    [
        (100, (70, 30)),
        (600, (500, 100)),
        (990, (890, 100)),
        (1_000, (900, 100)),
        (5_000, (900, 100)),
        (1, (1, 0)),
    ],
)
def test_what_a_stratum_lacks_of_its_share_the_other_gives(count: int, numbers: tuple[int, int]) -> None:
    drawn = draw_rows(ACCEPTED, REJECTED, count, seed=4)
    found = Counter(entry.stratum for entry in drawn)
    assert (found["accepted"], found["rejected"]) == numbers
    assert len({entry.triplet_id for entry in drawn}) == len(drawn)


def test_a_draw_of_more_than_there_is_has_every_row_once() -> None:
    assert {e.triplet_id for e in draw_rows(["x", "y"], [], 9, 0)} == {"x", "y"}
    assert {e.triplet_id for e in draw_rows([], ["x"], 9, 0)} == {"x"}


def test_every_row_of_a_stratum_is_as_likely_as_any_other() -> None:
    counted = Counter(
        e.triplet_id for seed in range(300) for e in draw_rows(ACCEPTED[:20], REJECTED[:20], 10, seed)[:6]
    )
    means = [sum(counted[name] for name in ids[:20]) / 20 for ids in (ACCEPTED, REJECTED)]
    for ids, mean in zip((ACCEPTED, REJECTED), means, strict=True):
        assert all(abs(counted[name] - mean) < 5 * mean**0.5 for name in ids[:20])


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
    read, asked = answers("y", "what?", "n", "u", "q")
    assert "ada: 3 labels of 9" in label(out, file, "ada", 20, 0, lambda digest: None, read)
    assert page_of(out, "ada").exists()
    assert page_of(out, "bob") != page_of(out, "ada"), "who judges at the same time sees their own row"
    for text in asked:
        assert not {"accepted", "rejected", "p_covers", "threshold", "edits_mismatch"} & set(text.split())
    read, more = answers()
    label(out, file, "ada", 20, 0, lambda digest: None, read)
    assert "4 of 9" in more[0], "what is judged is not asked again"
    assert [entry.right for entry in read_labels(file)] == [True, False, None]
    read, _ = answers("y", "y")
    assert "agreement on 2 pairs: 50.0%" in label(out, file, "bob", 20, 0, lambda digest: None, read)
    assert sum(not entry.right for entry in merged(read_labels(file)).values()) == 2, "doubt is no yes"


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
        ('{"triplet_id":"x","person":"a","right":true,"strata":{"accepted":0}}', "strata"),
        ('{"triplet_id":"x","person":"a","right":true,"strata":{"accepted":1e308}}', "strata"),
        ('{"triplet_id":"x","person":"a","right":true,"stratum":"a","strata":{"b":2}}', "none of strata"),
        ('{"triplet_id":"x","person":"\\u001b[31m","right":true}', "printable"),
        ('{"triplet_id":"x","person":" ","right":true}', "printable"),
        ("[" * 100_000, "recursion"),
        ('{"triplet_id":"x","person":"a","right":true,"score":1}', "score"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text(one("x", "a", True).model_dump_json() + "\n" + line + "\n")
    with pytest.raises(InputError, match="line 2") as caught:
        read_labels(file)
    assert words in str(caught.value)


def test_a_line_ends_at_its_newline_and_at_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    notes = ["\u2028", "a\x85b", "\u2029 \u001c"]
    for number, note in enumerate(notes):
        append_label(file, one(str(number), "a", True).model_copy(update={"note": note}))
    assert [entry.note for entry in read_labels(file)] == notes


def test_a_file_whose_last_line_is_open_is_continued_on_a_line_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text(one("x", "a", True).model_dump_json())
    append_label(file, one("y", "a", False))
    assert [entry.triplet_id for entry in read_labels(file)] == ["x", "y"]
    assert file.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("person", ["", " ", "\udcff", "\x1b[31mada", "a\nb"])
def test_a_name_that_cannot_be_shown_is_refused_before_anything_is_asked(tmp_path: Path, person: str) -> None:
    annotate(tmp_path, mixed())
    read, asked = answers("y")
    with pytest.raises(UsageError, match="printable"):
        label(tmp_path / "out", tmp_path / "l.jsonl", person, 5, 0, lambda digest: None, read)
    assert not asked and not (tmp_path / "l.jsonl").exists()


def test_labels_of_verdicts_that_have_changed_since_are_not_continued(tmp_path: Path) -> None:
    annotate(tmp_path, mixed())
    out, file = tmp_path / "out", tmp_path / "labels.jsonl"
    read, _ = answers("y", "y")
    label(out, file, "ada", 20, 0, lambda digest: None, read)
    assert {len(entry.strata) for entry in read_labels(file)} == {2}
    rejudge(out, {"p_covers": 0.0})
    read, asked = answers("y")
    with pytest.raises(UsageError, match=r"labels\.jsonl holds labels of other rows"):
        label(out, file, "bob", 20, 0, lambda digest: None, read)
    assert not asked


def test_a_judge_is_not_told_which_row_was_guided_but_that_some_were(tmp_path: Path) -> None:
    annotate(tmp_path, guided_teacher(), chances=1, guided=True)
    out, file = tmp_path / "out", tmp_path / "labels.jsonl"
    read, asked = answers(*"y" * 10)
    end = label(out, file, "ada", 20, 0, lambda digest: None, read)
    assert "1 of 10 accepted rows were written with the target shown" in end
    assert len(asked) == 10 and not any("target shown" in text for text in asked)
    assert "target shown" not in page_of(out, "ada").read_text()


@pytest.mark.parametrize("part", ["train", "annotations"])
def test_files_that_are_not_the_manifests_are_neither_labelled_nor_calibrated_on(
    tmp_path: Path, part: str
) -> None:
    annotate(tmp_path, mixed())
    out, file = tmp_path / "out", tmp_path / "labels.jsonl"
    words = changed(*parts(out, part))
    read, asked = answers("y")
    with pytest.raises(OutputError, match=re.escape(words)):
        label(out, file, "ada", 20, 0, lambda digest: None, read)
    assert not asked
    append_label(file, one("cirr/train/1", "ada", True))
    if part == "annotations":
        with pytest.raises(OutputError, match=re.escape(words)):
            calibrate(out, file, 0.9)


def test_labels_of_chains_that_were_written_anew_since_are_not_continued(tmp_path: Path) -> None:
    annotate(tmp_path, mixed())
    out, file = tmp_path / "out", tmp_path / "labels.jsonl"
    read, _ = answers("y", "y")
    label(out, file, "ada", 20, 0, lambda digest: None, read)
    first = read_labels(file)[0]
    anew = next(row for row in read_rows(parts(out, "annotations")) if row.triplet_id == first.triplet_id)
    was = judged(anew.model_copy(update={"conclusion_claims": ("a green ball",)}))
    file.write_text(file.read_text().replace(first.judged, was))
    read, asked = answers("y")
    with pytest.raises(UsageError, match=r"labels\.jsonl holds labels of other rows or chains"):
        label(out, file, "ada", 20, 0, lambda digest: None, read)
    assert not asked


def of(name: str, stratum: str, sizes: dict[str, int] = SIZES) -> Label:
    return Label(triplet_id=name, person="a", right=True, stratum=stratum, strata=sizes)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([of("a1", "accepted")], "none of the 100 rejected rows is labelled"),
        (
            [of("a1", "accepted"), one("r1", "a", True)],
            "of r1 by a was drawn from other rows than that of a1",
        ),
        ([of("a1", "accepted"), of("r1", "rejected", {**SIZES, "rejected": 99})], "drawn from other rows"),
        (
            [of("a", "accepted", {"accepted": 1}), of("b", "accepted", {"accepted": 1})],
            "2 accepted rows where 1",
        ),
    ],
)
def test_labels_that_are_no_sample_of_one_state_weigh_nothing(labels: list[Label], words: str) -> None:
    with pytest.raises(InputError, match=words):
        strata_of(labels, Path("labels.jsonl"))


def test_labels_of_all_strata_know_their_sizes() -> None:
    assert strata_of([of("a1", "accepted"), of("r1", "rejected")], Path("l")) == SIZES
    assert strata_of([one("a", "a", True)], Path("l")) == {}


@pytest.mark.parametrize("data", [b"\xff\xfe", b"\x00" * 10])
def test_what_is_no_text_is_no_labels_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "labels.jsonl").write_bytes(data)
    with pytest.raises(InputError, match=r"labels\.jsonl"):
        read_labels(tmp_path / "labels.jsonl")
    with pytest.raises(InputError, match="cannot be read"):
        read_labels(tmp_path)


@pytest.mark.parametrize(
    ("sizes", "count", "certifying", "precision"),
    [
        ((4_149, 844), 600, 273, "0.9889"),
        ((4_149, 844), 750, 341, "0.9911"),
        ((460, 0), 750, 299, "0.99"),
        ((457, 0), 750, 297, "0.9899"),
        ((0, 90), 750, 0, "0"),
    ],
)
def test_before_anything_is_asked_it_is_said_what_the_accepted_rows_of_the_draw_can_promise(
    sizes: tuple[int, int], count: int, certifying: int, precision: str
) -> None:
    told = at_best(*sizes, count)
    assert f"of {sizes[0]:,} accepted" in told and f"none of the {certifying} that" in told
    assert f"alone promise a precision of {precision} if" in told
