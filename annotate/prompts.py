"""Loads the versioned prompt files: text, digest, and rendering of their `{{name}}` places."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from annotate.errors import UsageError

PROMPT_FOLDER = Path(__file__).resolve().parent.parent / "prompts"
_PLACE = re.compile(r"\{\{(\w+)\}\}")
_LETTERS = "first first_meaning second second_meaning"
PLACES = {
    "system": "",
    "caption": "",
    "reasoning": "aspects modification",
    "target": "",
    "conclusion": "",
    "repair": "error",
    "covers": f"{_LETTERS} edits modification",
    "follows": f"{_LETTERS} claim modification",
    "verify": f"{_LETTERS} statement",
    "verify_edit": f"{_LETTERS} edit",
    "verify_change": f"{_LETTERS} edit",
}
"""The prompt files, and the places that each is given values for."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt file: its name, its text without surrounding blanks, and the sha256 of that text."""

    name: str
    text: str
    digest: str

    def render(self, **values: str) -> str:
        """Fill the places. Values are data: angle brackets are neutralised so that they cannot close a
        delimiter.

        Raises `UsageError` when a place has no value or a value has no place.
        """
        places = set(_PLACE.findall(self.text))
        if places != set(values):
            raise UsageError(
                f"prompts/{self.name}.md: places {sorted(places)} but values {sorted(values)}; mend the file"
            )
        return _PLACE.sub(lambda match: _as_data(values[match[1]]), self.text)


@cache
def load_prompts(folder: Path = PROMPT_FOLDER) -> dict[str, Prompt]:
    """The prompt files of a folder by name. Raises `UsageError`, before a run asks anything, for one that is
    missing, cannot be read or has other places than it is given values for."""
    prompts = {}
    for name, places in sorted(PLACES.items()):
        path = folder / f"{name}.md"
        try:
            text = path.read_text(encoding="utf-8-sig").strip()
        except OSError as error:
            raise UsageError(f"{path} cannot be read ({error.strerror}); use a complete checkout") from error
        except UnicodeDecodeError as error:
            raise UsageError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from error
        found = set(_PLACE.findall(text))
        if found != set(places.split()):
            wanted = " ".join("{{" + place + "}}" for place in places.split()) or "none"
            raise UsageError(f"{path} has the places {sorted(found)}, but it must have {wanted}; mend it")
        prompts[name] = Prompt(name, text, hashlib.sha256(text.encode()).hexdigest())
    return prompts


def prompt_version(prompts: dict[str, Prompt]) -> str:
    """One digest over all prompts, as published in `prompt_version`."""
    return hashlib.sha256("\n".join(f"{p.name} {p.digest}" for p in prompts.values()).encode()).hexdigest()


def _as_data(value: str) -> str:
    """Dataset or model text as inert text: control characters to blanks, `<` and `>` to look-alikes."""
    cleaned = "".join(" " if ord(c) < 32 or ord(c) == 127 else c for c in value)
    return cleaned.replace("<", "‹").replace(">", "›").strip()
