"""The closed list of aspects that edits may name: data of the dataset, never of the prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints, TypeAdapter, ValidationError

from annotate.datasets.records import read_json
from annotate.errors import InputError

_LISTS = Path(__file__).resolve().parent / "aspects"
_MAX_ASPECTS = 64
_INNER = r"[^\x00-\x1f\x7f<>{}]"
_END = r"[^\s\x00-\x1f\x7f<>{}]"
_NAME = StringConstraints(max_length=40, pattern=rf"^{_END}(?:{_INNER}*{_END})?$")
_ADAPTER = TypeAdapter(list[Annotated[str, _NAME]])


def load_aspects(dataset: str, root: Path) -> tuple[str, ...]:
    """Aspect names of `ROOT/aspects.json` (a JSON list of strings) if it exists, else this package's list.

    "other" comes last, listed or not. Raises `InputError` for a list that is empty, too long, or has repeats.
    """
    own = root / "aspects.json"
    path = own if own.exists() else _LISTS / f"{dataset}.json"
    try:
        names = _ADAPTER.validate_python(read_json(path), strict=True)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        where = f"entry {problem['loc'][0]}" if problem["loc"] else "the file"
        raise InputError(
            f"{path}: {where}: {problem['msg'].lower()}; give a JSON list of names of 1 to 40 characters"
        ) from error
    if not 1 <= len(names) <= _MAX_ASPECTS or len(set(names)) != len(names):
        raise InputError(f"{path}: {len(names)} names; give 1 to {_MAX_ASPECTS} different ones")
    return (*(name for name in names if name != "other"), "other")
