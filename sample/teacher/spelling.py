"""How answers and questions are spelt: what server, training and measurement share."""

from __future__ import annotations

import json

from sample import world

# What the two letters mean in each one-letter question; asked in both orders.
MEANINGS = {
    "verify": ("match", "mismatch"),
    "verify_edit": ("match", "mismatch"),
    "follows": ("settled", "unsettled"),
    "covers": ("exact", "inexact"),
}


def compact(answer: object) -> str:
    """Canonical compact JSON, which is also what guided decoding emits."""
    return json.dumps(answer, separators=(",", ":"), ensure_ascii=False)


def edit_text(edit: world.Edit) -> str:
    """An edit as the questions about edits spell it."""
    return f"{edit.aspect}: {edit.old} to {edit.new}"
