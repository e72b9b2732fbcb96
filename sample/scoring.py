"""Is an annotated row right? The rules of docs/sample.md, on one row and its line of truth; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sample.looks import parse_claim
from sample.vocabulary import ABSENT

WRONG_TARGETS = ("wrong_target_random", "wrong_target_lookalike")


@dataclass(frozen=True, slots=True)
class Truth:
    """A line of truth.jsonl; `category` comes from the triplet id of FashionIQ."""

    triplet_id: str
    category: str | None
    reference: Mapping[str, str]
    target: Mapping[str, str]
    edits: frozenset[tuple[str, str, str]]
    unmentioned: frozenset[str]
    dirt: tuple[str, ...]

    @property
    def wrong_target(self) -> bool:
        """Whether the file names a target that fails the modification."""
        return any(name in WRONG_TARGETS for name in self.dirt)

    @property
    def asked(self) -> dict[str, str]:
        """Reference + edits: what the conclusion has to describe."""
        return {**self.reference, **{aspect: new for aspect, _, new in self.edits}}

    @property
    def kept(self) -> tuple[str, ...]:
        """The reference's aspects that the text leaves alone."""
        touched = {aspect for aspect, _, _ in self.edits}
        return tuple(a for a, value in self.reference.items() if a not in touched and value != ABSENT)


@dataclass(frozen=True, slots=True)
class Marks:
    """What is right in one row; `problems` name what is not, with the claim or edit at fault."""

    caption: bool
    edits: bool
    conclusion: bool
    row: bool
    kept: bool
    kept_named: int
    kept_true: int
    problems: tuple[str, ...]


def truth_of(line: Mapping[str, Any]) -> Truth:
    """A parsed line of truth.jsonl; KeyError names a missing field."""
    parts = line["triplet_id"].split("/")
    return Truth(
        triplet_id=line["triplet_id"],
        category=parts[2] if len(parts) == 4 else None,
        reference=line["reference"]["attributes"],
        target=line["target"]["attributes"],
        edits=edit_set(line["edits"]),
        unmentioned=frozenset(edit["aspect"] for edit in line["unmentioned"]),
        dirt=tuple(line["dirt"]),
    )


def edit_set(edits: Iterable[Mapping[str, Any]]) -> frozenset[tuple[str, str, str]]:
    """Edits as a set of (aspect, from, to), blanks and capitals evened out."""
    return frozenset(
        (_even(e["aspect"]), _even(e.get("from", e.get("from_", ""))), _even(e["to"])) for e in edits
    )


def mark(truth: Truth, row: Mapping[str, Any]) -> Marks:
    """Mark a published row (columns of the schema) by its truth."""
    reference = _with_category(truth.reference, truth.category)
    asked = _with_category(truth.asked, truth.category)
    caption = caption_problems(claims_of(row, "caption"), reference, truth.edits)
    said = edit_set(row.get("edits") or [])
    edits = [f"edits: missing {_edit(edit)}" for edit in sorted(truth.edits - said)]
    edits += [f"edits: not asked {_edit(edit)}" for edit in sorted(said - truth.edits)]
    conclusion = conclusion_problems(claims_of(row, "conclusion"), asked, truth.edits)
    target = ["target: wrong in the file"] if truth.wrong_target else []
    named = tuple(row.get("kept") or ())
    return Marks(
        caption=not caption,
        edits=not edits,
        conclusion=not conclusion,
        row=not (caption or edits or conclusion or target),
        kept=set(named) == set(truth.kept),
        kept_named=len(named),
        kept_true=sum(
            truth.reference.get(a, ABSENT) not in (ABSENT, "") and truth.reference[a] == truth.target.get(a)
            for a in named  # what neither picture shows is not kept
        ),
        problems=(*caption, *edits, *conclusion, *target),
    )


def caption_problems(
    claims: Sequence[str], reference: Mapping[str, str], edits: Iterable[tuple[str, str, str]]
) -> list[str]:
    """Every claim must be true of the reference, and at least the edited aspects named."""
    problems = _untrue("caption", claims, reference)
    named = {aspect for claim in claims for aspect, _ in parse_claim(claim) or ()}
    for aspect, old, _ in sorted(edits):
        if old != ABSENT and aspect not in named:
            problems.append(f"caption: does not name {aspect}")
    return problems


def conclusion_problems(
    claims: Sequence[str], asked: Mapping[str, str], edits: Iterable[tuple[str, str, str]]
) -> list[str]:
    """Every edit's new value must be stated, and no claim may contradict reference + edits.

    A removal is stated by not naming the object (naming it contradicts). What is no claim of this
    world cannot be true in it, so it counts as a contradiction.
    """
    problems = _untrue("conclusion", claims, asked)
    stated = {pair for claim in claims for pair in parse_claim(claim) or ()}
    for aspect, _, new in sorted(edits):
        if new != ABSENT and (aspect, new) not in stated:
            problems.append(f"conclusion: does not state {aspect} {new}")
    if not claims:
        problems.append("conclusion: empty")
    return problems


def claims_of(row: Mapping[str, Any], column: str) -> list[str]:
    """A stage's claims: the list column, or the text column taken apart."""
    listed = row.get(f"{column}_claims")
    if listed is not None and len(listed):
        return list(listed)
    return [part for part in (row.get(column) or "").split(", ") if part.strip()]


def _untrue(stage: str, claims: Sequence[str], values: Mapping[str, str]) -> list[str]:
    problems = []
    for claim in claims:
        stated = parse_claim(claim)
        if stated is None:
            problems.append(f"{stage}: not of this world: {claim[:60]!r}")
        elif any(values.get(aspect) != value for aspect, value in stated):
            problems.append(f"{stage}: untrue: {claim!r}")
    return problems


def _with_category(values: Mapping[str, str], category: str | None) -> dict[str, str]:
    return {**values, **({"category": category} if category else {})}


def _edit(edit: tuple[str, str, str]) -> str:
    aspect, old, new = edit
    return f"{aspect}: {old} -> {new}"


def _even(text: str) -> str:
    return " ".join(text.lower().split())
