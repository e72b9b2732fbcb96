"""What the teacher answers, one model a stage. JSON Schema and arrival check derive from here.

Guided decoding emits properties in this order, so it is part of the prompt: think first, then commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MAX_CLAIMS = 16
MAX_EDITS = 8
MAX_CLAIM, MAX_RATIONALE = 120, 400  # letters

Claim = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CLAIM)]
Value = Annotated[str, StringConstraints(min_length=1, max_length=80)]
Aspect = Annotated[str, StringConstraints(min_length=1, max_length=40)]


class Answer(BaseModel):
    """Base of the stage answers: frozen, no unknown keys, `from` spelt as in the JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class CaptionAnswer(Answer):
    """What the reference image shows, one visible fact a claim."""

    claims: Annotated[tuple[Claim, ...], Field(min_length=1, max_length=MAX_CLAIMS)]


class Edit(Answer):
    """One change that the modification asks for; "none" stands for absent."""

    aspect: Aspect
    from_: Annotated[Value, Field(alias="from")]
    to: Value


class ReasoningAnswer(Answer):
    """What the modification asks of the reference: why, which edits, what stays."""

    rationale: Annotated[str, StringConstraints(min_length=1, max_length=MAX_RATIONALE)]
    edits: Annotated[tuple[Edit, ...], Field(min_length=1, max_length=MAX_EDITS)]
    kept: Annotated[tuple[Aspect, ...], Field(max_length=MAX_CLAIMS)]


class ConclusionAnswer(Answer):
    """The target described as if seen, self-contained, one visible fact a claim."""

    claims: Annotated[tuple[Claim, ...], Field(min_length=1, max_length=MAX_CLAIMS)]


def response_schema(model: type[Answer], aspects: Sequence[str] = ()) -> dict[str, Any]:
    """JSON Schema of a stage's answer; `aspects` closes the list of aspect names (with "other" appended).

    Without `$ref` indirection, since some guided-decoding back ends resolve references poorly.
    """
    schema = _inline(model.model_json_schema(by_alias=True))
    if aspects:
        closed = {"type": "string", "enum": [*(a for a in aspects if a != "other"), "other"]}
        properties = schema["properties"]
        if "edits" in properties:
            properties["edits"]["items"]["properties"]["aspect"] = closed
        if "kept" in properties:
            properties["kept"]["items"] = closed
    return schema


def _inline(schema: dict[str, Any]) -> dict[str, Any]:
    """Resolve local `$ref`s and drop titles and descriptions, which guided decoding does not read."""
    definitions = schema.pop("$defs", {})

    def walk(node: Any, in_properties: bool = False) -> Any:
        if isinstance(node, list):
            return [walk(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return walk(definitions[node["$ref"].rsplit("/", 1)[1]])
        drop = () if in_properties else ("title", "description")
        return {key: walk(value, key == "properties") for key, value in node.items() if key not in drop}

    resolved: dict[str, Any] = walk(schema)
    return resolved
