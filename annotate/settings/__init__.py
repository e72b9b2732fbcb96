"""The settings of `annotate run`: flags > environment > file > default, each with its source and reason.

Declared once, in `annotate.settings.declared`. A variable of make (`LIMIT=200`) arrives as the environment
variable `CIR_LIMIT`; an empty one means "not given". The file is `annotate.toml` in the working directory, or
the one that `--config` names. API keys are no settings: see `api_key`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from annotate.errors import UsageError
from annotate.settings import defaults, file
from annotate.settings.declared import CONFIG_FILE, PREFIX, SETTINGS, TITLES, Resolved, Setting
from annotate.settings.values import Given, Value
from annotate.text import plain
from schemas.triplet import CaptionMode, Dataset

API_KEY_VARIABLE = "TEACHER_API_KEY"
"""Only this one: a key exported for another service must not go to whatever TEACHER_URL names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What a run is given: every value resolved and checked. Unset is None or empty."""

    dataset: Dataset
    split: str
    category: str | None
    root: Path
    source: Literal["sample", "user"]
    limit: int | None
    seed: int
    teacher: str | None
    teacher_model: str | None
    teacher_sees_target: bool
    image_recipe: str
    caption_mode: CaptionMode
    temperature: float
    top_p: float
    sampling_seed: int
    caption_tokens: int
    reasoning_tokens: int
    conclusion_tokens: int
    thresholds: tuple[tuple[str, float], ...]
    checks: tuple[str, ...]
    chances: int
    guided: bool
    early_stop: bool
    out: Path
    teacher_url: str | None
    encoder_url: str | None
    teacher_python: Path
    teacher_flags: tuple[str, ...]
    port: int | None
    timeout: float
    concurrency: int
    shard_size: int
    runner: Literal["local", "prefect"]
    prefect_api: str | None
    allow_missing: bool

    @property
    def urls(self) -> tuple[str, ...]:
        """The servers of TEACHER_URL; none when we start the teacher."""
        return tuple(self.teacher_url.split(",")) if self.teacher_url else ()


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings of a run, and where each came from, in the order of `SETTINGS`."""

    run: RunSettings
    resolved: tuple[Resolved, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--config` and a flag per setting, grouped by what a change of it does; `resolve` parses them."""
    for changes, title in TITLES.items():
        group = parser.add_argument_group(title)
        for setting in SETTINGS:
            if setting.changes != changes:
                continue
            default = "" if setting.default in (None, ()) else f" [{shown_value(setting.default)}]"
            text = (setting.help + default).replace("%", "%%")
            if setting.is_switch:
                group.add_argument(setting.flag, nargs="?", const="1", metavar="0|1", help=text)
            else:
                group.add_argument(setting.flag, metavar=setting.variable, help=text)
    parser.add_argument("--config", metavar="FILE", help=f"settings as TOML [{CONFIG_FILE}, if there]")


def from_arguments(
    arguments: argparse.Namespace, environment: Mapping[str, str], working_folder: Path
) -> Configuration:
    """`resolve` for a parsed command line of a parser that `add_arguments` prepared."""
    flags = {setting.name: getattr(arguments, setting.name) for setting in SETTINGS}
    return resolve(flags, environment, working_folder, arguments.config)


def resolve(
    flags: Mapping[str, str | None],
    environment: Mapping[str, str],
    working_folder: Path,
    config: str | None = None,
) -> Configuration:
    """Every setting from the strongest source that gives it. Raises `UsageError` in one line.

    `flags` are texts by setting name; `config` names a TOML file (else `annotate.toml` in `working_folder`).
    """
    in_file = file.read(config, environment, working_folder)
    given: dict[str, Resolved] = {}
    for setting in SETTINGS:
        written = _strongest(setting, flags, environment, in_file)
        if written is not None:
            given[setting.name] = Resolved(setting, setting.parse(written), written.source, written.where)
    complete = defaults.complete(given)
    resolved = tuple(complete[setting.name] for setting in SETTINGS)
    fields = {entry.setting.name: entry.value for entry in resolved}
    source = "sample" if complete["root"].source == "default" else "user"
    # every field was parsed and checked by its declaration; mypy cannot see that
    return Configuration(RunSettings(source=source, **cast(dict[str, object], fields)), resolved)  # type: ignore[arg-type]


def api_key(environment: Mapping[str, str]) -> str | None:
    """The teacher's API key, from the environment only; never stored, logged or printed.

    Raises `UsageError` for one that no HTTP header can carry; the HTTP client's own error would show it.
    """
    key = environment.get(API_KEY_VARIABLE, "").strip()
    if not all("!" <= letter <= "~" for letter in key):
        raise UsageError(f"{API_KEY_VARIABLE} holds blanks or characters that no key has; set it anew")
    return key or None


def _strongest(
    setting: Setting,
    flags: Mapping[str, str | None],
    environment: Mapping[str, str],
    in_file: Mapping[str, Given],
) -> Given | None:
    flag = (flags.get(setting.name) or "").strip()
    if flag:
        return Given(setting.name, flag, "flag", setting.flag)
    for variable in (PREFIX + setting.variable, *setting.also):
        text = environment.get(variable, "").strip()
        if text:
            return Given(setting.name, text, "environment", variable.removeprefix(PREFIX))
    return in_file.get(setting.name)


def published_settings(configuration: Configuration) -> dict[str, str]:
    """Settings that answers and verdicts depend on, for a report: no path, URL or name of this machine."""
    local = ("root", "teacher", "teacher_flags")
    return {
        entry.setting.variable: shown_value(entry.value)
        for entry in configuration.resolved
        if entry.setting.changes != "run" and entry.setting.name not in local
    }


def show_config(configuration: Configuration, environment: Mapping[str, str]) -> str:
    """A table: setting, value, source, reason; of the API key only whether it is set."""
    rows = [("setting", "value", "source", "reason")]
    rows += [
        (entry.setting.variable, shown_value(entry.value), entry.source, entry.reason)
        for entry in configuration.resolved
    ]
    known = "set" if api_key(environment) else "not set"
    rows.append(("(API key)", known, "environment", API_KEY_VARIABLE))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def shown_value(value: Value) -> str:
    """A value as a person would write it; "-" when unset."""
    if value is None or value == ():
        return "-"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, tuple):
        return ",".join(part if isinstance(part, str) else f"{part[0]}={part[1]:g}" for part in value)
    return plain(f"{value:g}" if isinstance(value, float) else str(value))
