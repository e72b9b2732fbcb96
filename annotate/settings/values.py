"""Turns the text of one setting into its value, or says in one line what is wrong and what would be right."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from annotate.errors import UsageError
from annotate.files import usable_path
from annotate.images import parse_recipe
from annotate.teacher.hub import is_hub_name
from annotate.text import did_you_mean, plain
from annotate.urls import MODEL_SERVER, TEACHER_KEY, checked_url

Value = str | int | float | bool | Path | tuple[str, ...] | tuple[tuple[str, float], ...] | None
Source = Literal["flag", "environment", "file", "default"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_YES = frozenset({"1", "true", "yes", "on"})
# What our own start of vLLM decides: others would make a server that we do not find or that others reach.
_OURS = frozenset({"--host", "--port", "--model", "--served-model-name", "--trust-remote-code"})
_NO = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Given:
    """A setting as somebody wrote it; `where`: "--limit", "LIMIT" (environment), "annotate.toml"."""

    name: str
    text: str
    source: Source
    where: str

    def spell(self, value: str) -> str:
        """`value` written the way this source writes it, for "give e.g. …"."""
        if self.source == "flag":
            return f"{self.where} {value}"
        if self.source == "file":
            quoted = value if re.fullmatch(r"[\d.]+|true|false", value) else f'"{value}"'
            return f"{self.name} = {quoted}"
        return f"{self.where}={value}"

    @property
    def written(self) -> str:
        """What the user wrote, safe to print; never used for URLs, which may carry secrets."""
        in_file = f"{self.where}: " if self.source == "file" else ""
        return in_file + self.spell(plain(self.text, 80))

    @property
    def named(self) -> str:
        """The setting without its value."""
        return f"{self.where}: {self.name}" if self.source == "file" else self.where


# Of an address: an example, and the variable its key goes into; a model server's unless said otherwise.
OTHER_SERVERS = {"prefect_api": ("http://host:4200/api", "PREFECT_API_AUTH_STRING")}


def whole(least: int, most: int | None, example: int) -> Callable[[Given], int]:
    """Parser of whole numbers in `least..most`."""

    def parse(given: Given) -> int:
        advice = f"give e.g. {given.spell(str(example))}"
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", given.text):
            raise UsageError(f"{given.written} is not a whole number; {advice}")
        value = int(given.text)
        if value < least:
            kind = "negative" if value < 0 else "too small"
            raise UsageError(f"{given.written} is {kind}, the least is {least}; {advice}")
        if most is not None and value > most:
            raise UsageError(f"{given.written} is too large, the most is {most}; {advice}")
        return value

    return parse


def number(least: float, most: float, example: float) -> Callable[[Given], float]:
    """Parser of finite numbers in `least..most`."""

    def parse(given: Given) -> float:
        advice = f"give e.g. {given.spell(f'{example:g}')}"
        value = as_number(given.text)
        if value is None:
            raise UsageError(f"{given.written} is not a number; {advice}")
        if not least <= value <= most:
            raise UsageError(f"{given.written} is outside {least:g} to {most:g}; {advice}")
        return value

    return parse


def as_number(text: str) -> float | None:
    """A finite number, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def switch(given: Given) -> bool:
    """1 or 0, and the usual words for them."""
    word = given.text.lower()
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise UsageError(f"{given.written} is neither 1 nor 0; give e.g. {given.spell('1')}")


def choice(*allowed: str) -> Callable[[Given], str]:
    """Parser of one of a few words."""

    def parse(given: Given) -> str:
        if given.text not in allowed:
            raise UsageError(f"{given.written} is unknown; give one of {', '.join(allowed)}")
        return given.text

    return parse


def text(given: Given) -> str:
    """Any text without control characters."""
    if not given.text.isprintable():
        raise UsageError(f"{given.named} holds control characters; give plain text")
    return given.text


def path(given: Given) -> Path:
    """A path as given, `~` expanded; one that can be looked up."""
    value = text(given)
    try:
        return usable_path(value)
    except UsageError as error:
        raise UsageError(f"{given.named}: {error}") from error


