"""Whether the checks keep their bars on annotated sample rows: `python -m bench.trust OUT --truth FILE`.

OUT must have been annotated with EARLY_STOP=0, so that every row has every score. Prints the ladder beside
one verifier and no filter, how many rows leak, and how often calibrations on resampled labels keep their
promise on other rows: labels of a simple random sample, or with --stratified of a draw as `annotate label`
makes it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotate.calibration.calibrate import Labelled, check_precision, choose_thresholds, labelled
from annotate.calibration.draw import draw_rows
from annotate.calibration.path import keeps
from annotate.checks import DEFAULT_CHECKS, measured
from annotate.errors import UsageError
from annotate.report import rows as published
from annotate.tables import parts
from bench.driving import one_line
from sample.score_report import Scored, score_run
from schemas.row import Row

Keep = Callable[[Scored, Row], bool]

FILTERS: dict[str, Keep] = {
    "no filter": lambda scored, row: True,
    "one verifier, p_match >= .5": lambda scored, row: (row.p_match or 0) >= 0.5,
    "one verifier, p_match >= .95 (ReCALL-style)": lambda scored, row: (row.p_match or 0) >= 0.95,
    "the ladder's default": lambda scored, row: scored.verdict == "accepted",
}


def table(rows: Sequence[tuple[Scored, Row]]) -> str:
    """Each filter: rows that pass, of them right, right rows that pass, wrong targets accepted."""
    lines = [
        "| filter | passed | right of passed | right rows passed | shuffled | look-alikes accepted |",
        "|---|---|---|---|---|---|",
    ]
    for name, keep in FILTERS.items():
        kept = [one for one, row in rows if keep(one, row)]
        right, all_right = sum(one.marks.row for one in kept), sum(one.marks.row for one, _ in rows)
        cells = [name, f"{len(kept)} of {len(rows)}", _share(right, len(kept)), _share(right, all_right)]
        for dirt in ("wrong_target_random", "wrong_target_lookalike"):
            planted = sum(dirt in one.dirt for one, _ in rows)
            cells.append(f"{sum(dirt in one.dirt for one in kept)} of {planted}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def leaks(rows: Sequence[Row]) -> str:
    """How many rows and claims of conclusions are called leaks, and how many are not settled."""
    claims = [name for row in rows for name in row.conclusion_claims or ()]
    leaked = [name for row in rows for name in row.leak_claims if name in (row.conclusion_claims or ())]
    leaking = sum(bool(row.leak_claims) for row in rows)
    return (
        f"{leaking} of {len(rows)} rows have a claim or phrase that leaks ({_share(leaking, len(rows))}),"
        f" {len(leaked)} of {len(claims)} claims of conclusions do ({_share(len(leaked), len(claims))})"
    )


def resample(data: Labelled, precision: float, size: int, times: int) -> str:
    """Calibrate on `size` rows drawn `times` times; the error on all others, against the promise.

    Data with strata is drawn as `annotate label` draws, and the other rows of a stratum stand for all of it:
    so many are drawn that some are left (`UsageError`).
    """
    certified = broken = 0
    errors, shares = [], []
    for seed in range(times):
        drawn = _drawn(data, size, seed)
        choice = choose_thresholds(data.part(drawn), precision, seed)
        if not choice.certified:
            continue
        certified += 1
        rest = data.part(np.setdiff1d(np.arange(len(data.wrong)), drawn))
        kept = keeps(rest.scores, np.array([choice.thresholds[name] for name in data.names]))
        weight = rest.weights * kept
        errors.append(float((weight * rest.wrong).sum() / weight.sum()) if kept.any() else 0.0)
        shares.append(float(weight.sum() / rest.weights.sum()))
        broken += errors[-1] > 1 - precision
    seen = f"{certified} of {times} calibrations on {size} rows certified {precision:g}"
    if not certified:
        return seen
    return (
        f"{seen}; on the other {len(data.wrong) - size} rows {broken} erred more than promised"
        f" (mean error {100 * float(np.mean(errors)):.2f} %, most {100 * max(errors):.2f} %);"
        f" {100 * float(np.mean(shares)):.1f} % of rows kept"
    )


def _drawn(data: Labelled, size: int, seed: int) -> NDArray[np.int64]:
    """Places of the rows to label."""
    if data.stratum is None:
        return np.random.default_rng([seed, size]).permutation(len(data.wrong))[:size]
    ids = [[str(place) for place in np.flatnonzero(data.stratum == one)] for one in (0, 1)]
    drawn = np.array([int(entry.triplet_id) for entry in draw_rows(ids[0], ids[1], size, seed)])
    if any(np.isin(list(map(int, of)), drawn).all() for of in ids if of):
        raise UsageError(f"a draw of {size} rows leaves none of a kind to measure on; give a smaller --size")
    return drawn


def stratified(data: Labelled, accepted: Sequence[bool]) -> Labelled:
    """The same rows as two strata by verdict, of which `resample` draws."""
    stratum = np.where(accepted, 0, 1)
    return replace(data, sizes=np.bincount(stratum)[stratum].astype(np.float64), stratum=stratum)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 2 and one line on stderr for what cannot be used."""
    flags = argparse.ArgumentParser(prog="python -m bench.trust", description=__doc__)
    flags.add_argument("out", type=Path, help="OUT of an annotation with EARLY_STOP=0")
    flags.add_argument("--truth", type=Path, required=True, help="truth.jsonl of the sample data")
    flags.add_argument("--precision", type=float, default=0.99)
    flags.add_argument("--size", type=int, default=1000, help="labelled rows of a calibration")
    flags.add_argument("--times", type=int, default=200, help="calibrations")
    flags.add_argument("--stratified", action="store_true", help="draw labels as `annotate label` does")
    given = flags.parse_args(argv)
    return one_line(lambda: _measure(given))


def _measure(given: argparse.Namespace) -> int:
    check_precision(given.precision)  # before the minutes that the rest takes
    scored = {
        one.triplet_id: one for one in score_run(given.out, given.truth).rows if one.verdict != "quarantined"
    }
    found = list(published.load(parts(given.out, "annotations"), list(scored)))
    rows = [(scored[row.triplet_id], row) for row in found]
    print(table(rows) + "\n\n" + leaks(found))
    columns = [
        name for name in measured(DEFAULT_CHECKS) if all(getattr(row, name) is not None for row in found)
    ]
    judged = [({name: getattr(row, name) for name in columns}, one.marks.row, None) for one, row in rows]
    data = labelled(judged, columns)
    if given.stratified:
        data = stratified(data, [one.verdict == "accepted" for one, _ in rows])
    if len(rows) > given.size:
        print("\n" + resample(data, given.precision, given.size, given.times))
    return 0


if __name__ == "__main__":
    sys.exit(main())
