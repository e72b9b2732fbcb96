"""What the fault server answers: a pure function of the question, valid under the JSON Schema sent with
it."""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from typing import Any

from annotate.checks.question import MEANINGS
from tests.faults.writer import Json, chain_part

YES = 0.98
"""How often a one-letter question is answered with its first meaning; of a ladder's twenty some fail."""


def question_key(form: Json) -> str:
    """sha256 of the question; an image counts by its uuid, whether or not its bytes came along.

    A repair turn is the question that it repairs: this teacher, asked again, says what it meant to say.
    """
    return hashlib.sha256(json.dumps(_repaired(_without_bytes(form)), sort_keys=True).encode()).hexdigest()


def completion(form: Json, key: str) -> Json:
    """A chat completion for the question, with log-probabilities where they were asked for."""
    rng = random.Random(key)
    choice: Json = {"index": 0, "finish_reason": "stop"}
    if form.get("logprobs"):
        first = rng.random() < YES
        p_match = 0.97 + 0.029 * rng.random() if first else 0.9 * rng.random()
        letter = _letter_for_match(form)
        tops = {letter: p_match, "AB".replace(letter, ""): 1 - p_match - 1e-6, " the": 1e-6}
        best = max(tops, key=lambda token: tops[token])
        choice["message"] = {"role": "assistant", "content": best}
        listed = [
            {"token": token, "logprob": math.log(p), "bytes": list(token.encode())}
            for token, p in tops.items()
        ]
        choice["logprobs"] = {"content": [listed[0] | {"top_logprobs": listed}]}
        choice["finish_reason"] = "length"
    else:
        schema = form.get("response_format", {}).get("json_schema", {}).get("schema")
        text = f"answer {key[:8]}"
        if schema:
            value = chain_part(schema, _repaired(form)["messages"], rng) or value_of(schema, rng)
            text = json.dumps(value, separators=(",", ":"))
        choice["message"] = {"role": "assistant", "content": text}
    return {
        "id": f"chatcmpl-{key[:12]}",
        "object": "chat.completion",
        "model": form.get("model"),
        "choices": [choice],
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "prompt_tokens_details": {"cached_tokens": 64},
        },
    }


def value_of(schema: Json, rng: random.Random) -> Any:
    """A value that the schema allows; all properties are given, strings are short words."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if "anyOf" in schema:
        return value_of(schema["anyOf"][0], rng)
    kind = schema.get("type", "object")
    if kind == "object":
        return {name: value_of(part, rng) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        least, most = schema.get("minItems", 1), schema.get("maxItems", 8)
        items = [
            value_of(schema.get("items", {}), rng) for _ in range(min(most, max(least, rng.randint(2, 5))))
        ]
        return list({json.dumps(item): item for item in items}.values()) if least <= 1 else items
    if kind == "string":
        words = " ".join(rng.choice(_WORDS) for _ in range(rng.randint(1, 3)))
        words = words.ljust(schema.get("minLength", 0), "x")
        return words[: schema.get("maxLength", 200)].strip() or "red"
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "null":
        return None
    low, high = schema.get("minimum", 0), schema.get("maximum", 100)
    return rng.randint(math.ceil(low), math.floor(high)) if kind == "integer" else rng.uniform(low, high)


def images_of(form: Json) -> list[tuple[str, bool]]:
    """(uuid, whether the bytes came along) of each image of the question; the uuid may be empty."""
    found = []
    for message in form.get("messages", []):
        content = message.get("content")
        for part in content if isinstance(content, list) else []:
            if part.get("type") == "image_url":
                found.append((part.get("uuid") or "", part.get("image_url") is not None))
    return found


def _repaired(form: Json) -> Json:
    """The form without a repair turn (the bad answer and the words about it), as it was asked at first."""
    named = form.get("response_format", {}).get("json_schema", {})
    name = named.get("name", "")
    if not name.endswith("_repair"):
        return form
    asked = {"type": "json_schema", "json_schema": named | {"name": name.removesuffix("_repair")}}
    return form | {"messages": form["messages"][:-2], "response_format": asked}


def _without_bytes(form: Json) -> Json:
    messages = []
    for message in form.get("messages", []):
        content = message.get("content")
        if isinstance(content, list):
            content = [_image_name(part) if part.get("type") == "image_url" else part for part in content]
        messages.append(message | {"content": content})
    return form | {"messages": messages}


def _image_name(part: Json) -> Json:
    name = part.get("uuid") or hashlib.sha256(part["image_url"]["url"].encode()).hexdigest()
    return {"type": "image_url", "uuid": name}


def _letter_for_match(form: Json) -> str:
    content = form["messages"][-1].get("content")
    text = content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)
    wanted = "|".join({meanings[0] for meanings in MEANINGS.values()})
    found = re.search(rf"^([AB])\W+(?:{wanted})$", text, re.MULTILINE)
    return found[1] if found else "A"


_WORDS = (
    "red", "blue", "green", "striped", "dotted", "plain", "large", "small", "sleeves", "collar", "belt",
    "short", "long", "round", "square", "dog", "chair", "grass", "window", "wooden", "left", "two",
)  # fmt: skip
