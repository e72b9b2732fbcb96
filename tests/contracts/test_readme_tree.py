"""What the READMEs list is the truth: modules and folders, what ROOT must hold, where commands write."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from annotate.datasets import layouts, roots
from annotate.settings import resolve
from retrieval.__main__ import parser
from sample.writers import WRITERS, Sizes
from schemas.triplet import DATASETS, Dataset

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


def test_the_settings_file_of_the_readme_is_one(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```toml\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "annotate.toml").write_text(block.replace("/data/CIRR", str(tmp_path)))
    found = resolve({}, {}, tmp_path)
    read = {entry.setting.name for entry in found.resolved if entry.source == "file"}
    assert read == {line.split(" = ")[0] for line in block.strip().splitlines()}
    assert found.run.root == tmp_path and found.run.thresholds


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_table_of_root_names_every_annotation_file_and_image_layout(
    dataset: Dataset, tmp_path: Path
) -> None:
    (row,) = (
        line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(f"| `{dataset}` |")
    )
    _, _, files, images, _ = row.split("|")
    for sign in roots._SIGNS[dataset]:
        general = re.sub(
            r"\b(dress|shirt|toptee)\b", "<category>", re.sub(r"\*|\b(val|test)\b", "<split>", sign)
        )
        assert f"`{general}`" in files
    WRITERS[dataset](tmp_path, 3, Sizes(train=3, val=3, test=0), False)
    names = [layout.name for layout in layouts._layouts(dataset, "val", tmp_path, None)]
    assert [name.rstrip("/") for name in re.findall("`(.*?)`", images)] == [
        name.rstrip("/") for name in names
    ]


def test_every_folder_that_a_command_writes_by_default_is_in_the_readme_of_outputs() -> None:
    listed = (ROOT / "outputs" / "README.md").read_text()
    commands = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    told = [str(action.help) for command in commands.values() for action in command._actions]
    folders = set(re.findall(r"\[outputs/([\w-]+)", " ".join(told)))
    assert {"train", "train-eval", "evaluate", "explain"} <= folders
    assert not [name for name in folders if f"`{name}/`" not in listed]
