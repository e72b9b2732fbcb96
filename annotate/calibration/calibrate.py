"""Thresholds that keep as many rows as possible while the error among them is at most 1 - precision.

Learn then Test with a split (Angelopoulos, Bates, Candes, Jordan and Lei, "Learn then Test", 2021; the
ordering learnt on one part is their split fixed sequence testing): one part of the labels gives candidate
thresholds and the order in which they are tested; on the other part they are tested one after the other until
a test fails. The chance that any certified choice errs above 1 - precision is then at most `DELTA`, however
many were tried.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from annotate.calibration.bounds import Floats, best_bet, lower_error, p_value, upper_error
from annotate.calibration.path import keeps, threshold_path
from annotate.errors import UsageError

DELTA = 0.05
TUNING = 0.35
"""Share of each stratum's labels that chooses; the rest certifies. A promise of .99 needs 299 kept there."""
FOLDS = 5
MOST_NEEDED = 10**9
"""What is said to be needed where labels hardly add evidence; whoever knows how many rows exist says less."""
METHOD = (
    "Learn then Test on held-out labels (split fixed sequence; exact binomial, or betting where the labels "
    "are a stratified sample); each end of the interval holds with 95 % confidence"
)


@dataclass(frozen=True, slots=True)
class Labelled:
    """Labelled rows as arrays: scores a column (unmeasured: -1), 1 for wrong; of a stratified sample how many
    rows the stratum of each has in all, and its index. None: a simple random sample (`sizes` are 1)."""

    names: tuple[str, ...]
    scores: Floats
    wrong: Floats
    sizes: Floats
    stratum: NDArray[np.int64] | None = None

    def part(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Labelled:
        """These rows alone: again a random sample, of each stratum."""
        stratum = None if self.stratum is None else self.stratum[rows]
        return Labelled(self.names, self.scores[rows], self.wrong[rows], self.sizes[rows], stratum)

    @property
    def plain(self) -> bool:
        """Whether it is a simple random sample."""
        return self.stratum is None

    @property
    def weights(self) -> Floats:
        """How many rows each one stands for, (rows of its stratum / these of them), relative to the most."""
        if self.stratum is None or not len(self.stratum):
            return np.ones(len(self.wrong))
        each = self.sizes / np.bincount(self.stratum)[self.stratum]
        found: Floats = each / each.max()
        return found


@dataclass(frozen=True, slots=True)
class Choice:
    """Thresholds with what the labels say of them: of the certifying part estimate and interval, of all
    labels the share of rows kept. `needed` more labels would be wanted where `certified` is false, which may
    be more than there are rows (None: more labels alone would not do, these err too often)."""

    certified: bool
    thresholds: Mapping[str, float]
    kept_share: float
    estimate: float
    low: float
    high: float
    kept_labels: int
    needed: int | None


def labelled(
    rows: Sequence[tuple[Mapping[str, float | None], bool, Hashable]],
    names: Sequence[str],
    strata: Mapping[str, int] | None = None,
) -> Labelled:
    """Arrays from (scores, right, stratum) of each row; `strata` has the size of each. In a simple random
    sample there are none or one, and nothing is read from the third; a sample of every row is one, too."""
    sizes: dict[Hashable, int] = dict((strata or {}).items())
    drawn_by_kind = len(sizes) > 1 and len(rows) < sum(sizes.values())
    of_rows = [stratum for _, _, stratum in rows] if drawn_by_kind else []
    index = {name: place for place, name in enumerate(sizes)}
    scores = [
        [-1.0 if (value := found.get(name)) is None else value for name in names] for found, _, _ in rows
    ]
    return Labelled(
        tuple(names),
        np.array(scores, dtype=np.float64).reshape(len(rows), len(names)),
        np.array([not right for _, right, _ in rows], dtype=np.float64),
        np.array([sizes[one] for one in of_rows], dtype=np.float64) if of_rows else np.ones(len(rows)),
        np.array([index[one] for one in of_rows], dtype=np.int64) if of_rows else None,
    )


def choose_thresholds(data: Labelled, precision: float, seed: int = 0) -> Choice:
    """The certified thresholds that keep most, or the likeliest ones with how many labels they lack. Raises
    `UsageError` when there are too few of every stratum, or for a precision outside (0, 1)."""
    alpha = 1 - check_precision(precision)
    tuning, test = _split(data, seed)
    if not len(tuning.wrong):
        raise UsageError("no stratum has labels enough to choose thresholds by; label more rows of each")
    path = _fitted(tuning)
    ranked = _ranked(tuning, path, alpha, len(test.wrong), seed)
    certified = []
    for least in ranked:
        if not _tested(tuning, test, least, alpha) <= DELTA:  # so written, NaN certifies nothing
            break
        certified.append(least)
    chosen = max(certified, key=lambda least: _share(data, least)) if certified else ranked[0]
    return _choice(data, tuning, test, chosen, alpha, bool(certified))


def check_precision(precision: float) -> float:
    """The precision. Raises `UsageError` where it cannot be promised: it, or the error that it leaves, is not
    within (0, 1)."""
    if not (0 < precision < 1 and 0 < 1 - precision < 1):  # 1 - 1e-17 is 1
        raise UsageError(f"precision {precision:g} cannot be promised; give e.g. 0.99")
    return precision


def best_promise(accepted: int, of_accepted: int, rejected: int, of_rejected: int) -> tuple[int, float]:
    """How many accepted rows certify when so many of each kind are labelled, and the precision that they
    promise when all of them are right and kept, and nothing else is; rejected rows that are right and would
    be kept add to that."""
    certifying = accepted - round(TUNING * accepted)
    stands_for = of_accepted / max(accepted, 1)
    heaviest = max(stands_for, of_rejected / rejected if rejected else 0.0)
    right = np.zeros(certifying)
    plain = accepted + rejected >= of_accepted + of_rejected
    weights = np.full(certifying, stands_for / heaviest if heaviest else 1.0)
    bet = best_bet(np.zeros(1), np.ones(1), 1 - DELTA)
    return certifying, 1 - upper_error(right, weights, DELTA, bet, plain)


def _split(data: Labelled, seed: int) -> tuple[Labelled, Labelled]:
    """Two random parts; each stratum is split, so that no part is without one."""
    order = np.random.default_rng(seed).permutation(len(data.wrong))
    stratum = np.zeros(len(order), dtype=np.int64) if data.stratum is None else data.stratum
    of_each = [order[stratum[order] == one] for one in range(int(stratum.max(initial=0)) + 1)]
    cuts = [round(TUNING * len(rows)) for rows in of_each]
    first = np.concatenate([rows[:cut] for rows, cut in zip(of_each, cuts, strict=True)])
    second = np.concatenate([rows[cut:] for rows, cut in zip(of_each, cuts, strict=True)])
    return data.part(first), data.part(second)


def curve(data: Labelled) -> list[tuple[Floats, float, float]]:
    """Risk and coverage along the path over all labels: thresholds, share kept, error among the kept."""
    path = _fitted(data)
    return [(least, _share(data, least), _error(data, least)) for least in path]


def as_thresholds(names: Sequence[str], least: Floats) -> dict[str, float]:
    """By name. A threshold of 0 stands too: it says "measured", which `keeps` demands of every score."""
    return {name: float(value) for name, value in zip(names, least, strict=True)}


def _ranked(tuning: Labelled, path: Sequence[Floats], alpha: float, size: int, seed: int) -> list[Floats]:
    """The path by how small a p-value the tuning part lets expect.

    A point's error is cross-validated at the same place of paths made without a part of these rows:
    thresholds that just remove the last wrong row of the rows they were fitted to err more on others.
    """
    fold = np.random.default_rng(seed).integers(0, FOLDS, len(tuning.wrong))
    unit = float(tuning.weights.mean())
    held = [(_fitted(tuning.part(fold != one)), tuning.part(fold == one)) for one in range(FOLDS)]
    ranks = []
    for place, least in enumerate(reversed(path)):
        kept = wrong = 0.0
        for other, rest in held:
            row = keeps(rest.scores, other[max(0, len(other) - 1 - place)])
            kept += float(rest.weights[row].sum())
            wrong += float((rest.weights * rest.wrong)[row].sum())
        will_keep = max(1, round(_share(tuning, least) * size))
        error = (wrong + 0.5 * unit) / (kept + unit)
        ranks.append((float(binom.cdf(math.floor(error * will_keep), will_keep, alpha)), place, least))
    return [least for _, _, least in sorted(ranks, key=lambda rank: rank[:2])]


def _fitted(data: Labelled) -> list[Floats]:
    return threshold_path(data.scores, data.wrong, data.weights)


def _tested(tuning: Labelled, test: Labelled, least: Floats, alpha: float) -> float:
    known, kept = keeps(tuning.scores, least), keeps(test.scores, least)
    bet = best_bet(tuning.wrong[known], tuning.weights[known], alpha)
    return p_value(test.wrong[kept], test.weights[kept], alpha, bet, test.plain)


def _choice(
    data: Labelled, tuning: Labelled, test: Labelled, least: Floats, alpha: float, certified: bool
) -> Choice:
    kept, known = keeps(test.scores, least), keeps(tuning.scores, least)
    wrong, weights = test.wrong[kept], test.weights[kept]
    bet = best_bet(tuning.wrong[known], tuning.weights[known], alpha)
    share = _share(data, least)
    return Choice(
        certified=certified,
        thresholds=as_thresholds(data.names, least),
        kept_share=share,
        estimate=1 - _error(test, least),
        low=1 - upper_error(wrong, weights, DELTA, bet, test.plain),
        high=1 - lower_error(wrong, weights, DELTA, bet, test.plain),
        kept_labels=int(kept.sum()),
        needed=None if certified else _needed(data, test, least, alpha),
    )


def _needed(data: Labelled, test: Labelled, least: Floats, alpha: float) -> int | None:
    """About how many more labels would certify, if they are like these: a test's evidence, -log p, grows with
    them. None where these err too often, so that more of the same would not do."""
    known = keeps(data.scores, least)
    if not known.any() or _error(data, least) >= alpha:
        return None
    # A bet chosen where no error was seen loses all by a single one: more labels will bet better.
    bet = best_bet(data.wrong[known], data.weights[known], alpha)

    def evidence(part: Labelled) -> float:
        kept = keeps(part.scores, least)
        return -math.log(p_value(part.wrong[kept], part.weights[kept], alpha, bet, part.plain))

    # What all labels say is steadier; what the certifying part says may lag behind it, and must be made up.
    each = evidence(data) * (1 - TUNING) / len(data.wrong)
    if (lagging := evidence(test) / len(data.wrong)) > 0:
        each = min(each, lagging)
    if -math.log(DELTA) >= each * MOST_NEEDED:
        return MOST_NEEDED
    return max(math.ceil(-math.log(DELTA) / each), len(data.wrong) + 1) - len(data.wrong)


def _share(data: Labelled, least: Floats) -> float:
    kept = keeps(data.scores, least)
    return float(data.weights[kept].sum() / data.weights.sum())


def _error(data: Labelled, least: Floats) -> float:
    kept = keeps(data.scores, least)
    total = float(data.weights[kept].sum())
    return float((data.weights * data.wrong)[kept].sum()) / total if total else 0.0
