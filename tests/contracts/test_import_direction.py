"""Data flows one way, and so do imports: nothing to the left imports from the right."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("schemas", "annotate", "flows", "retrieval", "sample")

# package or module -> top-level packages of ours that it may import
MAY_IMPORT = {
    "schemas": {"schemas"},
    "annotate": {"schemas", "annotate"},
    "annotate.cli": {"schemas", "annotate", "flows"},  # flows lazily
    "annotate.preparing": {"schemas", "annotate", "sample"},  # the default root, rendered lazily
    "retrieval": {"schemas", "annotate", "retrieval"},
    "retrieval.defaults": {"schemas", "annotate", "retrieval", "sample"},  # missing worlds, rendered lazily
    "flows": {"schemas", "annotate", "retrieval", "flows"},
    "sample": {"schemas", "annotate", "sample"},
}

# inside annotate/: the path of the data, left to right; a module imports from its own place or further left
PATH = (
    "annotate.datasets",
    "annotate.images",
    "annotate.stages",
    "annotate.checks",
    "annotate.selection",
    "annotate.tables",
    "annotate.shards",
)


def modules() -> list[tuple[str, Path]]:
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found.append((name.removesuffix(".__init__"), path))
    return found


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name for name in names if name.split(".")[0] in PACKAGES}


def place(name: str) -> int | None:
    for index, stage in enumerate(PATH):
        if name == stage or name.startswith(stage + "."):
            return index
    return None


@pytest.mark.parametrize(("name", "path"), modules(), ids=[name for name, _ in modules()])
def test_a_module_imports_only_from_the_left(name: str, path: Path) -> None:
    allowed = MAY_IMPORT.get(name) or MAY_IMPORT[name.split(".")[0]]
    for target in sorted(imported(path)):
        assert target.split(".")[0] in allowed, f"{name} imports {target}"
        here, there = place(name), place(target)
        if here is not None and there is not None:
            assert there <= here, f"{name} imports {target}, which lies to its right"


def test_no_module_imports_the_command_line() -> None:
    importers = {name for name, path in modules() if {"annotate.cli", "flows.annotation"} & imported(path)}
    assert importers <= {"annotate.__main__", "annotate.cli", "flows.annotation"}


def test_no_flow_is_named_like_a_package_of_ours() -> None:
    """Prefect puts a flow file's folder first on sys.path, where flows/annotate.py would hide annotate."""
    assert not {path.stem for path in (ROOT / "flows").glob("*.py")} & set(PACKAGES)
