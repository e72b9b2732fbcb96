"""Chosen thresholds keep their promise on unseen rows, keep most right ones, and say when labels are few."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from annotate.calibration.bounds import best_bet, p_value
from annotate.calibration.calibrate import (
    Labelled,
    _split,
    as_thresholds,
    best_promise,
    choose_thresholds,
    curve,
    labelled,
)
from annotate.calibration.draw import draw_numbers, draw_rows
from annotate.calibration.path import keeps, threshold_path
from annotate.errors import UsageError

NAMES = ("a", "b", "c", "d")


def population(rows: int, seed: int, blind: float = 0.01) -> Labelled:
    """Three of four rows are right; each wrong one has one low score, save for a share that no score sees."""
    rng = np.random.default_rng(seed)
    wrong = (rng.random(rows) < 0.25).astype(float)
    scores = 1 - rng.beta(1, 25, (rows, len(NAMES)))
    seen = (wrong > 0) & (rng.random(rows) >= blind)
    scores[seen, rng.integers(0, len(NAMES), int(seen.sum()))] = rng.beta(1, 6, int(seen.sum()))
    return Labelled(NAMES, scores, wrong, np.ones(rows))


ALL = population(24_000, 1)


def sample(seed: int, rows: int) -> Labelled:
    return ALL.part(np.random.default_rng(seed).choice(12_000, rows, replace=False))


def unseen(thresholds: dict[str, float]) -> tuple[float, float]:
    """Error among the kept and share of right rows kept, on the half that is never labelled."""
    rest = ALL.part(np.arange(12_000, 24_000))
    kept = keeps(rest.scores, np.array([thresholds.get(name, 0.0) for name in NAMES]))
    return float(rest.wrong[kept].mean()), float((kept & (rest.wrong == 0)).sum() / (rest.wrong == 0).sum())


@pytest.mark.slow
def test_the_error_on_unseen_rows_is_within_the_promise_in_95_percent_of_resamples() -> None:
    broken, kept, promised = 0, [], 0
    for seed in range(40):
        choice = choose_thresholds(sample(seed, 500), 0.98, seed)
        if choice.certified:
            error, share = unseen(dict(choice.thresholds))
            promised += 1
            broken += error > 0.02
            kept.append(share)
    assert broken <= 0.05 * 40 + 2
    assert promised >= 20 and float(np.mean(kept)) >= 0.9


def test_one_choice_keeps_its_promise_and_most_right_rows() -> None:
    choice = choose_thresholds(sample(3, 1_500), 0.98)
    error, share = unseen(dict(choice.thresholds))
    assert choice.certified and choice.needed is None
    assert error <= 0.02 and share >= 0.9
    assert choice.low >= 0.98 and choice.low <= choice.estimate <= choice.high


def test_too_few_labels_say_how_many_more_are_needed() -> None:
    choice = choose_thresholds(sample(1, 120), 0.99)
    assert not choice.certified
    assert choice.needed is not None and choice.needed > 299 - 120


def without_errors(rows: int, strata: bool) -> Labelled:
    """Right rows alone, all of one score; as a stratified sample 85 of 100 stand for the larger stratum."""
    if not strata:
        return Labelled(("a",), np.ones((rows, 1)), np.zeros(rows), np.ones(rows))
    few = round(0.3 * rows)
    stratum = np.repeat([0, 1], [rows - few, few])
    return Labelled(
        ("a",), np.ones((rows, 1)), np.zeros(rows), np.array([8_500.0, 1_500.0])[stratum], stratum
    )


@pytest.mark.parametrize("strata", [False, True])
def test_as_many_labels_as_were_said_to_be_needed_do(strata: bool) -> None:
    first = choose_thresholds(without_errors(200, strata), 0.99)
    assert not first.certified and first.needed is not None
    assert choose_thresholds(without_errors(200 + first.needed + 2, strata), 0.99).certified
    assert not choose_thresholds(without_errors(200 + round(0.9 * first.needed), strata), 0.99).certified


def test_strata_too_small_to_choose_by_are_refused() -> None:
    alone = Labelled(("a",), np.ones((12, 1)), np.zeros(12), np.full(12, 9.0), np.arange(12))
    with pytest.raises(UsageError, match="no stratum has labels enough"):
        choose_thresholds(alone, 0.9)


def test_errors_that_no_score_tells_are_not_promised_away() -> None:
    hopeless = population(1_000, 7, blind=0.9)
    choice = choose_thresholds(hopeless, 0.99)
    assert (choice.certified, choice.needed) == (False, None)


def test_few_errors_that_stand_for_many_rows_are_a_matter_of_more_labels() -> None:
    """Two of 525 accepted rows are wrong, .4 %: 1 % can be certified, although a bet that was chosen where
    none of the two was loses all by them."""
    rng, sizes = np.random.default_rng(11), {"accepted": 4_149, "rejected": 844}
    rows: list[tuple[dict[str, float | None], bool, str]]
    rows = [({"a": 0.9 + 0.1 * float(rng.random())}, place > 1, "accepted") for place in range(525)]
    rows += [({"a": 0.1}, False, "rejected")] * 225
    data = labelled(rows, ("a",), sizes)
    for seed in range(12):
        choice = choose_thresholds(data, 0.99, seed)
        assert not choice.certified
        assert choice.needed is not None and choice.needed > 500


def test_labels_that_hardly_speak_for_the_promise_need_very_many_more() -> None:
    """999 of 100,000 err where 1,000 may: true, and beyond any number of labels that somebody would give."""
    wrong = (np.arange(20_000) % 101 == 0).astype(float)
    data = Labelled(("a",), np.ones((20_000, 1)), wrong, np.full(20_000, 90_000.0), np.arange(20_000) % 2)
    choice = choose_thresholds(data, 0.99)
    assert not choice.certified
    assert choice.needed is not None and choice.needed > 100_000


@pytest.mark.parametrize("precision", [0.0, 1.0, 1e-17, -1e-17, float("nan"), float("inf")])
def test_a_precision_that_leaves_no_error_to_test_is_refused(precision: float) -> None:
    with pytest.raises(UsageError, match="cannot be promised"):
        choose_thresholds(without_errors(100, False), precision)


def test_a_test_without_a_result_certifies_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annotate.calibration.calibrate._tested", lambda *_: float("nan"))
    assert not choose_thresholds(without_errors(2_000, False), 0.99).certified


def test_the_path_goes_from_keeping_all_to_keeping_the_surest() -> None:
    data = sample(2, 400)
    path = threshold_path(data.scores, data.wrong, data.weights)
    kept = [keeps(data.scores, least) for least in path]
    assert kept[0].all()
    for looser, stricter in pairwise(kept):
        assert (looser | ~stricter).all(), "a row once lost does not come back"
    points = curve(data)
    assert points[0][1] == 1.0 and points[0][2] == pytest.approx(data.wrong.mean())
    assert points[-1][2] <= points[0][2]


def test_an_unmeasured_score_reaches_no_threshold_and_zero_means_measured() -> None:
    rows: list[tuple[dict[str, float | None], bool, str]]
    rows = [({"a": 0.5, "b": None}, True, ""), ({"a": 0.9, "b": 0.2}, False, "")]
    data = labelled(rows, ("a", "b"))
    assert data.scores.tolist() == [[0.5, -1.0], [0.9, 0.2]]
    assert keeps(data.scores, np.zeros(2)).tolist() == [False, True]
    assert as_thresholds(("a", "b"), np.array([0.0, 0.5])) == {"a": 0.0, "b": 0.5}


def test_the_choice_depends_on_labels_and_seed_alone() -> None:
    data = sample(4, 600)
    assert choose_thresholds(data, 0.97, 1) == choose_thresholds(data, 0.97, 1)


SIZES = {"accepted": 843, "rejected": 150}


def drawn(rng: np.random.Generator, wrong: dict[str, np.ndarray], count: int, stop: int) -> Labelled:
    """Labels of the first `stop` rows of a real draw of `count` from strata with these wrong rows."""
    ids = {name: [f"{name}/{row}" for row in range(size)] for name, size in SIZES.items()}
    entries = draw_rows(ids["accepted"], ids["rejected"], count, int(rng.integers(1 << 30)))[:stop]
    rows = [
        ({"a": 1.0}, not wrong[entry.stratum][int(entry.triplet_id.split("/")[1])], entry.stratum)
        for entry in entries
    ]
    return labelled(rows, ("a",), SIZES)


def spoilt(rng: np.random.Generator, rejected: int, total: int) -> dict[str, np.ndarray]:
    """Which rows are wrong: so many of all, and so many of these among the rejected."""
    wrong = {name: np.zeros(size, dtype=bool) for name, size in SIZES.items()}
    wrong["rejected"][rng.choice(SIZES["rejected"], rejected, replace=False)] = True
    wrong["accepted"][rng.choice(SIZES["accepted"], total - rejected, replace=False)] = True
    return wrong


@pytest.mark.parametrize(("count", "stop"), [(300, 300), (600, 600), (600, 400), (900, 850), (993, 400)])
def test_weights_stay_right_when_a_small_stratum_runs_dry_or_the_person_stops(count: int, stop: int) -> None:
    """Estimated from weights, the share of wrong rows is right on average, whatever was labelled."""
    rng = np.random.default_rng(count + stop)
    found = []
    for _ in range(60):
        data = drawn(rng, spoilt(rng, 75, 100), count, stop)
        found.append(float((data.weights * data.wrong).sum() / data.weights.sum()))
        of_rejected = float(data.weights[data.sizes == 150].sum() / data.weights.sum())
        assert data.plain or of_rejected == pytest.approx(150 / 993)
    assert float(np.mean(found)) == pytest.approx(100 / 993, abs=0.005)


@pytest.mark.parametrize(("count", "stop"), [(450, 450), (600, 600), (600, 350), (900, 900), (993, 500)])
def test_a_false_promise_stays_rare_when_a_stratum_is_exhausted(count: int, stop: int) -> None:
    """The error among all rows is just above 8 %; a draw has half or all of the rejected, which err most.
    Who takes these rows for equally likely promises too much where those drawn more often err least."""
    rng = np.random.default_rng(count * 7 + stop)
    alpha, tries, broken, ignoring = 0.08, 240, 0, 0
    for number in range(tries):
        wrong = spoilt(rng, (0, 40, 79)[number % 3], 80)
        data, before = drawn(rng, wrong, count, stop), drawn(rng, wrong, count, stop)
        bet = best_bet(before.wrong, before.weights, alpha)
        broken += p_value(data.wrong, data.weights, alpha, bet, data.plain) <= 0.05
        ignoring += number % 3 == 0 and p_value(data.wrong, data.weights, alpha, bet, True) <= 0.05
    assert count > 450 or ignoring > 0.1 * tries / 3
    assert broken <= 0.05 * tries + 3 * np.sqrt(tries * 0.05 * 0.95)


def test_a_stratified_draw_certifies_what_is_true() -> None:
    rng = np.random.default_rng(2)
    data = drawn(rng, spoilt(rng, 4, 8), 800, 800)
    assert choose_thresholds(data, 0.95).certified


def test_all_rows_of_all_strata_are_a_simple_random_sample_and_fewer_are_not() -> None:
    rng = np.random.default_rng(3)
    assert drawn(rng, spoilt(rng, 5, 10), 2_000, 2_000).plain
    assert not drawn(rng, spoilt(rng, 5, 10), 2_000, 992).plain


def test_each_part_of_a_split_holds_rows_of_each_stratum() -> None:
    rows: list[tuple[dict[str, float | None], bool, str]] = [({"a": 1.0}, True, "accepted")] * 300
    data = labelled([*rows, *[({"a": 1.0}, False, "rejected")] * 3], ("a",), SIZES)
    for seed in range(20):
        first, second = _split(data, seed)
        assert first.stratum is not None and second.stratum is not None
        assert np.bincount(first.stratum).tolist() == [105, 1]
        assert np.bincount(second.stratum).tolist() == [195, 2]


def perfect(accepted: int, rejected: int) -> Labelled:
    """As many labels of `SIZES` rows: all accepted rows right, the rejected ones wrong, told by the score."""
    rows: list[tuple[dict[str, float | None], bool, str]] = [({"a": 0.9}, True, "accepted")] * accepted
    return labelled([*rows, *[({"a": 0.1}, False, "rejected")] * rejected], ("a",), SIZES)


@pytest.mark.parametrize(("accepted", "rejected"), [(300, 100), (500, 60), (120, 140)])
def test_the_best_promise_is_made_by_labels_without_an_error_and_no_higher_one(
    accepted: int, rejected: int
) -> None:
    best = best_promise(accepted, SIZES["accepted"], rejected, SIZES["rejected"])[1]
    assert choose_thresholds(perfect(accepted, rejected), best - 0.0005).certified
    assert not choose_thresholds(perfect(accepted, rejected), best + 0.0005).certified


def test_the_draw_that_label_proposes_may_promise_99_percent_and_600_rows_may_not() -> None:
    reached = []
    for count in (600, 750):
        drawn = draw_numbers(4_149, 844, count)
        reached.append(best_promise(drawn["accepted"], 4_149, drawn["rejected"], 844)[1] >= 0.99)
    assert reached == [False, True]
