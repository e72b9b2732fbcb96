"""Scores + thresholds -> verdict, and the words of every reason code. Pure: new thresholds ask nothing."""

from __future__ import annotations

from collections.abc import Mapping

from annotate.errors import UsageError
from schemas.row import Verdict

DEFAULT_THRESHOLDS: Mapping[str, float] = {"p_match": 0.95}
"""Score column -> least value of an accepted row."""

REASON_OF_SCORE: Mapping[str, str] = {"p_match": "target_mismatch"}
"""Score column -> reason code when the score is below its threshold."""

REJECTIONS: Mapping[str, str] = {
    "target_mismatch": "The verifier does not believe that the conclusion describes the target image "
    "(p_match below its threshold).",
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
    "no_answer": "No answer could be had: retries ran out, or the verifier's reply held neither letter.",
    "context_too_long": "The conversation does not fit into the teacher's context.",
    "image_rejected": "The server could not read an image that decodes here.",
}
REASONS: Mapping[str, str] = {**REJECTIONS, **QUARANTINES}
"""Every code of the `reasons` column in words; docs/reasons.md is generated from it."""


def verdict(
    scores: Mapping[str, float | None], thresholds: Mapping[str, float] = DEFAULT_THRESHOLDS
) -> tuple[Verdict, tuple[str, ...]]:
    """Accepted when every score reaches its threshold, else rejected with one code a failed score, in
    threshold order.

    Raises `UsageError` when a threshold's score was not measured: an unmeasured score never accepts a row.
    """
    missing = [name for name in thresholds if scores.get(name) is None]
    if missing:
        raise UsageError(f"no score {missing[0]} to judge by; run `annotate run` with its check first")
    reasons = tuple(
        REASON_OF_SCORE[name] for name, least in thresholds.items() if not _reaches(scores[name], least)
    )
    return ("rejected", reasons) if reasons else ("accepted", ())


def checked_thresholds(thresholds: Mapping[str, float]) -> dict[str, float]:
    """Thresholds in column order. Raises `UsageError` for none, an unknown score, or not in [0, 1]."""
    for name, least in thresholds.items():
        if name not in REASON_OF_SCORE:
            raise UsageError(f"threshold for unknown score {name!r}; known: {', '.join(REASON_OF_SCORE)}")
        if not 0.0 <= least <= 1.0:
            raise UsageError(f"threshold {name}={least} is outside [0, 1]")
    if not thresholds:
        raise UsageError(f"no thresholds; give at least one of {', '.join(REASON_OF_SCORE)}")
    return {name: thresholds[name] for name in REASON_OF_SCORE if name in thresholds}


def _reaches(score: float | None, least: float) -> bool:
    return score is not None and score >= least
