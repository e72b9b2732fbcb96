"""What lies published in an OUT: its manifest, and its files as far as they are the manifest's."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import ValidationError

from annotate.checks import CHECKS, measured
from annotate.errors import OutputError
from annotate.files import read_regular
from annotate.selection import defaults_for
from annotate.tables import parts
from schemas.manifest import Manifest


def read_manifest(out: Path) -> Manifest:
    """The manifest of a published OUT. Raises `OutputError` when there is none or it is broken."""
    path = out / "manifest.json"
    try:
        return Manifest.model_validate_json(read_regular(path, 64 << 20))
    except FileNotFoundError as error:
        raise OutputError(
            f"{out}: holds no manifest.json, nothing is published there; run make annotate first"
        ) from error
    except OSError as error:
        raise OutputError(f"{path} cannot be read ({error.strerror}); run make annotate again") from error
    except ValidationError as error:
        wrong = f"{error.error_count()} fields are wrong"
        raise OutputError(f"{path} cannot be read ({wrong}); run make annotate again") from error


def read_finished(out: Path) -> Manifest:
    """The manifest of an OUT whose triplets all have their row. Raises `OutputError` for any other."""
    manifest = read_manifest(out)
    counts = manifest.counts
    if manifest.status != "complete":
        missing = counts.input - counts.accepted - counts.rejected - counts.quarantined
        raise OutputError(
            f"{out} is not finished: {missing:,} of {counts.input:,} triplets have no row yet, and "
            "a sample of the others is none of all; run annotate again first"
        )
    return manifest


def run_thresholds(manifest: Manifest) -> dict[str, float]:
    """The thresholds that annotate judged by. An OUT of an earlier version noted them only where they decided
    what was asked; else they are today's default ones of the checks that ran, be it that no row got as far as
    some of them."""
    if manifest.run_thresholds is not None:
        return manifest.run_thresholds
    if manifest.writing is not None and manifest.writing.deciding:
        return manifest.writing.deciding
    return defaults_for(measured(check for check in CHECKS if check.name in manifest.checks))


def published_parts(out: Path, manifest: Manifest, *folders: str) -> list[Path]:
    """The Parquet files of these folders, in order. Raises `OutputError` naming one that is not the
    manifest's: of another digest, missing, or unknown to it."""
    found = [path for folder in folders for path in parts(out, folder) if path.is_file()]
    named = {name for name in manifest.files if name.split("/")[0] in folders}
    cure = "put the run's own file back, or run annotate again (answers are kept)"
    for name in sorted(named - {str(path.relative_to(out)) for path in found}):
        raise OutputError(f"{out / name} is missing or no file, and manifest.json names it; {cure}")
    for path in found:
        facts = manifest.files.get(str(path.relative_to(out)))
        if facts is None:
            raise OutputError(f"{path} is no file of this run: manifest.json does not name it; remove it")
        try:
            digest = file_digest(path)
        except OSError as error:
            raise OutputError(f"{path} cannot be read ({error.strerror or error}); {cure}") from error
        if digest != facts.sha256:
            raise OutputError(f"{path} was changed: its sha256 is not the one in manifest.json; {cure}")
    return found


def file_digest(path: Path) -> str:
    """sha256 of a file, as the manifest has it. Raises `OSError`."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
