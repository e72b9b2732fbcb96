"""`annotate label`: a person judges a stratified random sample of rows, blind to scores and verdict."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from html import escape
from pathlib import Path

from annotate.calibration.calibrate import best_promise
from annotate.calibration.draw import ACCEPTED, REJECTED, Drawn, draw_numbers, draw_rows
from annotate.calibration.labels import agreement, append_label, judged, outdated, read_labels
from annotate.errors import OutputError, UsageError
from annotate.files import write_output
from annotate.report import rows as published
from annotate.report.chain import chain, saw_target_words
from annotate.report.pictures import Pictures, data_uri
from annotate.shards.published import published_parts, read_finished
from annotate.tables import parts, read_table
from schemas.calibration import Label
from schemas.manifest import Manifest
from schemas.row import Row

QUESTION = (
    "Right? The caption is true of the first picture, the edits are what was asked, the conclusion states "
    "them and contradicts nothing, the second picture fits. [y]es, [n]o, [u]nsure (counts as wrong), [q]uit: "
)


def label(
    out: Path,
    labels_file: Path,
    person: str,
    count: int,
    seed: int,
    pictures: Pictures,
    read: Callable[[str], str],
) -> str:
    """Ask one person about the rows of the draw that he has not judged; returns what there is now.

    `read` shows a question and returns the answer; `page_of(out, person)` shows the pictures of the row that
    is asked about. That a row was written with the target shown is not told, since only accepted second
    chances stand: how many were is in what returns. Raises `UsageError` for an OUT without rows, a name that
    cannot be shown, and a file of labels that were drawn from other rows, `OutputError` for an OUT that is
    not finished or files that are not the manifest's.
    """
    if not person.strip() or not person.isprintable():
        raise UsageError("labels need a name of printable characters; give --person NAME")
    manifest = read_finished(out)
    strata = _strata(out, manifest)
    drawn = draw_rows(strata[ACCEPTED], strata[REJECTED], count, seed)
    sizes = {name: len(ids) for name, ids in strata.items() if ids}
    existing = _existing(labels_file)
    _refuse_other_rows(labels_file, existing, out, strata, sizes)
    done = {one.triplet_id for one in existing if one.person == person}
    shown_in = page_of(out, person)
    for number, (entry, row) in enumerate(_rows(out, drawn), 1):
        if entry.triplet_id in done:
            continue
        write_output(shown_in, page(row, pictures))
        answer = _answer(read, f"\n{number} of {len(drawn)}, pictures in {shown_in}\n" + shown(row))
        if answer == "q":
            break
        append_label(
            labels_file,
            Label(
                triplet_id=entry.triplet_id,
                person=person,
                right=None if answer == "u" else answer == "y",
                judged=judged(row),
                stratum=entry.stratum,
                strata=sizes,
            ),
        )
    now = progress(_existing(labels_file), len(drawn))
    return "\n".join(filter(None, (now, saw_target_words(manifest))))


def page_of(out: Path, person: str) -> Path:
    """Where this person's pictures are shown: several may judge at once, each their own row."""
    return out / f"labelling-{hashlib.sha256(person.encode()).hexdigest()[:8]}.html"


def at_best(of_accepted: int, of_rejected: int, count: int) -> str:
    """What a draw of `count` rows can promise, told before anybody judges one."""
    drawn = draw_numbers(of_accepted, of_rejected, count)
    certifying, precision = best_promise(drawn[ACCEPTED], of_accepted, drawn[REJECTED], of_rejected)
    known = math.floor(1e4 * precision) / 1e4
    return (
        f"to judge: {drawn[ACCEPTED]:,} of {of_accepted:,} accepted and {drawn[REJECTED]:,} of "
        f"{of_rejected:,} rejected rows; the accepted ones alone promise a precision of {known:g} if none of "
        f"the {certifying:,} that certify is wrong (.99 needs 299 or more there without an error)"
    )


def shown(row: Row) -> str:
    """The chain, without scores, verdict or reasons."""
    return "\n".join(chain(row, 100)) + "\n"


def page(row: Row, pictures: Pictures) -> str:
    """Both pictures beside the chain as a page that renews itself; every text is escaped."""

    def image(digest: str | None, name: str) -> str:
        source = data_uri(pictures(digest)) if digest else None
        inside = f'<img src="{source}" alt="" width="440">' if source else "no picture"
        return f"<figure>{inside}<figcaption>{name}</figcaption></figure>"

    return (
        '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="2"><title>label</title>'
        '<body style="font:16px sans-serif"><div style="display:flex">'
        f"{image(row.reference_digest, 'first picture')}{image(row.target_digest, 'second picture')}</div>"
        f"<pre>{escape(shown(row))}</pre></body>\n"
    )


def progress(labels: list[Label], drawn: int) -> str:
    """How many are done, and how far people agree."""
    lines = []
    agreed = agreement(labels)
    for person in agreed.people:
        lines.append(f"{person}: {sum(one.person == person for one in labels):,} labels of {drawn:,}")
    if agreed.share is not None:
        lines.append(f"agreement on {agreed.pairs:,} pairs: {agreed.share:.1%}")
    return "\n".join(lines) or "no labels yet"


def _strata(out: Path, manifest: Manifest) -> dict[str, list[str]]:
    """The ids of OUT's annotated rows by verdict."""
    published_parts(out, manifest, "annotations")  # whose rows will be shown
    strata = {
        ACCEPTED: [n for path in published_parts(out, manifest, "train") for n in _ids(path)],
        REJECTED: [n for path in published_parts(out, manifest, "rejected") for n in _ids(path)],
    }
    if not any(strata.values()):
        raise UsageError(f"{out} holds no annotated rows; run make annotate first")
    return strata


def _refuse_other_rows(
    labels_file: Path,
    existing: list[Label],
    out: Path,
    strata: Mapping[str, list[str]],
    sizes: Mapping[str, int],
) -> None:
    """Labels of two states of OUT stand for different rows: no weights would make one sample of them."""
    verdicts = {name: stratum for stratum, ids in strata.items() for name in ids}
    other = any(one.strata != sizes or verdicts.get(one.triplet_id) != one.stratum for one in existing)
    if other or outdated(existing, _found(out, [one.triplet_id for one in existing])):
        raise UsageError(
            f"{labels_file} holds labels of other rows or chains than {out} has now, or of other verdicts; "
            "give another --labels (or, if only verdicts changed, select the thresholds it was begun with)"
        )


def _existing(labels_file: Path) -> list[Label]:
    return read_labels(labels_file) if labels_file.exists() else []


def _ids(path: Path) -> list[str]:
    return [str(name) for name in read_table(path, ["triplet_id"])["triplet_id"].to_pylist()]


def _found(out: Path, triplet_ids: list[str]) -> dict[str, Row]:
    return {row.triplet_id: row for row in published.load(parts(out, "annotations"), triplet_ids)}


def _rows(out: Path, drawn: list[Drawn]) -> Iterator[tuple[Drawn, Row]]:
    found = _found(out, [entry.triplet_id for entry in drawn])
    for entry in drawn:
        if entry.triplet_id not in found:
            raise OutputError(f"{out}: annotations/ lacks {entry.triplet_id}; run annotate again")
        yield entry, found[entry.triplet_id]


def _answer(read: Callable[[str], str], text: str) -> str:
    """y, n, u or q; the end of the input is q."""
    prompt = text + QUESTION
    while True:
        try:
            answer = read(prompt).strip().lower()[:1]
        except EOFError:
            return "q"
        if answer and answer in "ynuq":
            return answer
        prompt = "y, n, u or q: "
