"""Human (or truth's) judgements of rows, and `thresholds.json`: thresholds with the precision they
promise."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.manifest import Precision


class Label(BaseModel):
    """One person's judgement of one row: a line of a labels file.

    `weight` is how many rows of its OUT the row stands for, relative to the others of the sample.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    triplet_id: str
    person: str
    right: bool
    weight: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    stratum: str = ""
    note: str = ""


class Point(BaseModel):
    """One choice of thresholds on the risk-coverage curve, over all labels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    thresholds: dict[str, float]
    kept_share: float
    error: float


class Calibration(BaseModel):
    """Contents of thresholds.json. `promises` are kept by `annotate select --precision`; `needed` is how many
    more labels a precision needs that these labels cannot promise (null: more labels alone would not do)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    dataset: str
    teacher: str
    teacher_sees_target: bool
    prompt_version: str
    checks: tuple[str, ...]
    rows: int
    people: tuple[str, ...]
    agreement: float | None
    kappa: float | None
    thresholds: dict[str, float] | None
    promise: Precision | None
    kept_share: float | None
    needed: int | None
    curve: tuple[Point, ...]
