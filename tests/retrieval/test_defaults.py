"""What train-eval takes when it is not told."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrieval.defaults import TINY
from retrieval.model import ModelSettings
from retrieval.schedule import TrainSettings
from sample.processor import cpu_knows_bf16


@pytest.mark.parametrize(
    ("flags", "known"),
    [
        ("fpu avx2 avx512f", False),
        ("fpu avx512_bf16 avx512f", True),
        ("amx_bf16", True),
        ("asimd bf16 i8mm", True),
    ],
)
def test_bfloat16_is_used_where_the_processor_says_that_it_has_it(
    flags: str, known: bool, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: {flags}\n")
    assert cpu_knows_bf16(tmp_path / "cpuinfo") is known


def test_a_system_that_does_not_say_has_none(tmp_path: Path) -> None:
    assert not cpu_knows_bf16(tmp_path / "nothing")


def test_every_setting_of_the_tiny_recipe_is_one_of_training_or_model() -> None:
    known = {*TrainSettings.__dataclass_fields__, *ModelSettings.__dataclass_fields__}
    assert set(TINY) <= known
