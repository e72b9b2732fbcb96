"""What the model is told and what it writes: query prompt, image prompt, and the chain as text.

Query:  user: [reference image] + modification;  assistant: chain, then `<emb>`.
Image:  user: [image] + one fixed prompt;        assistant: `<emb>`.
Training and generation go through the same two functions, so that their spelling cannot differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

from annotate.prompts import Prompt
from schemas.answers import Edit

EMB = "<emb>"
ChainMode = Literal["none", "gold", "generated"]
CHAIN_PARTS = ("caption", "edits", "kept", "rationale", "conclusion")
"""In this order a small model reads requests best: an edit names its aspect before what becomes of it, a
rationale has to plan "add large red ball" before it has named the ball (docs/recipe.md)."""

_QUERY = "Change the picture: {{modification}}"
_IMAGE = "Describe this picture."


def query_prompt(modification: str) -> str:
    """The user's text beside the reference image; the modification is data and can hold no special token."""
    return _prompt("query", _QUERY).render(modification=modification)


def image_prompt() -> str:
    """The user's text beside a gallery image, always the same."""
    return _IMAGE


def chain_text(
    caption: str | None,
    rationale: str | None,
    edits: Sequence[Edit],
    kept: Sequence[str],
    conclusion: str | None,
) -> str:
    """A published row's chain, one line a part."""
    parts = {
        "caption": caption or "",
        "edits": "; ".join(f"{edit.aspect}: {edit.from_} -> {edit.to}" for edit in edits),
        "kept": ", ".join(kept),
        "rationale": rationale or "",
        "conclusion": conclusion or "",
    }
    return "\n".join(f"{name}: {' '.join(parts[name].split())}" for name in CHAIN_PARTS)


def chain_part(chain: str, name: str) -> str | None:
    """One part of a written chain; None when the model did not get that far."""
    for line in chain.splitlines():
        label, colon, text = line.partition(": ")
        if label == name and colon:
            return text
    return None


def wording_digest() -> str:
    """Digest of every fixed word that the model sees: part of a checkpoint's identity."""
    return hashlib.sha256("\n".join((_QUERY, _IMAGE, EMB, *CHAIN_PARTS)).encode()).hexdigest()


def _prompt(name: str, text: str) -> Prompt:
    return Prompt(name, text, hashlib.sha256(text.encode()).hexdigest())
