"""Aspect lists: ROOT's own first, a packaged one else, "other" always last."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annotate.datasets import load_aspects
from annotate.errors import InputError


@pytest.mark.parametrize("dataset", ["fashioniq", "cirr", "circo"])
def test_every_dataset_has_a_packaged_list_that_ends_in_other(dataset: str, tmp_path: Path) -> None:
    aspects = load_aspects(dataset, tmp_path)
    assert len(set(aspects)) == len(aspects) >= 10
    assert aspects[-1] == "other"


def test_the_list_of_root_wins_and_other_moves_last(tmp_path: Path) -> None:
    (tmp_path / "aspects.json").write_text(json.dumps(["ball", "other", "box"]))
    assert load_aspects("cirr", tmp_path) == ("ball", "box", "other")


@pytest.mark.parametrize(
    "value",
    [[], {"a": 1}, ["a", "a"], [""], ["x" * 41], [1], ["a\nb"], ["<b>"], [f"a{n}" for n in range(65)]],
)
def test_a_list_that_cannot_close_a_schema_is_an_input_error(value: object, tmp_path: Path) -> None:
    (tmp_path / "aspects.json").write_text(json.dumps(value))
    with pytest.raises(InputError, match=r"aspects\.json"):
        load_aspects("cirr", tmp_path)
