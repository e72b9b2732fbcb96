"""The last screen and `inspect`: all that matters on one screen, ids found or nearly found, no escapes."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotate.card import dataset_card
from annotate.cli import _last_screen
from annotate.errors import OutputError, UsageError
from annotate.inspect_triplet import inspect, near_matches
from annotate.report import final_screen, pick_examples
from annotate.report.chain import decisive_scores
from annotate.report.terminal import MAX_LINES
from annotate.selection import DEFAULT_THRESHOLDS, REASONS

Fixture = Callable[..., Any]
PATHS = [("results", "outputs/cirr-train"), ("report", "outputs/cirr-train/report.html")]
NEXT = [("one triplet", "python -m annotate inspect outputs/cirr-train cirr/train/1")]


@pytest.fixture
def three(make_row: Fixture, rejected: Fixture, quarantined: Fixture, publish: Fixture) -> Any:
    return publish([make_row(1), rejected(2), quarantined(3)])


def test_final_screen_shows_counts_one_example_each_paths_and_next_steps(tmp_path: Path, three: Any) -> None:
    screen = final_screen(three, pick_examples(tmp_path), PATHS, NEXT)
    for words in (
        "cirr/train: 3 triplets = 1 accepted + 1 rejected + 1 quarantined",
        "left out    2 rows: missing_image 1, target_mismatch 1\n",
        "thresholds  p_match=0.95\n",
        "accepted: cirr/train/1, p_match 0.990 (threshold 0.95)",
        '"make the ball blue"',
        "red ball, sand background",
        "ball: red -> blue",
        "blue ball, sand background",
        "rejected: cirr/train/2, p_match 0.250 (threshold 0.95)",
        "quarantined: cirr/train/3",
        PATHS[1][1],
        NEXT[0][1],
    ):
        assert words in screen, words


def test_final_screen_counts_rows_left_out_and_says_that_their_reasons_are_more(
    tmp_path: Path, make_row: Fixture, rejected: Fixture, publish: Fixture
) -> None:
    twice = ("target_mismatch", "edit_not_shown")
    manifest = publish([make_row(1), rejected(2, reasons=twice), rejected(3)])
    screen = final_screen(manifest, pick_examples(tmp_path), [], [])
    assert "left out    2 rows, 3 reasons: target_mismatch 2, edit_not_shown 1\n" in screen


def test_a_run_that_accepted_nothing_says_so_and_why_most_were_left_out(
    tmp_path: Path, rejected: Fixture, quarantined: Fixture, publish: Fixture
) -> None:
    manifest = publish([rejected(1), rejected(2), quarantined(3)])
    screen = " ".join(final_screen(manifest, pick_examples(tmp_path), [], []).split())
    assert "NOTHING was accepted, so there is nothing to train on; 2 rows as target_mismatch: " in screen
    assert REASONS["target_mismatch"].rstrip(".") in screen


@pytest.mark.parametrize(
    ("changes", "offered"),
    [({}, True), ({"split": "val"}, False), ({"dataset": "circo", "split": "val"}, False)],
)
def test_what_to_do_next_names_a_shown_row_and_trains_on_nothing_but_train(
    tmp_path: Path, make_row: Fixture, publish: Fixture, changes: dict[str, Any], offered: bool
) -> None:
    screen = _last_screen(tmp_path, publish([make_row(1)], **changes))
    assert f"annotate inspect cirr/train/1 --out {tmp_path}\n" in screen
    assert f"make select OUT={tmp_path} THRESHOLDS=" in screen
    assert ("make train-eval" in screen) == offered


def test_a_root_that_cannot_be_looked_into_offers_no_score_by_truth(
    tmp_path: Path, make_row: Fixture, publish: Fixture
) -> None:
    manifest = publish([make_row(1)], root="x" * 300)  # raises as a folder without rights does, also for root
    assert "score by truth" not in _last_screen(tmp_path, manifest)


@pytest.mark.parametrize(
    ("source", "said", "unsaid"),
    [
        ("sample", "nothing in it comes from CIRR", "Derived from"),
        ("user", "Derived from CIRR and to be used under its terms. CIRR's annotations", "Rendered by"),
    ],
)
def test_the_card_names_the_licence_of_what_the_rows_were_made_from(
    make_row: Fixture, publish: Fixture, source: str, said: str, unsaid: str
) -> None:
    licence = dataset_card(publish([make_row(1)], source=source)).split("## Licence")[1]
    assert said in licence and unsaid not in licence


def test_an_accepted_row_shows_its_weakest_scores_and_none_that_every_accepted_row_has(
    make_row: Fixture, rejected: Fixture
) -> None:
    thresholds = {"form": 1.0, "p_covers": 0.5, "p_grounded": 0.5, "p_edits": 0.9, "kept_share": 0.5}
    scores = {"form": 1.0, "p_covers": 0.97, "p_grounded": 0.61, "p_edits": 0.95, "kept_share": 1.0}
    assert decisive_scores(make_row(1, **scores), thresholds) == (
        "p_edits 0.950 (threshold 0.9), p_grounded 0.610 (threshold 0.5)"
    )
    assert decisive_scores(make_row(1, form=1.0), {"form": 1.0}) == "form 1.000 (threshold 1)"
    assert decisive_scores(make_row(1), {"form": 1.0}) == ""
    assert decisive_scores(rejected(1, form=0.5, p_covers=0.9), thresholds) == "form 0.500 (threshold 1)"


def test_final_screen_stays_one_screen_whatever_the_rows_say(
    tmp_path: Path, make_row: Fixture, rejected: Fixture, quarantined: Fixture, publish: Fixture
) -> None:
    long: dict[str, Any] = {"modification": "word " * 900, "rationale": "why " * 99, "kept": ("colour",) * 16}
    long |= dict.fromkeys(("caption_claims", "conclusion_claims"), ("a very long claim " * 6,) * 16)
    manifest = publish(
        [make_row(1, **long), rejected(2, **long), quarantined(3, modification="word " * 900)],
        status="incomplete",
        teacher_sees_target=True,
        thresholds=dict(DEFAULT_THRESHOLDS),
    )
    screen = final_screen(manifest, pick_examples(tmp_path), PATHS * 2, NEXT * 4)
    lines = screen.splitlines()
    assert len(lines) <= MAX_LINES
    assert all(len(line) <= 100 for line in lines)
    assert lines[-1].endswith(NEXT[0][1])


def test_final_screen_without_rows_of_a_kind_leaves_it_out(
    tmp_path: Path, make_row: Fixture, publish: Fixture
) -> None:
    manifest = publish([make_row(1)])
    screen = final_screen(manifest, pick_examples(tmp_path), [], [])
    assert "rejected:" not in screen
    assert "Next" not in screen


def test_terminal_text_cannot_carry_escapes(tmp_path: Path, make_row: Fixture, publish: Fixture) -> None:
    evil = "\x1b[2J\x1b]0;owned\x07\u202eevil"
    texts = dict.fromkeys(("modification", "rationale", "reference", "native_id", "teacher"), evil)
    lists = dict.fromkeys(
        ("caption_claims", "conclusion_claims", "kept", "notes", "subset", "positives"), (evil,)
    )
    manifest = publish([make_row(1, **texts, **lists)], root=evil, layout=evil)
    row = make_row(1, **texts, **lists)  # as if it came past the Parquet writer, which cleans as well
    examples = type(pick_examples(tmp_path))(row, None, None)
    for shown in (final_screen(manifest, examples, [(evil, evil)], [(evil, evil)]), inspect(tmp_path, "1")):
        assert all(c == "\n" or unicodedata.category(c) not in {"Cc", "Cf"} for c in shown)


def test_inspect_prints_the_whole_chain_and_the_verdict_in_words(tmp_path: Path, three: Any) -> None:
    shown = inspect(tmp_path, "cirr/train/2")
    for words in (
        "cirr/train/2: rejected",
        "target_mismatch: ",
        "p_match 0.250 (threshold 0.95)",
        "a" * 64,
        "ball: red -> blue",
    ):
        assert words in shown, words
    assert REASONS["target_mismatch"][:40] in " ".join(shown.split())
    assert "not read" in inspect(tmp_path, "cirr/train/3")


def test_inspect_names_the_claims_in_doubt_and_the_checks_that_were_not_asked(
    tmp_path: Path, rejected: Fixture, publish: Fixture
) -> None:
    row = rejected(1, claim_grounded=(0.7, 0.99), skipped_checks=("target_match", "leakage"))
    publish([row], thresholds={"p_grounded": 0.9})
    shown = inspect(tmp_path, "cirr/train/1")
    assert "doubtful    red ball (0.700)\n" in shown
    assert "not asked   target_match, leakage\n" in shown


def test_inspect_takes_the_end_of_an_id_when_it_is_the_only_one(
    tmp_path: Path, make_row: Fixture, publish: Fixture
) -> None:
    publish([make_row(1), make_row(2, triplet_id="cirr/val/1"), make_row(3)])
    assert inspect(tmp_path, "3").startswith("cirr/train/3: accepted")
    with pytest.raises(UsageError, match="several end like that: cirr/train/1, cirr/val/1"):
        inspect(tmp_path, "1")


def test_inspect_of_an_unknown_id_names_near_ones(tmp_path: Path, three: Any) -> None:
    with pytest.raises(UsageError, match=r"no triplet 'cir/train/2'; near matches: cirr/train/2, "):
        inspect(tmp_path, "cir/train/2")
    with pytest.raises(UsageError, match="ids there look like cirr/train/1"):
        inspect(tmp_path, "%%%%%%%%%%%%%")


def test_near_matches_prefer_what_contains_the_word_and_are_bounded() -> None:
    ids = [f"fashioniq/train/dress/{n:06d}" for n in range(100_000)]
    assert near_matches("09999", ids)[0] == "fashioniq/train/dress/009999"
    assert "fashioniq/train/dress/000017" in near_matches("fashioniq/train/dres/000017", ids)
    assert len(near_matches("fashioniq", ids)) == 5


def test_inspect_of_a_folder_without_results_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="run make annotate first"):
        inspect(tmp_path / "nowhere", "cirr/train/1")
