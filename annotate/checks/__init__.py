"""The checks in the order in which they are asked, cheapest first: a file each, walked by `ladder.py`."""

from annotate.checks.check import Check, Evidence, Scores
from annotate.checks.target_match import TARGET_MATCH

CHECKS: tuple[Check, ...] = (TARGET_MATCH,)

__all__ = ["CHECKS", "Check", "Evidence", "Scores"]
