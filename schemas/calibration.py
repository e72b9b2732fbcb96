"""Human (or truth's) judgements of rows, and `thresholds.json`: thresholds with the precision they
promise."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.manifest import Precision, Writing


class Label(BaseModel):
    """One person's judgement of one row: a line of a labels file.

    `right` is null where the person cannot tell: it counts as wrong. `strata` says how many rows each stratum
    of the draw had in OUT, `stratum` which one this row is of; both are empty where every row was as
    likely to be judged as any other. `judged` is the digest of what was judged
    (`annotate.calibration.labels.judged`): chain, request and pictures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    triplet_id: str
    person: str
    right: bool | None
    judged: str = ""
    stratum: str = ""
    strata: dict[str, Annotated[int, Field(ge=1, le=10**9)]] = {}
    note: str = ""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if not self.person.strip() or not self.person.isprintable():
            raise ValueError("person is no printable name")
        if self.stratum not in (self.strata or {"": 1}):
            raise ValueError("stratum is none of strata")
        return self


class Point(BaseModel):
    """One choice of thresholds on the risk-coverage curve, fitted to all labels and measured on them: it
    promises nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    thresholds: dict[str, float]
    kept_share: float
    error: float


class Calibration(BaseModel):
    """Contents of thresholds.json. `annotate select --precision` keeps the promise, for rows that came to be
    as these did (`job` to `writing`). `judged_rows` is how many there were, accepted and rejected, `rows` how
    many of them were labelled; `needed` is how many more labels a precision needs that these labels cannot
    promise (null: more labels alone would not do). `digest` is the sha256 of all the rest: what a hand
    changed promises nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[6] = 6
    job: str
    dataset: str
    split: str
    category: str | None
    limit: int | None
    seed: int
    image_recipe: str
    pictures: str
    teacher: str
    teacher_sees_target: bool
    prompt_version: str
    checks: tuple[str, ...]
    writing: Writing
    judged_rows: int
    rows: int
    people: tuple[str, ...]
    agreement: float | None
    kappa: float | None
    thresholds: dict[str, float] | None
    promise: Precision | None
    kept_share: float | None
    needed: int | None
    curve: tuple[Point, ...]
    digest: str = ""
