"""Reads a teacher's raw answer: a valid typed answer, or the fault that the repair turn names. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from jsonschema import Draft202012Validator
from pydantic import ValidationError

from annotate.teacher.request import Reply
from annotate.text import parse_json
from schemas.answers import Answer

MAX_ERROR = 300
"""Characters of an error text; it goes into a prompt and into `detail`."""

AnswerT = TypeVar("AnswerT", bound=Answer)

_REFUSAL = re.compile(
    r"^\W*(i['’]?m (very )?sorry|sorry\b|i (can ?not|can['’]t|am unable|am not able|won['’]t)"
    r"|i['’]m (unable|not able)|as an ai\b|unfortunately, i\b)",
    re.IGNORECASE,
)
_REFUSING_REASONS = frozenset({"content_filter", "refusal"})


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an answer cannot be used; `code` is its own quarantine code, or "" for the stage's `*_invalid`."""

    error: str
    code: str = ""


def read_answer(reply: Reply, model: type[AnswerT], schema_json: str) -> AnswerT | Fault:
    """Check an answer against the very schema that was sent, then against the pydantic model."""
    if reply.finish_reason == "length":
        return Fault("it was cut off before its end; be shorter", "answer_cut_off")
    if reply.finish_reason in _REFUSING_REASONS or _REFUSAL.match(reply.text):
        return Fault("it is a refusal and not the JSON asked for", "teacher_refused")
    if not reply.text.strip():
        return Fault("it was empty")
    try:
        value = parse_json(reply.text, _without_repeats, _refuse_constant)
        reply.text.encode()
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        return Fault(_bounded(f"it is not JSON: {error.msg} at character {error.pos}"))
    except UnicodeEncodeError:
        return Fault("it holds half of a surrogate pair, which is no character")
    except ValueError as error:
        return Fault(_bounded(f"it is not JSON: {error}"))
    violation = next(iter(_validator(schema_json).iter_errors(value)), None)
    if violation is not None:
        return Fault(_bounded(f"{_where(violation.absolute_path)}: {violation.message}"))
    try:
        answer = model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return Fault(_bounded(f"{_where(first['loc'])}: {first['msg']}"))
    blank = next((path for path, text in _texts(value) if not text.strip()), None)
    return Fault(f"{blank}: it is blank") if blank else answer


@cache
def _validator(schema_json: str) -> Draft202012Validator:
    return Draft202012Validator(parse_json(schema_json))


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def _texts(value: Any, path: str = "answer") -> Iterable[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{path}[{index}]")


def _where(path: Iterable[Any]) -> str:
    return "answer" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_ERROR else text[: MAX_ERROR - 4] + " ..."
