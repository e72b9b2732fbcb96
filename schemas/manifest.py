"""`manifest.json` of an OUT folder: what was made, of what, by what. Written last: then files are whole."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Counts(BaseModel):
    """Every input triplet is in exactly one of the last three."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: int
    accepted: int
    rejected: int
    quarantined: int


class PublishedFile(BaseModel):
    """One Parquet file: its rows and its digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    sha256: str


class Precision(BaseModel):
    """Estimated share of right rows among the accepted, with its interval and how both were obtained.

    `promised` is the precision that the thresholds were chosen for; `labels` is the sha256 of the labels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    promised: Share
    estimate: Share
    low: Share
    high: Share
    confidence: Share
    kept_labels: int = Field(ge=0)
    method: str
    labels: str


class Writing(BaseModel):
    """How rows came to be, beside teacher, prompts, checks and recipe: rows of other settings are other rows.

    `deciding` are the run's thresholds where they decided what was asked further (early stop, chances),
    `scores` the version of what the scores mean (`annotate.checks.SCORES`). `aspects` is the closed list of
    which the writer names what changes; () is an earlier version's, whose digests hold without it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    caption_mode: str
    temperature: float
    top_p: float
    sampling_seed: int
    max_tokens: dict[str, int]
    chances: int
    guided: bool
    early_stop: bool
    deciding: dict[str, float]
    encoder: str
    scores: int = 1
    aspects: tuple[str, ...] = Field(default=(), exclude_if=lambda names: not names)


class Manifest(BaseModel):
    """Contents of manifest.json; paths in `files` are relative to OUT, `root` is as the user gave it.

    `settings` are those of the run that answers and verdicts depend on, for people. `writing` is null in an
    OUT of an earlier version: nothing can be promised for its rows; so are
    `run_thresholds`, those that annotate judged by and a selection starts from, and `pictures`, the sha256
    over the source digests of all accepted and rejected rows' pictures. `saw_target` and
    `contamination` count rows by verdict: those whose writer was shown the target, and for each note of that
    kind (docs/dirt.md) those that have it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Literal["complete", "incomplete"]
    counts: Counts
    job: str
    dataset: str
    split: str
    category: str | None
    source: Literal["sample", "user"]
    root: str
    layout: str
    image_recipe: str
    limit: int | None
    seed: int
    teacher: str
    teacher_sees_target: bool
    prompts: dict[str, str]
    prompt_version: str
    writing: Writing | None = None
    settings: dict[str, str] = {}
    thresholds: dict[str, float]
    run_thresholds: dict[str, float] | None = None
    checks: tuple[str, ...]
    costs: dict[str, int]
    precision: Precision | None
    pictures: str | None = None
    reasons: dict[str, int]
    saw_target: dict[str, int] = {}
    contamination: dict[str, dict[str, int]] = {}
    files: dict[str, PublishedFile]
    versions: dict[str, str]
