"""The published columns, declared once: Arrow schema, dataset card and docs derive from this model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.answers import Edit

Verdict = Literal["accepted", "rejected", "quarantined"]


class Row(BaseModel):
    """One triplet with chain, scores and verdict. Absent values are None or empty, never invented."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    triplet_id: str = Field(description="dataset/split[/category]/number, e.g. cirr/train/12063")
    dataset: str = Field(description="fashioniq, cirr or circo")
    split: str = Field(description="as the data set calls it: train, val, ...")
    category: str | None = Field(description="FashionIQ: dress, shirt or toptee")
    reference: str = Field(description="name of the reference image in the dataset")
    reference_digest: str | None = Field(description="sha256 of the reference's source file")
    target: str | None = Field(description="name of the target image")
    target_digest: str | None = Field(description="sha256 of the target's source file")
    modification: str = Field(description="the text that the teacher was given (captions joined)")
    modifications: tuple[str, ...] = Field(description="the text(s) as in the annotation file")
    subset: tuple[str, ...] = Field(description="CIRR: the six look-alikes, reference and target included")
    positives: tuple[str, ...] = Field(description="further known true targets, to be masked as negatives")
    also_matches: tuple[str, ...] = Field(description="other gallery images that fit the conclusion as well")
    native_id: str = Field(
        description="the record's own id in its file (CIRR pairid, CIRCO id, FashionIQ row)"
    )
    notes: tuple[str, ...] = Field(description="harmless oddities of the record, codes of docs/dirt.md")
    caption: str | None = Field(description="claims about the reference, joined with commas")
    caption_claims: tuple[str, ...] = Field(description="what the reference shows, one visible fact each")
    rationale: str | None = Field(description="why these edits")
    edits: tuple[Edit, ...] = Field(description="what the modification asks for: aspect, from, to")
    kept: tuple[str, ...] = Field(description="aspects that stay as they are")
    conclusion: str | None = Field(description="the target as described by the writer, joined with commas")
    conclusion_claims: tuple[str, ...] = Field(description="the conclusion, one visible fact each")
    leak_claims: tuple[str, ...] = Field(
        description="claims, phrases of the rationale or values of edits that are known from the target only "
        "(empty until checked)"
    )
    form: float | None = Field(description="1 for well-formed text, 1 / (1 + findings) else")
    form_findings: tuple[str, ...] = Field(description="what is wrong with the text's form")
    coherent: float | None = Field(
        description="least share of edits that fit caption, conclusion and kept aspects, as strings; a value "
        "before that the caption has not in its words counts when the reference shows it"
    )
    carried: float | None = Field(
        description="share of the conclusion that is the caption with the edits made, as strings"
    )
    p_covers: float | None = Field(
        description="probability that the edits are exactly what the modification asks for"
    )
    p_grounded: float | None = Field(
        description="probability that the caption holds on the reference, a little moved: the whole, or its "
        "least claim"
    )
    claim_grounded: tuple[float, ...] = Field(
        description="the same a caption claim (empty where the whole was sure)"
    )
    p_match: float | None = Field(
        description="probability that the whole conclusion describes the target; below .95 it only says that "
        "something differs, be it unmentioned by the text, so it has no threshold unless one is given"
    )
    p_edits: float | None = Field(
        description="least probability over the edits that the target shows what the edit leads to"
    )
    kept_share: float | None = Field(
        description="share of the conclusion's claims about kept things that the target does not belie "
        "(where one half of them holds, the other counts one false); 1 without a question where fewer than "
        "two are kept or p_match is at least .95"
    )
    claim_match: tuple[float, ...] = Field(
        description="a conclusion claim each: its probability on the target by the narrowest question asked, "
        "p_match save for kept claims where p_match is below .95 (asked in halves, then one by one)"
    )
    round_trip: float | None = Field(
        description="share of the target when an image-text encoder compares it with look-alikes"
    )
    margin: float | None = Field(
        description="(1 + p of the target - p of the best look-alike) / 2 for the conclusion"
    )
    p_settled: float | None = Field(
        description="least probability over the conclusion's claims that reference and text settle it"
    )
    no_leak: float | None = Field(
        description="1 - the highest probability of a claim or phrase that is rather not settled (p < .5) to "
        "be unsettled and true of the target; 1 where all are rather settled"
    )
    claim_leak: tuple[float, ...] = Field(description="a conclusion claim each: how probably it leaks")
    skipped_checks: tuple[str, ...] = Field(
        description="checks that were not asked, since the row was rejected already"
    )
    attempt: int = Field(description="0 for the first writing, n for the n-th second chance")
    verdict: Verdict = Field(description="accepted, rejected or quarantined")
    reasons: tuple[str, ...] = Field(description="codes of docs/reasons.md, empty when accepted")
    detail: str | None = Field(
        description="what went wrong, for a quarantined row: error text, raw answer (bounded)"
    )
    teacher: str = Field(description="model that wrote the chain")
    teacher_sees_target: bool = Field(description="true when the writer was shown the target (leakage!)")
    prompt_version: str = Field(description="digest over all prompts")
    source: Literal["sample", "user"] = Field(description="rendered sample or the user's own data")
