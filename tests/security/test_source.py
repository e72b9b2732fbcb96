"""What our own source never does, read from its syntax trees."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("schemas", "annotate", "flows", "retrieval", "sample", "bench")
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}
UNSAFE_CALLS = {"eval", "exec", "compile", "os.system", "os.popen", "yaml.load", "torch.load"}
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def dotted(node: ast.expr) -> str:
    """`a.b` of a name or attribute; "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_unpickled_evaluated_or_given_to_a_shell(path: Path) -> None:
    for node in nodes(path):
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & UNSAFE_MODULES
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.module.split(".")[0] not in UNSAFE_MODULES
        if isinstance(node, ast.Call):
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            name = dotted(node.func)
            weights_only = given.get("weights_only")
            tensors = isinstance(weights_only, ast.Constant) and weights_only.value is True
            assert name not in UNSAFE_CALLS or (name == "torch.load" and tensors), f"{path}: {name}"
            for flag in ("shell", "trust_remote_code", "allow_pickle"):
                value = given.get(flag)
                assert value is None or (isinstance(value, ast.Constant) and value.value is False), (
                    f"{path}: {flag}"
                )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_of_ours_listens_for_others(path: Path) -> None:
    assert "0.0.0.0" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_json_is_parsed_in_one_guarded_place(path: Path) -> None:
    """Nesting ends in a RecursionError where `json.loads` is called; `text.parse_json` refuses it."""
    if path != ROOT / "annotate" / "text.py":
        called = {dotted(node.func) for node in nodes(path) if isinstance(node, ast.Call)}
        assert not called & {"json.loads", "json.load"}


def test_every_template_escapes() -> None:
    for path in MODULES:
        for node in nodes(path):
            if isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] == "Environment":
                given = {keyword.arg: keyword.value for keyword in node.keywords}
                value = given.get("autoescape")
                assert isinstance(value, ast.Constant) and value.value is True, path


def test_no_template_switches_escaping_off() -> None:
    for path in (ROOT / "annotate").rglob("*.j2"):
        assert not re.search(r"\|\s*safe\b|autoescape\s+false", path.read_text(encoding="utf-8")), path
