"""What train-eval takes when it is not told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annotate.errors import InputError, UsageError
from retrieval import defaults
from retrieval.conversation import chain_part
from retrieval.defaults import BASE, TINY, base_of, default_roots, find_gold
from retrieval.model import ModelSettings
from retrieval.schedule import TrainSettings
from retrieval.sources import open_source
from sample.processor import cpu_knows_bf16
from tests.retrieval import tiny_world


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


def test_worlds_of_the_samples_seed_that_are_missing_are_rendered_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tiny_world.cirr(tmp_path / "cirr-seed7", "train")
    source = open_source(tiny_world.published(tmp_path / "out", root, source="sample"))
    rendered: list[tuple[str, Path, int]] = []

    def write(dataset: str, place: Path, seed: int) -> None:
        place.mkdir()
        rendered.append((dataset, place, seed))

    monkeypatch.setattr(defaults, "write_whole", write)
    beside = {name: tmp_path / f"{name}-seed7" for name in ("fashioniq", "cirr", "circo")}
    for _ in range(2):
        assert default_roots([source], lambda line: None) == beside
    assert rendered == [(name, beside[name], 7) for name in ("fashioniq", "circo")]


def test_worlds_of_other_names_are_measured_where_they_lie(tmp_path: Path) -> None:
    root = tiny_world.cirr(tmp_path / "my-cirr", "train")
    source = open_source(tiny_world.published(tmp_path / "out", root, source="sample"))
    assert default_roots([source], print) == {"cirr": root}


def test_gold_chains_are_found_in_complete_outputs_of_the_very_queries(tmp_path: Path) -> None:
    root = tmp_path / "cirr"
    for split in ("train", "val"):
        tiny_world.cirr(root, split)
    outputs = tmp_path / "outputs"
    whole, half, other = (outputs / f"{name}-val" for name in ("a", "b", "c"))
    tiny_world.annotated(whole, root, "val", rows=5)
    for folder, status, job in ((half, "incomplete", None), (other, "complete", "another")):
        tiny_world.annotated(folder, root, "val", rows=7)
        manifest = json.loads((folder / "manifest.json").read_text())
        changed = manifest | {"status": status, "job": job or manifest["job"]}
        (folder / "manifest.json").write_text(json.dumps(changed))
    found = find_gold((), outputs, {"cirr": root})
    assert set(found) == {f"cirr/val/{number}" for number in range(5)}
    assert chain_part(found["cirr/val/0"], "conclusion") == "green picture"
    with pytest.raises(UsageError, match="annotates other queries"):
        find_gold([other], outputs, {"cirr": root})
    assert find_gold((), tmp_path, {"cirr": root}) == {}


def test_a_chain_that_was_written_in_sight_of_the_target_is_no_gold_chain(tmp_path: Path) -> None:
    root = tiny_world.cirr(tmp_path / "cirr", "val")
    tiny_world.cirr(root, "train")
    out = tmp_path / "outputs" / "a-val"
    tiny_world.annotated(out, root, "val", rows=5, teacher_sees_target=True)
    with pytest.raises(InputError, match="no annotated rows whose writer did not see the target"):
        find_gold((out,), out.parent, {"cirr": root})
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps(manifest | {"teacher_sees_target": True}))
    assert find_gold((), out.parent, {"cirr": root}) == {}


def test_the_samples_base_for_photographs_is_warned_of(tmp_path: Path) -> None:
    root = tiny_world.cirr(tmp_path / "cirr", "train")
    for source, base, words in (
        ("user", None, "give --base-model (make: BASE_MODEL=)"),
        ("user", tmp_path, ""),
        ("sample", None, ""),
    ):
        lines: list[str] = []
        out = open_source(tiny_world.published(tmp_path / source, root, source=source))
        assert base_of(base, [out], lines.append) == (base or BASE)
        assert words in "".join(lines) and bool(lines) == bool(words)


def test_every_setting_of_the_tiny_recipe_is_one_of_training_or_model() -> None:
    known = {*TrainSettings.__dataclass_fields__, *ModelSettings.__dataclass_fields__}
    assert set(TINY) <= known
