"""Scores + thresholds -> verdict, and the words of every reason code. Pure: new thresholds ask nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from annotate.errors import UsageError
from annotate.text import did_you_mean
from schemas.row import Verdict

DEFAULT_THRESHOLDS: Mapping[str, float] = {
    "form": 1.0,
    "coherent": 1.0,
    "p_covers": 0.5,
    "p_grounded": 0.95,
    "p_edits": 0.5,
    "kept_share": 0.5,
    "p_settled": 0.5,
    "no_leak": 0.5,
}
"""Score column -> least value of an accepted row.

`p_match` has none: a target may differ in what the text does not mention. `p_grounded` asks for more than the
others: of pictures unlike any the teacher knows, false captions get high probabilities (docs/trust.md).
`python -m annotate calibrate` finds thresholds that keep a promised precision."""

REASON_OF_SCORE: Mapping[str, str] = {
    "form": "malformed_text",
    "coherent": "incoherent_edits",
    "carried": "not_carried_over",
    "p_covers": "edits_mismatch",
    "p_grounded": "caption_ungrounded",
    "p_match": "target_mismatch",
    "p_edits": "edit_not_shown",
    "kept_share": "target_unlike",
    "round_trip": "not_found_again",
    "margin": "fits_lookalike",
    "p_settled": "unsettled_claim",
    "no_leak": "leaked_claim",
}
"""Score column -> reason code when the score is below its threshold, in the order of the checks."""

NOT_MEASURED = "not_measured"

REJECTIONS: Mapping[str, str] = {
    "malformed_text": "The text repeats itself, talks about the pictures, echoes the request, is in another "
    "language or script, or is no list of facts (form below its threshold; form_findings names what).",
    "incoherent_edits": "Caption, edits and conclusion contradict each other as strings (coherent below "
    "its threshold).",
    "not_carried_over": "The conclusion is not the caption with the edits made (carried below its "
    "threshold).",
    "edits_mismatch": "The edits are not what the request asks for: one is missing, invented or wrong "
    "(p_covers below its threshold).",
    "caption_ungrounded": "A claim of the caption does not hold on the reference image (p_grounded below its "
    "threshold).",
    "target_mismatch": "The verifier does not believe that the conclusion describes the target image "
    "(p_match below its threshold).",
    "edit_not_shown": "The target image does not show what an edit asks for (p_edits below its threshold).",
    "target_unlike": "The target image differs from the reference in most of what should have been kept "
    "(kept_share below its threshold).",
    "not_found_again": "The conclusion does not find the target image among its neighbours (round_trip below "
    "its threshold).",
    "fits_lookalike": "The conclusion fits another image of the gallery as well as the target (margin below "
    "its threshold).",
    "unsettled_claim": "A claim of the conclusion follows from neither reference image nor request "
    "(p_settled below its threshold).",
    "leaked_claim": "A claim is known from the target image only (no_leak below its threshold; leak_claims "
    "names it).",
    NOT_MEASURED: "A score that has a threshold was not measured: another threshold had rejected the row "
    "before (run annotate with these to ask for it), or there is no look-alike to compare with.",
}
QUARANTINES: Mapping[str, str] = {
    "missing_image": "The reference or target image is not in the image folder, or the record names none.",
    "undecodable_image": "An image file is there but cannot be decoded: truncated, or not an image.",
    "image_too_large": "An image has more pixels or bytes than the safety limit allows.",
    "empty_modification": "No usable modification text is left in the record.",
    "modification_too_long": "The modification text is longer than 2,000 characters; no real one is.",
    "exact_repeat": "Reference, target and text repeat an earlier record under a second id.",
    "caption_invalid": "The teacher's caption did not fit the schema, nor after a repair turn.",
    "reasoning_invalid": "The teacher's reasoning did not fit the schema, nor after a repair turn.",
    "conclusion_invalid": "The teacher's conclusion did not fit the schema, nor after a repair turn.",
    "answer_cut_off": "The teacher's answer reached the token limit before its end, twice.",
    "teacher_refused": "The teacher refused to answer.",
    "no_answer": "No answer could be had: retries ran out, the server refused the request, or its reply was "
    "unusable.",
    "context_too_long": "The conversation does not fit into the teacher's context.",
    "image_rejected": "The server could not read an image that decodes here, or took the request for too "
    "large.",
}
REASONS: Mapping[str, str] = {**REJECTIONS, **QUARANTINES}
"""Every code of the `reasons` column in words; docs/reasons.md is generated from it."""


def verdict(
    scores: Mapping[str, float | None], thresholds: Mapping[str, float] = DEFAULT_THRESHOLDS
) -> tuple[Verdict, tuple[str, ...]]:
    """Accepted when every score reaches its threshold, else rejected with one code a failed score, in
    threshold order.

    A score that was not measured never accepts a row: where nothing else rejects it, `not_measured` does.
    """
    failed = _failed(scores, thresholds)
    if failed:
        return "rejected", tuple(REASON_OF_SCORE[name] for name in failed)
    if any(scores.get(name) is None for name in thresholds):
        return "rejected", (NOT_MEASURED,)
    return "accepted", ()


def is_rejected(scores: Mapping[str, float | None], thresholds: Mapping[str, float]) -> bool:
    """Whether the scores measured so far reject the row, whatever those still to come are."""
    return bool(_failed(scores, thresholds))


def defaults_for(measured: Iterable[str]) -> dict[str, float]:
    """The default thresholds of the scores that are measured."""
    return {name: DEFAULT_THRESHOLDS[name] for name in measured if name in DEFAULT_THRESHOLDS}


def checked_thresholds(thresholds: Mapping[str, float]) -> dict[str, float]:
    """Thresholds in column order. Raises `UsageError` for none, an unknown score, or not in [0, 1]."""
    for name, least in thresholds.items():
        if name not in REASON_OF_SCORE:
            near = did_you_mean(name, REASON_OF_SCORE)
            hint = f" ({near})" if near else ""
            raise UsageError(
                f"threshold for unknown score {name!r}{hint}; known: {', '.join(REASON_OF_SCORE)}"
            )
        if not 0.0 <= least <= 1.0:
            raise UsageError(f"threshold {name}={least} is outside [0, 1]")
    if not thresholds:
        raise UsageError(f"no thresholds; give at least one of {', '.join(REASON_OF_SCORE)}")
    return {name: thresholds[name] for name in REASON_OF_SCORE if name in thresholds}


def _failed(scores: Mapping[str, float | None], thresholds: Mapping[str, float]) -> list[str]:
    """Measured scores that do not reach their thresholds, in threshold order; NaN reaches none."""
    return [
        name
        for name, least in thresholds.items()
        if (score := scores.get(name)) is not None and not score >= least
    ]
