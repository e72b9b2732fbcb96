"""The proving ground's results as a Markdown table, as JSON, and in docs/trust.md between its marks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from annotate.errors import OutputError
from annotate.files import write_atomic
from sample.prove.corruptions import CONTROLS
from sample.prove.measure import Caught, Leaks

BEGIN, END = "<!-- prove: begin -->", "<!-- prove: end -->"


def table(found: Sequence[Caught], thresholds: Mapping[str, float]) -> str:
    """Rows are corruptions, columns scores: share of the rows below the score's threshold, in percent."""
    head = ["", "rows", *(f"`{name}` < {least:g}" for name, least in thresholds.items()), "rejected"]
    lines = [_line(head), _line(["---", *("---:",) * (len(head) - 1)])]
    for row in found:
        name = f"*{row.kind}*" if row.kind in CONTROLS else row.kind
        cells = (_percent(row.share(score)) for score in thresholds)
        lines.append(_line([name, f"{row.rows:,}", *cells, _percent(row.rejected / row.rows)]))
    return "\n".join(lines) + _leaks(found)


def _leaks(found: Sequence[Caught]) -> str:
    """What `leakage` made of single claims, where it was asked."""
    spoilt = sum((row.leaks for row in found if row.kind not in CONTROLS), Leaks())
    if not spoilt.leaked:
        return ""
    alarms = (
        f"{row.leaks.alarms:,} of {row.leaks.blind:,} claims of *{row.kind}* rows"
        for row in found
        if row.kind in CONTROLS
    )
    said = f"{spoilt.found:,} of {spoilt.leaked:,} ({100 * spoilt.found / spoilt.leaked:.1f} %)"
    return f"\n\nLeaked claims found by `leak_claims`: {said}; false alarms: {', '.join(alarms)}."


def as_json(
    found: Sequence[Caught],
    thresholds: Mapping[str, float],
    requests: Mapping[str, int],
    facts: Mapping[str, Any],
) -> str:
    """Everything that the table was made of."""
    clean = next((row.rows for row in found if row.kind == "clean"), 0)
    return (
        json.dumps(
            {
                **facts,
                "thresholds": dict(thresholds),
                "kinds": [row.as_dict() for row in found],
                "requests_per_clean_row": round(sum(requests.values()) / max(clean, 1), 2),
                "requests": dict(requests),
            },
            indent=1,
        )
        + "\n"
    )


def renew(page: Path, text: str) -> None:
    """Put the text between the page's marks. Raises `OutputError` when there are none."""
    whole = page.read_text(encoding="utf-8")
    if BEGIN not in whole or END not in whole:
        raise OutputError(f"{page} has no marks {BEGIN} … {END}; put them where the table belongs")
    before, _, rest = whole.partition(BEGIN)
    _, _, after = rest.partition(END)
    write_atomic(page, f"{before}{BEGIN}\n{text}\n{END}{after}")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _percent(share: float) -> str:
    return "·" if share == 0 else f"{100 * share:.1f}"
