"""thresholds.json: from an OUT and its labels, and back into thresholds that a selection may use."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from annotate.calibration.calibrate import (
    METHOD,
    Choice,
    as_thresholds,
    check_precision,
    choose_thresholds,
    curve,
    labelled,
)
from annotate.calibration.labels import (
    agreement,
    labels_digest,
    merged,
    outdated,
    read_labels,
    strata_of,
)
from annotate.checks import CHECKS, measured
from annotate.errors import InputError, UsageError
from annotate.files import read_regular, write_output
from annotate.report import rows as published
from annotate.shards.published import published_parts, read_finished
from annotate.text import shorten
from schemas.calibration import Calibration, Point
from schemas.manifest import Manifest, Precision

FILE = "thresholds.json"
LEAST = 10
"""Labelled rows: fewer cannot be split into parts that choose and certify."""
SAME: Mapping[str, str] = {
    "dataset": "dataset",
    "split": "split",
    "category": "category",
    "job": "annotation files",
    "limit": "LIMIT",
    "teacher": "teacher",
    "teacher_sees_target": "teacher sees target",
    "prompt_version": "prompt version",
    "checks": "checks",
    "image_recipe": "image recipe",
    "pictures": "pictures",
}
"""Fields in which rows must be alike for a promise to be about them, and their names for a person; beside
these, every field of `writing`."""
MOST_BYTES = 16 << 20
CONFIDENCE = 0.9
"""Of the two-sided interval; each end holds with 95 %."""


def calibrate(out: Path, labels_file: Path, precision: float) -> Calibration:
    """Choose thresholds for OUT's scores from labels of its rows, and write OUT/thresholds.json.

    Equal labels give equal thresholds, in whatever order they stand. A score counts when every row that was
    asked all checks has it (look-alikes may be unknown for some). Raises `InputError` for labels that
    cannot be read or are of other rows or chains, `OutputError` for an OUT that is not finished or files that
    are not the manifest's, `UsageError` for a precision outside (0, 1), fewer labels than can choose
    anything, or rows without common scores.
    """
    check_precision(precision)
    manifest = read_finished(out)
    if manifest.writing is None or manifest.pictures is None:
        raise UsageError(
            f"{out} was made by an earlier version, which did not note how its rows came to be; "
            "run annotate again (no answer is asked twice)"
        )
    labels = read_labels(labels_file)
    one_a_row = dict(sorted(merged(labels).items(), key=lambda item: _scattered(item[0])))
    files = published_parts(out, manifest, "annotations")
    found = {row.triplet_id: row for row in published.load(files, list(one_a_row))}
    if len(found) < len(one_a_row):
        gone = next(name for name in one_a_row if name not in found)
        raise InputError(
            f"{labels_file}: {gone} is no annotated row of {out}; give the OUT that was labelled"
        )
    if old := outdated(labels, found):
        raise InputError(
            f"{labels_file}: the label of {old.triplet_id} by {old.person} is of another chain or other "
            f"pictures than {out} holds, or does not say of which; label the rows of this OUT into a file "
            "of their own"
        )
    if len(one_a_row) < LEAST:
        raise UsageError(
            f"{labels_file} holds labels of {len(one_a_row)} rows, too few to choose thresholds by; "
            f"label {LEAST} or more (`annotate label`)"
        )
    strata = strata_of(labels, labels_file)
    rows = manifest.counts.accepted + manifest.counts.rejected
    if strata and (drawn_from := sum(strata.values())) != rows:
        raise InputError(
            f"{labels_file} holds labels drawn from {drawn_from:,} rows, and {out} has {rows:,} by now; "
            "label a draw of these into a file of their own"
        )
    columns = measured(check for check in CHECKS if check.name in manifest.checks)
    scores = [{name: getattr(found[row], name) for name in columns} for row in one_a_row]
    whole = [one for name, one in zip(one_a_row, scores, strict=True) if not found[name].skipped_checks]
    names = [name for name in columns if whole and all(one[name] is not None for one in whole)]
    if not names:
        raise UsageError(
            f"{labels_file}: none of the labelled rows was asked every check; run annotate with EARLY_STOP=0"
        )
    judged = zip(scores, one_a_row.values(), strict=True)
    data = labelled([(one, bool(label.right), label.stratum) for one, label in judged], names, strata)
    choice = choose_thresholds(data, precision)
    agreed = agreement(labels)
    calibration = Calibration(
        job=manifest.job,
        dataset=manifest.dataset,
        split=manifest.split,
        category=manifest.category,
        limit=manifest.limit,
        seed=manifest.seed,
        image_recipe=manifest.image_recipe,
        pictures=manifest.pictures,
        teacher=manifest.teacher,
        teacher_sees_target=manifest.teacher_sees_target,
        prompt_version=manifest.prompt_version,
        checks=manifest.checks,
        writing=manifest.writing,
        judged_rows=rows,
        rows=len(one_a_row),
        people=agreed.people,
        agreement=agreed.share,
        kappa=agreed.kappa,
        thresholds=dict(choice.thresholds) if choice.certified else None,
        promise=_promise(choice, precision, labels_digest(labels_file)) if choice.certified else None,
        kept_share=round(choice.kept_share, 6) if choice.certified else None,
        needed=None if choice.needed is None else min(choice.needed, rows - len(one_a_row)),
        curve=tuple(
            Point(
                thresholds=as_thresholds(names, least),
                kept_share=round(share, 6),
                error=round(error, 6),
            )
            for least, share, error in curve(data)
        ),
    )
    calibration = calibration.model_copy(update={"digest": content_digest(calibration)})
    write_output(out / FILE, calibration.model_dump_json(indent=2) + "\n")
    return calibration


def content_digest(calibration: Calibration) -> str:
    """sha256 of everything that a calibration states but its own digest."""
    return hashlib.sha256(calibration.model_dump_json(exclude={"digest"}).encode()).hexdigest()


def promised(path: Path, precision: float, manifest: Manifest) -> tuple[dict[str, float], Precision]:
    """The thresholds of a thresholds.json that keep this precision for the rows of a manifest.

    Raises `InputError` for a file that cannot be read or was changed since it was written, `UsageError` for a
    precision outside (0, 1), when the file promises less or was made on rows that came to be in another way:
    nothing is known about these.
    """
    check_precision(precision)
    try:
        found = Calibration.model_validate_json(read_regular(path, MOST_BYTES))
    except (OSError, ValidationError) as error:
        raise InputError(
            f"{path}: no thresholds of this version can be read there; judge rows (`.venv/bin/python -m "
            "annotate label`, or `-m sample score … --labels`), then `.venv/bin/python -m annotate calibrate`"
        ) from error
    difference = other_rows(found, manifest)
    if difference:
        raise UsageError(f"{path} was calibrated on rows {difference}; label and calibrate rows of this OUT")
    if found.digest != content_digest(found):
        raise InputError(
            f"{path} was changed after `annotate calibrate` wrote it, so that it promises nothing; "
            "calibrate again, or give thresholds of your own as THRESHOLDS="
        )
    if found.thresholds is None or found.promise is None:
        raise UsageError(f"{path} promises nothing: {needed_words(found)}")
    if found.promise.promised < precision:
        raise UsageError(
            f"{path} promises a precision of {found.promise.promised:g}, not {precision:g}; "
            f"calibrate with --precision {precision:g}"
        )
    return found.thresholds, found.promise


def other_rows(found: Calibration, manifest: Manifest) -> str:
    """In what the rows of a calibration and those of a manifest came to be differently; "" for nothing."""
    for name, words in SAME.items():
        was, now = getattr(found, name), getattr(manifest, name)
        if was != now:
            return f"of another {words} ({_shown(was)}, here {_shown(now)})"
    if manifest.limit is not None and found.seed != manifest.seed:  # the seed draws what LIMIT takes
        return f"of another SEED ({found.seed}, here {manifest.seed})"
    if manifest.writing is None:
        return "made otherwise, as far as is known: these are of an earlier version"
    judged_now = manifest.counts.accepted + manifest.counts.rejected
    if found.judged_rows != judged_now:
        return f"of which there were {found.judged_rows:,} (here {judged_now:,})"
    for name, was in found.writing:
        now = getattr(manifest.writing, name)
        if was != now:
            what = "version of the scores" if name == "scores" else name.replace("_", " ")
            return f"of another {what} ({_shown(was)}, here {_shown(now)})"
    return ""


def _scattered(triplet_id: str) -> str:
    """A key that puts rows in an order which nobody chose: the split into two parts hangs on it."""
    return hashlib.sha256(triplet_id.encode()).hexdigest()


def _shown(value: object) -> str:
    """Short enough for one line; a digest by its beginning."""
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text[:12] if re.fullmatch("[0-9a-f]{64}", text) else shorten(text, 80)


def needed_words(found: Calibration) -> str:
    """Why nothing is promised."""
    if found.needed is None:
        return (
            "no thresholds reach the precision on these labels, and more labels alone would not change that: "
            "the checks do not tell these errors; look at the wrong rows"
        )
    if not found.needed:
        return (
            f"all {found.rows:,} rows are labelled, too few for this promise; promise less, or annotate more"
        )
    more = f"about {found.needed:,} more needed, or more yet"
    if found.needed >= found.judged_rows - found.rows:
        more = f"label all {found.judged_rows:,} rows"
    return (
        f"too few labels for this promise: {more} ({found.rows:,} given), and that they suffice is not sure; "
        "label them before you calibrate again, since every look at the same labels is one more chance to err"
    )


def summary(found: Calibration) -> str:
    """What was found, for a person."""
    lines = [f"labels      {found.rows:,} of {found.judged_rows:,} rows by {', '.join(found.people)}"]
    if found.agreement is not None:
        kappa = "" if found.kappa is None else f", Cohen's kappa {found.kappa:.2f}"
        lines.append(f"agreement   {found.agreement:.1%} of judgements of the same rows{kappa}")
    if found.promise is not None and found.thresholds is not None:
        promise = found.promise
        chosen = ",".join(f"{name}={least:g}" for name, least in found.thresholds.items() if least)
        lines += [
            f"promise     precision >= {promise.promised:g}; estimated {promise.estimate:.2%} "
            f"({promise.low:.2%} to {promise.high:.2%}) from {promise.kept_labels:,} kept held-out labels",
            f"keeps       {found.kept_share:.1%} of the rows",
            f"thresholds  {chosen}",
        ]
    else:
        lines.append(f"promise     none: {needed_words(found)}")
    shown = found.curve[:: max(1, len(found.curve) // 8)]
    points = ", ".join(f"{point.kept_share:.0%} kept {point.error:.2%} wrong" for point in shown)
    return "\n".join([*lines, f"curve       {points} (fitted to these labels: no promise)"])


def _promise(choice: Choice, precision: float, digest: str) -> Precision:
    return Precision(
        promised=precision,
        estimate=round(choice.estimate, 6),
        low=round(choice.low, 6),
        high=round(choice.high, 6),
        confidence=CONFIDENCE,
        kept_labels=choice.kept_labels,
        method=METHOD,
        labels=digest,
    )
