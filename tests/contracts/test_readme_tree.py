"""The README's tree is the truth: what it names exists, and no module or folder is left out."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOUSE = (
    "schemas",
    "prompts",
    "annotate",
    "flows",
    "retrieval",
    "sample",
    "bench",
    "tests",
    "docs",
    "outputs",
)


def named() -> set[str]:
    """Paths of the tree, relative to the checkout; folders end in a slash."""
    block = next(
        part for part in (ROOT / "README.md").read_text().split("```") if part.strip().startswith("schemas/")
    )
    found, folder = set(), ""
    for line in block.strip("\n").splitlines():
        name = line.split()[0]
        if line.startswith(" "):
            found.add(folder + name)
        else:
            folder = name
            found.add(name)
    return found


def test_everything_the_tree_names_exists() -> None:
    assert not [name for name in named() if not (ROOT / name).exists()]


def test_no_module_of_the_pipeline_is_left_out() -> None:
    entries = {path.name + "/" if path.is_dir() else path.name for path in (ROOT / "annotate").iterdir()}
    entries -= {"__init__.py", "__main__.py", "__pycache__/"}
    assert {f"annotate/{entry}" for entry in entries} <= named()
    assert {f"{folder}/" for folder in HOUSE} <= named()
