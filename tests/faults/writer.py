"""Chains that hang together: what the fault server writes as caption, edits and conclusion. Pure in the
question.

One in twenty answers is nonsense that fits its schema (`answers.value_of`), so that every verdict occurs.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

NONSENSE = 0.05
_LOOKS = ("red", "blue", "green", "striped", "dotted", "plain", "large", "small", "round", "square", "wooden")
_THINGS = ("ball", "dog", "chair", "window", "belt", "collar", "lamp", "tree")


def chain_part(schema: Json, messages: Sequence[Json], rng: random.Random) -> Json | None:
    """The answer to a stage's question, fit to the earlier ones of its conversation; None for other questions
    (told by the schema's properties) and where nonsense is due."""
    if rng.random() < NONSENSE:
        return None
    asked = set(schema.get("properties", {}))
    said = _said(messages)
    if asked == {"rationale", "edits", "kept"} and "claims" in said:
        aspects = schema["properties"]["kept"]["items"].get("enum", ["shape", "color", "other"])
        return _reasoning(said["claims"], aspects, rng)
    if asked == {"claims"} and "edits" in said:
        new = {edit["from"]: edit["to"] for edit in said["edits"]}
        return {"claims": [new.get(claim, claim) for claim in said["claims"]]}
    if asked == {"claims"} and schema["properties"]["claims"]["items"].get("maxLength", 0) >= 20:
        things = rng.sample(_THINGS, rng.randint(2, 4))
        return {"claims": [f"a {rng.choice(_LOOKS)} {thing}" for thing in things]}
    return None


def _reasoning(claims: Sequence[str], aspects: Sequence[str], rng: random.Random) -> Json:
    edited = rng.sample(list(claims), rng.randint(1, len(claims) - 1) if len(claims) > 1 else 1)
    names = rng.sample(list(aspects), min(len(aspects), len(edited) + 2))
    edits = [
        {"aspect": name, "from": claim, "to": _other(claim, rng)}
        for name, claim in zip(names, edited, strict=False)
    ]
    return {"rationale": "other colours are asked for", "edits": edits, "kept": names[len(edits) :]}


def _other(claim: str, rng: random.Random) -> str:
    """The claim with another look of its thing; any text, when the claim is nonsense."""
    thing = claim.split()[-1]
    return rng.choice([made for look in _LOOKS if (made := f"a {look} {thing}") != claim])


def _said(messages: Sequence[Json]) -> Json:
    """All that the assistant has answered in JSON so far."""
    said: Json = {}
    for message in messages:
        if message.get("role") == "assistant":
            try:
                answer = json.loads(message["content"])
            except (ValueError, TypeError):
                continue
            said |= answer if isinstance(answer, dict) else {}
    return said
