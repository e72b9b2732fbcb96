"""Dependency audit: what is installed is what is locked, and nothing locked has a known vulnerability.

    python -m bench.audit [--database URL] [--offline]

Compares the installed packages with `constraints.txt`, then asks the OSV database (one request: names and
versions of all locks, nothing else) for known vulnerabilities. Without a network it says that it could not.
Exit status 1 for a difference or a vulnerability that is not in `ACCEPTED`, else 0.
"""

from __future__ import annotations

import argparse
import http.client
import importlib.metadata
import json
import re
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from annotate.text import parse_json

ROOT = Path(__file__).resolve().parents[1]
DATABASE = "https://api.osv.dev/v1/querybatch"
SECONDS = 10.0
TEACHER_LOCKS = ("constraints-teacher.txt", "requirements-teacher.txt", "requirements-teacher-gpu.txt")
LARGEST_ANSWER = 16 << 20
ACCEPTED: Mapping[str, str] = {}
"""Id of a known vulnerability -> why it does not matter here."""

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)")


def pins(path: Path) -> dict[str, str]:
    """Name -> version of a lock. Raises `ValueError` for a line that pins nothing."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#") or line.lstrip().startswith("--hash"):
            continue
        match = _PIN.match(line)
        if match is None:
            raise ValueError(f"{path.name}: {line!r} does not pin one version")
        found[match[1]] = match[2]
    return found


def differences(locked: Mapping[str, str]) -> list[str]:
    """Installed packages in another version than the locked one; what is not installed is no risk."""
    found = []
    for name, version in locked.items():
        try:
            installed = importlib.metadata.version(name).split("+")[0]
        except importlib.metadata.PackageNotFoundError:
            continue
        if installed != version:
            found.append(f"{name} {installed} is installed, {version} is locked")
    return found


def known_vulnerabilities(
    locked: Sequence[tuple[str, str]], database: str, seconds: float = SECONDS
) -> dict[str, list[str]]:
    """Ids of what the database knows, by "name version". Raises `OSError`, `HTTPException` or `ValueError`
    when it cannot say."""
    queries = [
        {"package": {"name": name, "ecosystem": "PyPI"}, "version": version} for name, version in locked
    ]
    body = json.dumps({"queries": queries}).encode()
    request = urllib.request.Request(database, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        form = parse_json(answer.read(LARGEST_ANSWER))
    results = form.get("results") if isinstance(form, dict) else None
    if not isinstance(results, list) or len(results) != len(queries):
        raise ValueError("the answer is no list of results")
    return {
        f"{name} {version}": ids
        for (name, version), result in zip(locked, results, strict=True)
        if (ids := _ids(result))
    }


def _ids(result: object) -> list[str]:
    """Ids of one result. Raises `ValueError` where it has not its form: that is no clean bill."""
    known = (result.get("vulns") or []) if isinstance(result, dict) else None
    if not isinstance(known, list) or not all(isinstance(one, dict) for one in known):
        raise ValueError("the answer is no list of results")
    return [str(one.get("id")) for one in known]


def audit(database: str | None) -> int:
    """Print what was found; the exit status."""
    project = pins(ROOT / "constraints.txt")
    teacher: dict[str, str] = {}
    for name in TEACHER_LOCKS:
        teacher |= pins(ROOT / name)
    wrong = differences(project)
    locked = sorted({*project.items(), *teacher.items()})
    for line in wrong:
        print(f"audit: {line}; run `make setup`")
    if not wrong:
        print(f"audit: what is installed is what is locked ({len(project)} packages)")
    if database is None:
        print("audit: NOT checked for known vulnerabilities (--offline)")
        return 1 if wrong else 0
    try:
        found = known_vulnerabilities(locked, database)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        print(f"audit: NOT checked for known vulnerabilities: the database did not answer ({reason})")
        return 1 if wrong else 0
    open_ones = {package: [i for i in ids if i not in ACCEPTED] for package, ids in found.items()}
    for package, ids in open_ones.items():
        if ids:
            print(f"audit: {package} has known vulnerabilities: {', '.join(ids)}")
    vulnerable = sum(bool(ids) for ids in open_ones.values())
    print(f"audit: {len(locked)} locked versions checked, {vulnerable} with known vulnerabilities")
    return 1 if wrong or vulnerable else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.audit", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--database", default=DATABASE, help=f"[{DATABASE}]")
    parser.add_argument("--offline", action="store_true", help="ask nobody")
    given = parser.parse_args(argv)
    return audit(None if given.offline else given.database)


if __name__ == "__main__":
    sys.exit(main())