def folder(given: Given) -> Path:
    """A folder that exists."""
    value = path(given)
    if not value.exists():
        raise UsageError(f"{given.written} does not exist; give the folder that holds the dataset")
    if not value.is_dir():
        raise UsageError(f"{given.written} is not a folder; give the folder that holds the dataset")
    return value


def teacher(given: Given) -> str:
    """A model folder on this machine, or a hub name like `Qwen/Qwen2.5-VL-7B-Instruct`."""
    if "://" in given.text:
        raise UsageError(f"{given.named} is a URL; a running server is given by TEACHER_URL (--teacher-url)")
    value = text(given)
    local = path(given)
    try:
        there = local.is_dir()
        whole = there and (local / "config.json").is_file()
    except OSError as error:
        raise UsageError(
            f"{given.written} cannot be looked into ({error.strerror}); mend its rights or give another"
        ) from error
    if there:
        if not whole:
            raise UsageError(f"{given.written} holds no config.json; give the folder of a model")
        return str(local)
    if not is_hub_name(value):
        raise UsageError(
            f"{given.written} is neither a folder here nor a hub name; "
            f"give e.g. {given.spell('Qwen/Qwen2.5-VL-7B-Instruct')}"
        )
    return value


def url(given: Given) -> str:
    """An http(s) URL without credentials, query or fragment; never echoed: it may hold a secret."""
    example, key = OTHER_SERVERS.get(given.name, (MODEL_SERVER, TEACHER_KEY))
    return checked_url(given.text, given.named, given.spell(example), key)


def urls(given: Given) -> str:
    """One or several different URLs, comma-separated."""
    found = [url(replace(given, text=part.strip())) for part in given.text.split(",")]
    if len(set(found)) < len(found):
        raise UsageError(f"{given.named} names one server twice; give each once")
    return ",".join(found)


def recipe(given: Given) -> str:
    """The name of an image recipe."""
    try:
        return parse_recipe(text(given)).name
    except UsageError as error:
        raise UsageError(f"{given.written}: {error}") from None


def names(*known: str) -> Callable[[Given], tuple[str, ...]]:
    """Parser of comma-separated names out of `known`, each once."""
    advice = f"give some of {', '.join(known)}, or leave it out"

    def parse(given: Given) -> tuple[str, ...]:
        parts = tuple(part.strip() for part in given.text.split(",") if part.strip())
        for part in parts:
            if part not in known:
                near = did_you_mean(part.lower(), known)
                hint = f" ({near})" if near else ""
                raise UsageError(f"{given.written}: {plain(part, 40)!r} is unknown{hint}; {advice}")
        if len(set(parts)) < len(parts) or not parts:
            raise UsageError(f"{given.written} is no list of different names; {advice}")
        return parts

    return parse


def words(given: Given) -> tuple[str, ...]:
    """A command line's words, quoted as for a shell."""
    try:
        found = tuple(shlex.split(given.text))
    except ValueError as error:
        raise UsageError(f"{given.named} is no command line ({error}); mend its quotes") from error
    # vLLM takes underscores and beginnings of a flag as well
    names = (word.partition("=")[0].replace("_", "-") for word in found if word.startswith("--"))
    if any(flag.startswith(name) for name in names for flag in _OURS if len(name) > len("--")):
        raise UsageError(
            f"{given.named} may not hold {', '.join(sorted(_OURS))}: they are set here;"
            " TEACHER and PORT name them"
        )
    return found


def thresholds(given: Given) -> tuple[tuple[str, float], ...]:
    """`score=value` pairs, comma-separated, values 0 to 1, in order of the names."""
    advice = f"give e.g. {given.spell('p_edits=0.9')}"
    found: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in given.text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        parsed = as_number(value)
        if not equals or not _NAME.fullmatch(name) or parsed is None:
            raise UsageError(f"{given.written}: {plain(part, 40)!r} is not score=number; {advice}")
        if not 0 <= parsed <= 1:
            raise UsageError(f"{given.written}: {name} is outside 0 to 1; {advice}")
        if name in found:
            raise UsageError(f"{given.written}: {name} is given twice; {advice}")
        found[name] = parsed
    return tuple(sorted(found.items()))
