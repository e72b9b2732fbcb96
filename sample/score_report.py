"""Marks a whole run: reads its Parquet files and the truth, counts, and says what the wrong rows were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from annotate.calibration.labels import judged
from annotate.errors import InputError
from annotate.files import read_regular, write_output
from annotate.report import rows as published
from annotate.tables import parts
from annotate.text import parse_json
from sample.scoring import WRONG_TARGETS, Marks, Truth, mark, truth_of
from schemas.calibration import Label

COLUMNS = (
    "triplet_id",
    "verdict",
    "reasons",
    "caption",
    "caption_claims",
    "edits",
    "kept",
    "conclusion",
    "conclusion_claims",
    "p_match",
)
PARTS = ("caption", "edits", "conclusion", "row", "kept")
VERDICTS = ("accepted", "rejected", "quarantined")


@dataclass(frozen=True, slots=True)
class Scored:
    """One row of the run with its marks."""

    triplet_id: str
    verdict: str
    reasons: tuple[str, ...]
    dirt: tuple[str, ...]
    unmentioned: int
    p_match: float | None
    marks: Marks


@dataclass(frozen=True, slots=True)
class Report:
    """All rows of a run, marked; `not_annotated` are truth's triplets of the run's splits without a row."""

    rows: tuple[Scored, ...]
    not_annotated: int

    def sums(self) -> dict[str, Any]:
        """The run in numbers; a share of nothing is None."""
        answered = [row for row in self.rows if row.verdict != "quarantined"]
        accepted = [row for row in answered if row.verdict == "accepted"]
        wrong = [row for row in self.rows if any(name in WRONG_TARGETS for name in row.dirt)]
        named = sum(row.marks.kept_named for row in answered)
        return {
            "rows": len(self.rows),
            "not_annotated": self.not_annotated,
            "verdicts": {verdict: sum(row.verdict == verdict for row in self.rows) for verdict in VERDICTS},
            "right": {part: _share(getattr(row.marks, part) for row in answered) for part in PARTS},
            "right_of_accepted": {
                part: _share(getattr(row.marks, part) for row in accepted) for part in PARTS
            },
            "kept_true_of_target": sum(row.marks.kept_true for row in answered) / named if named else None,
            "accepted_wrong": sum(not row.marks.row for row in accepted),
            "accepted_wrong_why": dict(Counter(why for row in accepted for why in _kinds(row))),
            "wrong_targets": _by_verdict(wrong),
            "clean": _by_verdict(row for row in self.rows if not row.dirt),
            "clean_with_unmentioned": _by_verdict(
                row for row in self.rows if not row.dirt and row.unmentioned
            ),
            "right_but_not_accepted": sum(row.marks.row and row.verdict == "rejected" for row in self.rows),
            "dirt": {
                name: {
                    **_by_verdict(row for row in self.rows if name in row.dirt),
                    "reasons": dict(Counter(r for row in self.rows if name in row.dirt for r in row.reasons)),
                }
                for name in sorted({name for row in self.rows for name in row.dirt})
            },
        }

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON: `sums`, and `rows` with a mark each."""
        return {"sums": self.sums(), "rows": [asdict(row) for row in self.rows]}


def read_truth(path: Path) -> dict[str, Truth]:
    """Triplet id -> truth; InputError names the file and line at fault."""
    try:
        lines = read_regular(path, 1 << 30).decode("utf-8").split("\n")
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}: give --truth the truth.jsonl of the sample data"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}: write the sample again") from error
    truths = {}
    for number, line in enumerate(lines, 1):
        if not line and number == len(lines):
            break
        try:
            truth = truth_of(parse_json(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}, line {number}: no line of truth ({error}): write the sample again"
            ) from error
        truths[truth.triplet_id] = truth
    return truths


def read_rows(out: Path) -> list[dict[str, Any]]:
    """The run's rows from annotations/ and quarantine/; InputError when there are none."""
    rows: list[dict[str, Any]] = []
    files = [
        *sorted((out / "annotations").glob("*.parquet")),
        *sorted((out / "quarantine").glob("*.parquet")),
    ]
    for file in files:
        try:
            present = set(pq.read_schema(file).names)
            table = pq.read_table(file, columns=[name for name in COLUMNS if name in present])
            table.validate(full=True)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(
                f"{file}: cannot be read as Parquet ({error}): run the annotation again"
            ) from error
        if "triplet_id" not in present:
            raise InputError(f"{file}: has no triplet_id: give the OUT of an annotation run")
        rows += table.to_pylist()
    if not rows:
        raise InputError(f"{out}: no rows in annotations/ or quarantine/: give the OUT of an annotation run")
    return rows


