"""The checks in the order in which they are asked, cheapest first: a file each, walked by `ladder.py`."""

from collections.abc import Collection, Mapping

from annotate.checks.check import Check, Evidence, Scores
from annotate.checks.target_match import TARGET_MATCH
from annotate.errors import UsageError

CHECKS: tuple[Check, ...] = (TARGET_MATCH,)

__all__ = ["CHECKS", "Check", "Evidence", "Scores", "choose"]


def choose(names: Collection[str], thresholds: Mapping[str, float]) -> tuple[Check, ...]:
    """The checks with these names (none named: all), in their order.

    Raises `UsageError` for a name without a check, and when a threshold's score would not be measured.
    """
    known = [check.name for check in CHECKS]
    for name in names:
        if name not in known:
            raise UsageError(f"CHECKS={name} is unknown; give some of {', '.join(known)}, or leave it out")
    chosen = tuple(check for check in CHECKS if not names or check.name in names)
    measured = {column for check in chosen for column in check.columns}
    for score in thresholds:
        if score not in measured:
            raise UsageError(
                f"CHECKS leaves out the check that measures {score}, and {score} has a threshold"
            )
    return chosen
