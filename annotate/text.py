"""The one place that makes foreign text (datasets, teachers, servers, users) safe to parse, show or export.

HTML escaping itself is the templates' business (autoescape is on for every template); control characters are
replaced first, because an escaped page may still be copied into a terminal.
"""

from __future__ import annotations

import difflib
import io
import json
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, TextIO

MAX_DEPTH = 64
"""Levels of a parsed text: ours have about ten; what walks a value by recursion ends below 1,000."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_CONTROL = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_ZERO_WIDTH_JOINERS = frozenset("\u200c\u200d")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The known word that a misspelt one is nearest to, as a question; empty when none is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]}?" if near else ""


def parse_json(
    text: str | bytes,
    pairs: Callable[[list[tuple[str, Any]]], Any] | None = None,
    constant: Callable[[str], Any] | None = None,
) -> Any:
    """`json.loads` for text that is not ours: whatever is wrong with it is a `ValueError`, nesting deeper
    than `MAX_DEPTH` too. `pairs` and `constant` are its hooks for objects and for NaN and Infinity."""
    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    refuse_depth(value)
    return value


def refuse_depth(value: Any) -> None:
    """Raise `ValueError` for a parsed value of more than `MAX_DEPTH` levels; level by level, no recursion."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        parts = (part for one in level for part in (one.values() if isinstance(one, dict) else one))
        level = [part for part in parts if isinstance(part, dict | list)]
        if not level:
            return
    if level:
        raise ValueError("nested too deeply")


def take_any_text(*streams: TextIO) -> None:
    """Make streams show what their encoding lacks as escapes: the name of a file may hold any byte, and a
    terminal may know no more than ASCII."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def plain(text: str, limit: int | None = None) -> str:
    """`text` on one line without anything that a terminal or a reader's eye could be misled by.

    Blanks and line ends become one blank; control, escape, bidirectional and private characters become "�";
    joiners stay (several scripts need them). At most `limit` characters, the last one "…" when shortened.
    """
    if limit is not None:
        text = text[
            : 8 * limit + 64
        ]  # a megabyte in one field costs nothing; enough is left after joining blanks
    shown = "".join(" " if c in "\t\n\r\x0b\x0c\x85\u2028\u2029" else _visible(c) for c in text)
    return shorten(" ".join(shown.split()), limit)


def shorten(text: str, limit: int | None) -> str:
    """At most `limit` characters; a cut is marked by "…"."""
    if limit is None or len(text) <= limit:
        return text
    return text[: max(limit - 1, 0)].rstrip() + "…"


def csv_cell(text: str) -> str:
    """`text` as a spreadsheet cell that is never a formula: an apostrophe before =, +, -, @, tab or line end.

    Source of the rule: OWASP, "CSV injection". Leading blanks do not hide a formula. Control characters are
    replaced and line ends become blanks. Quoting is the CSV writer's business.
    """
    dangerous = text.startswith(_FORMULA_STARTS) or text.lstrip().startswith(_FORMULA_STARTS)
    safe = plain(text)
    return "'" + safe if dangerous else safe


def _visible(character: str) -> str:
    if character in _ZERO_WIDTH_JOINERS or unicodedata.category(character) not in _CONTROL:
        return character
    return "�"


def markdown_cell(text: str) -> str:
    """`text` inside a markdown table, shown as it is: on one line, without markup, links or cell ends."""
    escaped = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join("\\" + c if c in "\\`*_{}[]()#+-!|~" else c for c in escaped)