def score_run(out: Path, truth: Path) -> Report:
    """Mark every row of a run; InputError when files are missing, broken or of other data."""
    truths = read_truth(truth)
    scored = []
    for row in read_rows(out):
        name = row["triplet_id"]
        if name not in truths:
            raise InputError(
                f"{truth}: knows no {name} of {out}: give the truth.jsonl of the data that was annotated"
            )
        try:
            scored.append(_score(truths[name], row))
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise InputError(
                f"{out}: row {name} or its line in {truth} is of another kind ({error}): annotate again"
            ) from error
    scored.sort(key=lambda row: row.triplet_id)
    parts = {_part(row.triplet_id) for row in scored}
    expected = sum(_part(name) in parts for name in truths)
    return Report(tuple(scored), expected - len(scored))


def write_labels(report: Report, out: Path, path: Path) -> None:
    """Truth's judgement of every annotated row of OUT as a labels file (`annotate calibrate`)."""
    right = {row.triplet_id: row.marks.row for row in report.rows if row.verdict != "quarantined"}
    labels = (
        Label(
            triplet_id=row.triplet_id,
            person="truth",
            right=right[row.triplet_id],
            judged=judged(row),
            strata={"": len(right)},
        )
        for row in published.load(parts(out, "annotations"), list(right))
    )
    write_output(path, "".join(label.model_dump_json() + "\n" for label in labels))


def _part(triplet_id: str) -> str:
    return triplet_id.rpartition("/")[0]


def _score(truth: Truth, row: Mapping[str, Any]) -> Scored:
    return Scored(
        triplet_id=truth.triplet_id,
        verdict=row.get("verdict") or "quarantined",
        reasons=tuple(row.get("reasons") or ()),
        dirt=truth.dirt,
        unmentioned=len(truth.unmentioned),
        p_match=row.get("p_match"),
        marks=mark(truth, row),
    )


def _share(marks: Iterable[bool]) -> float | None:
    marks = list(marks)
    return sum(marks) / len(marks) if marks else None


def _by_verdict(rows: Iterable[Scored]) -> dict[str, int]:
    counted = Counter(row.verdict for row in rows)
    return {verdict: counted[verdict] for verdict in VERDICTS}


def _kinds(row: Scored) -> list[str]:
    """Which parts are wrong in a row: caption, edits, conclusion, target."""
    return sorted({problem.split(":")[0] for problem in row.marks.problems})


def summary(report: Report) -> str:
    """The sums for a person, with the first wrong rows among the accepted."""
    sums = report.sums()
    lines = [
        f"{sums['rows']} rows ({', '.join(f'{n} {v}' for v, n in sums['verdicts'].items())}), "
        f"{sums['not_annotated']} triplets of the same part without a row",
        "",
        f"{'right':<18}" + "".join(f"{part:>12}" for part in PARTS),
    ]
    for name, label in (("right", "all answered"), ("right_of_accepted", "accepted")):
        shares = sums[name]
        lines.append(f"{label:<18}" + "".join(f"{_percent(shares[part]):>12}" for part in PARTS))
    lines += [
        "",
        f"kept aspects that the target keeps as well: {_percent(sums['kept_true_of_target'])}",
        f"right by truth but rejected: {sums['right_but_not_accepted']}",
        "",
        f"{'planted':<24}{'accepted':>9}{'rejected':>9}{'quarantined':>12}  reasons",
    ]
    shown = {
        "nothing": sums["clean"],
        "nothing, but unmentioned": sums["clean_with_unmentioned"],
        **sums["dirt"],
    }
    for name, counts in shown.items():
        reasons = ", ".join(f"{code} {n}" for code, n in counts.get("reasons", {}).items())
        row = (
            f"{name:<24}{counts['accepted']:>9}{counts['rejected']:>9}{counts['quarantined']:>12}  {reasons}"
        )
        lines.append(row.rstrip())
    wrong = [row for row in report.rows if row.verdict == "accepted" and not row.marks.row]
    if wrong:
        lines += ["", f"wrong among the accepted: {len(wrong)}"]
        lines += [f"  {row.triplet_id}  {'; '.join(row.marks.problems)[:160]}" for row in wrong[:20]]
    return "\n".join(lines)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
