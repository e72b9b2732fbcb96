"""Reads and validates annotation JSON; whatever is broken becomes an `InputError` with file and record."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from annotate.datasets.roots import NoRecords
from annotate.errors import InputError
from annotate.text import parse_json

MAX_FILE_BYTES = 1 << 30
AGAIN = "mend it or download the file again"

_PART = r"[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]{0,254}"
_PLAIN_NAME = re.compile(_PART)

ImageName = Annotated[str, StringConstraints(pattern=f"^{_PART}$", strict=True)]
"""A plain image name: one path component, no leading dot, no control characters: it stays in its folder."""

RelativePath = Annotated[
    str, StringConstraints(pattern=rf"^(?:\./)?{_PART}(?:/{_PART}){{0,16}}$", max_length=1024, strict=True)
]
"""Plain names joined by `/`, optionally after `./`."""

RecordId = Annotated[int, Field(ge=0, lt=10**18)]
"""Far above any: thousands of digits would be cut when published, and two ids might become one."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Record(BaseModel):
    """Base of the raw records: exact types, unknown fields ignored (the datasets' forks add some)."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


R = TypeVar("R", bound=Record)


def is_plain_name(name: str) -> bool:
    """True when `name` is one harmless path component (see `ImageName`)."""
    return _PLAIN_NAME.fullmatch(name) is not None and not _SURROGATE.search(name)


def read_json(path: Path) -> Any:
    """Contents of a JSON file. Raises `InputError` with file and position when it cannot be read as such.

    Lone surrogates (`"\\ud800"`), which no encoder accepts, become U+FFFD.
    """
    text = read_text(path)
    try:
        value = parse_json(text, pairs=_no_key_twice)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise InputError(f"{path}: broken JSON at {where}: {error.msg}; {AGAIN}") from error
    except ValueError as error:  # nested too deeply, a key twice, an integer of thousands of digits
        raise InputError(f"{path}: {str(error)[:200]}; {AGAIN}") from error
    return _without_surrogates(value) if _ESCAPED_SURROGATE.search(text) else value


def read_text(path: Path) -> str:
    """UTF-8 text of an annotation file (a byte order mark is dropped); `InputError` when that fails."""
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file; check ROOT")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{path}: larger than 1 GiB, no annotation file of this dataset; {AGAIN}")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; {AGAIN}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error


def read_records(path: Path, model: type[R], id_field: str | None = None, under: str = "") -> list[R]:
    """All records of a JSON list (with `under`, of the list under that key of an object), in file order.

    Raises `InputError` naming file, record (index from 0 and, with `id_field`, its id) and field for the
    first record that does not fit `model`, and when two records carry the same id.
    """
    data = read_json(path)
    if under:
        data = data.get(under) if isinstance(data, dict) else data
    if not isinstance(data, list):
        raise InputError(f"{path}: should be a list of records, is {_kind(data)}; {AGAIN}")
    if not data:
        raise NoRecords(f"{path}: holds no records; {AGAIN}")
    try:
        records: list[R] = TypeAdapter(list[model]).validate_python(data)  # type: ignore[valid-type]  # a type at run time
    except ValidationError as error:
        raise InputError(f"{path}: {_first_problem(error, data, id_field)}; {AGAIN}") from error
    if id_field is not None:
        _refuse_repeated_ids(path, id_field, [getattr(record, id_field) for record in records])
    return records


def read_names(path: Path) -> list[str]:
    """A JSON list of image names. Raises `InputError` naming an entry that is not plain, or repeated."""
    names: list[str] = _validated(path, TypeAdapter(list[ImageName]), list)
    _refuse_repeated_ids(path, "image", names)
    return names


def read_name_map(path: Path) -> dict[str, str]:
    """A JSON object image name -> path, `./` stripped. Raises `InputError` naming an entry that leads out."""
    return {
        name: relative.removeprefix("./")
        for name, relative in _validated(path, TypeAdapter(dict[ImageName, RelativePath]), dict).items()
    }


def _validated(path: Path, adapter: TypeAdapter[Any], kind: type[list[Any]] | type[dict[str, Any]]) -> Any:
    data = read_json(path)
    if not isinstance(data, kind):
        raise InputError(f"{path}: should be {_kind(kind())}, is {_kind(data)}; {AGAIN}")
    try:
        return adapter.validate_python(data, strict=True)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        entry = repr(problem["loc"][0])[:80]
        why = (
            "should be a plain image name or a path that stays below ROOT (no '..', not absolute)"
            if problem["type"] == "string_pattern_mismatch"
            else problem["msg"].lower()
        )
        raise InputError(f"{path}: entry {entry} is {problem['input']!r:.80}: {why}; {AGAIN}") from error


def files_digest(paths: Sequence[Path]) -> str:
    """sha256 over names and contents of annotation files, in the given order."""
    total = hashlib.sha256()
    for path in paths:
        try:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); check ROOT") from error
        total.update(f"{path.name} {content}\n".encode())
    return total.hexdigest()


def refuse_other_split(path: Path, split_file: Path, used: Iterable[str], known: Iterable[str]) -> None:
    """Raise `InputError` when most image names of the caption file `path` are not in its split file.

    A few unknown names are dirt (their images count as missing); most of them unknown means another split's
    file.
    """
    names, gallery = set(used), set(known)
    absent = len(names - gallery)
    if absent * 2 > len(names):
        raise InputError(
            f"{path}: {absent} of its {len(names)} images are not in {split_file}, "
            f"so it is the annotation file of another split or category; put the right file in its place"
        )


def _refuse_repeated_ids(path: Path, id_field: str, ids: Sequence[object]) -> None:
    first: dict[object, int] = {}
    for index, value in enumerate(ids):
        if value in first:
            raise InputError(
                f"{path}: {id_field} {value} twice (records {first[value]} and {index}); ids must be unique, "
                f"remove one or download the file again"
            )
        first[value] = index


def _first_problem(error: ValidationError, data: list[Any], id_field: str | None) -> str:
    problem = error.errors(include_url=False, include_context=False)[0]
    index, *inside = problem["loc"]
    record = data[index] if isinstance(index, int) else None
    name = f"record {index}"
    if id_field is not None and isinstance(record, dict) and isinstance(record.get(id_field), int | str):
        name += f" ({id_field} {record[id_field]!r:.40})"
    field = ".".join(str(part)[:60] for part in inside)
    shown = repr(problem["input"])[:60]
    match problem["type"]:
        case "missing":
            message = f"{name}: field {field!r} is missing"
        case "string_pattern_mismatch":
            message = f"{name}: {field} {shown} is not a plain image name (one name, no folders, no '..')"
        case _ if not inside:
            message = f"{name}: should be an object, is {_kind(record)}"
        case _:
            message = f"{name}: field {field!r} is {shown}: {problem['msg'].lower()}"
    others = error.error_count() - 1
    return message + (f" (and {others} more problems)" if others else "")


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key[:60]!r} twice in one object")
            seen.add(key)
    return value


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value
