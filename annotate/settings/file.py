"""Reads settings from a TOML file: top-level keys named like the flags, unknown ones refused."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from annotate.errors import UsageError
from annotate.files import read_regular
from annotate.settings.declared import BY_NAME, CONFIG_FILE, PREFIX
from annotate.settings.values import Given
from annotate.text import did_you_mean, plain, refuse_depth, shorten

MOST_BYTES = 1 << 20
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
        table = tomllib.loads(read_regular(path, MOST_BYTES).decode("utf-8-sig"))
        refuse_depth(table)
    except OSError as error:
        raise UsageError(
            f"{shorten(shown, 200)} cannot be read ({error.strerror}); give another --config"
        ) from None
    except RecursionError:
        raise UsageError(f"{shown} is nested too deeply; give another --config") from None
    except ValueError as error:  # no TOML, no UTF-8, a number of thousands of digits
        why = plain(str(error), 200)
        raise UsageError(f"{shown} is not TOML ({why}); mend it or give another --config") from None
    return {name: _given(name, value, shown) for name, value in table.items() if value != ""}


def _given(name: str, value: object, file: str) -> Given:
    if name not in BY_NAME:
        if any(word in name.lower() for word in _SECRETS) and not name.endswith("_tokens"):
            raise UsageError(
                f"{file}: keys are no settings; put yours into the environment as TEACHER_API_KEY"
            )
        advice = did_you_mean(name, BY_NAME) or "see `annotate run --help`"
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
        return _bounded(value)
    if isinstance(value, list) and name == "checks":
        if not all(isinstance(item, str) for item in value):
            raise UsageError(f"{file}: {name} holds something that is no text; give a list of names")
        return ",".join(value)
    if isinstance(value, dict) and name == "thresholds":
        if not all(isinstance(least, str | int | float) for least in value.values()):
            raise UsageError(f"{file}: {name} holds something that is no number; give score = number")
        return ",".join(f"{score}={_bounded(least)}" for score, least in value.items())
    raise UsageError(f"{file}: {name} is a {type(value).__name__}; give a text or a number")


def _bounded(value: object) -> str:
    """A value as text; hexadecimal TOML may give a number that Python refuses to write in decimals."""
    return "a number too large" if isinstance(value, int) and abs(value) >= 10**18 else str(value)
