"""The checks in the order in which they are asked, cheapest first: a file each, walked by `ladder.py`."""

from collections.abc import Collection, Iterable

from annotate.checks.check import Check, Evidence, Findings
from annotate.checks.coherence import COHERENCE
from annotate.checks.form import FORM
from annotate.checks.grounded_caption import GROUNDED_CAPTION
from annotate.checks.hard_negatives import HARD_NEGATIVES
from annotate.checks.leakage import LEAKAGE
from annotate.checks.round_trip import ROUND_TRIP
from annotate.checks.target_match import TARGET_MATCH
from annotate.errors import UsageError

CHECKS: tuple[Check, ...] = (
    FORM,
    COHERENCE,
    GROUNDED_CAPTION,
    TARGET_MATCH,
    ROUND_TRIP,
    HARD_NEGATIVES,
    LEAKAGE,
)
DEFAULT_CHECKS: tuple[Check, ...] = (FORM, COHERENCE, GROUNDED_CAPTION, TARGET_MATCH, LEAKAGE)
"""Without the two whose costs are high or whose score is soft; `round_trip` joins where ENCODER_URL is
given."""

SCORES = 4
"""Raised by hand when a score comes to mean something else: no promise is carried to scores of before."""

__all__ = [
    "CHECKS",
    "DEFAULT_CHECKS",
    "SCORES",
    "Check",
    "Evidence",
    "Findings",
    "choose",
    "left_out",
    "measured",
]


def choose(names: Collection[str], thresholds: Iterable[str], encoder: bool = False) -> tuple[Check, ...]:
    """The checks with these names (none named: the default ones), in their order.

    `thresholds` are the scores that somebody gave a threshold for. Raises `UsageError` for a threshold whose
    score would not be measured, and for `round_trip` without an encoder.
    """
    if "round_trip" in names and not encoder:
        raise UsageError("CHECKS=round_trip needs an image-text encoder; give ENCODER_URL")
    if names:
        chosen = tuple(check for check in CHECKS if check.name in names)
    else:
        chosen = tuple(
            check for check in CHECKS if check in DEFAULT_CHECKS or (encoder and check is ROUND_TRIP)
        )
    for score in thresholds:
        if score not in measured(chosen):
            raise UsageError(
                f"CHECKS leaves out the check that measures {score}, and {score} has a threshold"
            )
    return chosen


def measured(checks: Iterable[Check]) -> tuple[str, ...]:
    """The score columns that these checks fill, in order."""
    return tuple(column for check in checks for column in check.columns)


def left_out(names: Collection[str]) -> tuple[str, ...]:
    """The default checks that are not among these: no row is rejected for what they detect."""
    return tuple(check.name for check in DEFAULT_CHECKS if check.name not in names)
