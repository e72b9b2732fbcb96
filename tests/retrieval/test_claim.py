"""A folder is one run's: whatever else lies there is refused and left as it is."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from annotate.errors import OutputError, UsageError
from retrieval import conversation, train
from retrieval.model import CirModel, ModelSettings
from retrieval.schedule import TrainSettings
from retrieval.sources import Source

CPU = torch.device("cpu")
SETTINGS = TrainSettings(steps=1, batch=4)
MODEL = ModelSettings(tuning="full", temperature=0.05)


def run(base: Path, sources: list[Source], out: Path) -> Path:
    return train.train(CirModel(base, MODEL, CPU), base, sources, SETTINGS, out, say=lambda line: None)


@pytest.fixture(scope="module")
def out(base: Path, sources: list[Source], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of a run."""
    out = tmp_path_factory.mktemp("out")
    run(base, sources, out)
    return out


@pytest.mark.parametrize("other", [{"temperature": 0.07}, {"projection": 4}, {"init_seed": 1}])
def test_a_folder_of_another_models_settings_is_refused(
    base: Path, sources: list[Source], out: Path, other: dict[str, Any]
) -> None:
    model = CirModel(base, dataclasses.replace(MODEL, **other), CPU)
    with pytest.raises(OutputError, match="holds another training run"):
        train.train(model, base, sources, SETTINGS, out, say=lambda line: None)


@pytest.mark.parametrize("how", [{"chunk": 2}, {"grad_cache": True}, {"save_every": 7}])
def test_how_much_is_held_at_a_time_is_no_other_run(
    base: Path, sources: list[Source], out: Path, how: dict[str, Any]
) -> None:
    """Whoever ran out of memory goes on with smaller chunks, and what is finished stays so."""
    model, settings = CirModel(base, MODEL, CPU), dataclasses.replace(SETTINGS, **how)
    lines: list[str] = []
    assert train.train(model, base, sources, settings, out, say=lines.append) == out / "model"
    assert lines == [f"{out / 'model'} is finished already"]


def test_a_run_does_not_go_on_with_other_prompts(
    base: Path, sources: list[Source], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "_IMAGE", "What is this?")
    with pytest.raises(OutputError, match="holds another training run"):
        run(base, sources, out)


def test_metrics_of_somebody_else_are_left_alone(base: Path, sources: list[Source], tmp_path: Path) -> None:
    (tmp_path / train.METRICS).write_text('{"epoch": 1}\n')
    with pytest.raises(OutputError, match=r"metrics\.jsonl: is of no training run"):
        run(base, sources, tmp_path)
    assert (tmp_path / train.METRICS).read_text() == '{"epoch": 1}\n'


def test_a_model_of_a_study_is_not_called_the_run_that_was_asked_for(
    base: Path, sources: list[Source], out: Path, tmp_path: Path
) -> None:
    shutil.copytree(out / "model", tmp_path / "model")
    with pytest.raises(OutputError, match=r"model: is of no training run \(no run\.json"):
        run(base, sources, tmp_path)
    with pytest.raises(OutputError, match="holds a training run, whose model would be lost"):
        train.refuse_a_run(out)
    train.refuse_a_run(tmp_path)


def test_settings_that_cannot_be_claim_no_folder(base: Path, sources: list[Source], tmp_path: Path) -> None:
    wrong = dataclasses.replace(SETTINGS, weights="cirr=1,fashioniq=1")
    with pytest.raises(UsageError, match="do not weigh the datasets cirr"):
        train.train(CirModel(base, MODEL, CPU), base, sources, wrong, tmp_path, say=lambda line: None)
    assert run(base, sources, tmp_path) == tmp_path / "model", "the mended command goes on"


def test_other_files_in_the_place_of_the_model_are_left_alone(
    base: Path, sources: list[Source], tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.pt").touch()
    with pytest.raises(OutputError, match="holds something else"):
        run(base, sources, tmp_path)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["mine.pt"]
