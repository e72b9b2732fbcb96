"""Reads settings from a TOML file: top-level keys named like the flags, unknown ones refused."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path

from annotate.errors import UsageError
from annotate.settings.declared import BY_NAME, CONFIG_FILE, PREFIX
from annotate.settings.values import Given
from annotate.text import plain

_SECRETS = ("key", "token", "secret", "password")


def read(config: str | None, environment: Mapping[str, str], working_folder: Path) -> dict[str, Given]:
    """What the file gives, by setting name. Only a file named by nobody may be absent.

    Raises `UsageError` naming file and key, never showing the value of a key that looks like a secret.
    """
    named = (config or environment.get(PREFIX + "CONFIG") or "").strip()
    path = working_folder / (named or CONFIG_FILE)
    if not named and not path.exists():
        return {}
    shown = plain(named or CONFIG_FILE)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{shown} cannot be read ({error.strerror}); give another --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{shown} is not TOML ({error}); mend it or give another --config") from None
    return {name: _given(name, value, shown) for name, value in table.items() if value != ""}


def _given(name: str, value: object, file: str) -> Given:
    if name not in BY_NAME:
        if any(word in name.lower() for word in _SECRETS) and not name.endswith("_tokens"):
            raise UsageError(
                f"{file}: keys are no settings; put yours into the environment as TEACHER_API_KEY"
            )
        near = difflib.get_close_matches(name, BY_NAME, n=1)
        advice = f"did you mean {near[0]}?" if near else "see `annotate run --help`"
        raise UsageError(f"{file}: {plain(name, 60)} is no setting; {advice}")
    if isinstance(value, bool) and not BY_NAME[name].is_switch:
        raise UsageError(f"{file}: {name} is true or false, but is no switch; give a value")
    return Given(name, _text(name, value, file), "file", file)


def _text(name: str, value: object, file: str) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list) and name == "checks":
        return ",".join(str(item) for item in value)
    if isinstance(value, dict) and name == "thresholds":
        return ",".join(f"{score}={least}" for score, least in value.items())
    raise UsageError(f"{file}: {name} is a {type(value).__name__}; give a text or a number")
