"""Defaults that follow from other settings, and the rules between settings. Each derived value says why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from annotate.datasets import categories, default_split, splits
from annotate.errors import UsageError
from annotate.settings.declared import BY_NAME, CHECKOUT, SAMPLE_TEACHER, SETTINGS, Resolved
from annotate.settings.values import Source, Value
from annotate.text import did_you_mean, plain

_STRENGTH: tuple[Source, ...] = ("default", "file", "environment", "flag")


def complete(given: Mapping[str, Resolved]) -> dict[str, Resolved]:
    """`given` plus a default for every other setting. Raises `UsageError` on a contradiction."""
    found = dict(given)
    for setting in SETTINGS:
        if setting.name not in found:
            reason = "default" if setting.default not in (None, ()) else "not given"
            found[setting.name] = Resolved(setting, setting.default, "default", reason)
    _dataset(found)
    _folders(found)
    _teacher(found, given)
    if found["guided"].value and not found["chances"].value:
        raise UsageError(
            "GUIDED=1 guides second chances and CHANCES gives none; give CHANCES=1, or leave GUIDED out"
        )
    return found


def _dataset(found: dict[str, Resolved]) -> None:
    dataset, split, category = (found[name].value for name in ("dataset", "split", "category"))
    known = splits(str(dataset))
    if split is None:
        _derive(found, "split", default_split(str(dataset)), f"DATASET={dataset}")
    elif split not in known:
        near = did_you_mean(str(split), known)
        hint = f" ({near})" if near else ""
        raise UsageError(
            f"SPLIT={plain(str(split), 60)} is unknown for DATASET={dataset}{hint}; "
            f"give one of {', '.join(known)}"
        )
    if category is None:
        return
    known = categories(str(dataset))
    if not known:
        raise UsageError(f"CATEGORY has no meaning for DATASET={dataset}; leave it out")
    if category not in known:
        raise UsageError(
            f"CATEGORY={plain(str(category), 60)} is unknown; give one of {', '.join(known)}, or leave it out"
        )


def _folders(found: dict[str, Resolved]) -> None:
    dataset, split, seed = (found[name].value for name in ("dataset", "split", "seed"))
    has_root = found["root"].value is not None
    if not has_root:
        sample = Path("outputs") / "sample" / f"{dataset}-seed{seed}"
        _derive(found, "root", sample, f"no ROOT: the rendered sample, SEED={seed}")
    if found["out"].value is None:
        whose = "user-" if has_root else ""
        because = f"DATASET={dataset} SPLIT={split}" + (" and ROOT is given" if has_root else "")
        _derive(found, "out", Path("outputs") / f"{whose}{dataset}-{split}", because)
    if found["teacher_python"].value is None:
        _derive(found, "teacher_python", CHECKOUT / ".venv-teacher" / "bin" / "python", "made by make setup")


def _teacher(found: dict[str, Resolved], given: Mapping[str, Resolved]) -> None:
    """TEACHER and TEACHER_URL exclude each other: the stronger source wins, equal ones are a mistake."""
    model, url = given.get("teacher"), given.get("teacher_url")
    if model and url:
        if model.source == url.source:
            raise UsageError(
                "both TEACHER (we start it) and TEACHER_URL (it runs already) are given; leave one out"
            )
        weaker, winner = sorted((model, url), key=lambda entry: _STRENGTH.index(entry.source))
        name = weaker.setting.name
        _derive(found, name, None, f"{winner.reason} overrides the {name.upper()} of {weaker.reason}")
    elif url:
        _derive(found, "teacher", None, "TEACHER_URL is given")
    elif not model:
        _derive(
            found, "teacher", str(SAMPLE_TEACHER), "no TEACHER, no TEACHER_URL: the sample's tiny teacher"
        )
    started = found["teacher"].value
    if found["teacher_model"].value is None:
        why = "the only model that the server has" if started is None else "TEACHER's own name"
        _derive(found, "teacher_model", None, why)
    if started is None and found["port"].source != "default":
        raise UsageError(
            "PORT is for the server that we start, but TEACHER_URL names one that runs; leave one out"
        )
    if started is None and not model and found["teacher_flags"].source != "default":
        raise UsageError(
            "TEACHER_FLAGS are for the server that we start, but TEACHER_URL names one that runs; "
            "leave one out"
        )
    if started is not None and not url and "teacher_model" in given:
        raise UsageError(
            "TEACHER_MODEL is for a server that runs already (TEACHER_URL), and the one that we start "
            "serves TEACHER; leave it out"
        )


def _derive(found: dict[str, Resolved], name: str, value: Value, because: str) -> None:
    found[name] = Resolved(BY_NAME[name], value, "default", f"because {because}")
