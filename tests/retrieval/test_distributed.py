"""Two ranks under torchrun (CPU, gloo) are one rank with twice the batch."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from retrieval.distributed import average_gradients, gather, total
from tests.retrieval import tiny_models, tiny_world, toy_step

SCRIPT = Path(toy_step.__file__)
SOFT = ("--temperature", "0.1")  # a sharp one makes more of a last bit with each step


@pytest.mark.slow
def test_two_ranks_have_the_gradients_of_one_with_the_whole_batch(tmp_path: Path) -> None:
    root = SCRIPT.parents[2]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(SCRIPT), str(tmp_path)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    model = toy_step.Toy()
    toy_step.step(model, range(toy_step.BATCH), chunk_size=100, cached=False)
    for rank, cached in ((0, False), (0, True), (1, False), (1, True)):
        found = load_file(tmp_path / f"rank{rank}-cached-{cached}.safetensors")
        assert found.keys() == toy_step.gradients(model).keys()
        for name, gradient in toy_step.gradients(model).items():
            torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        ["--steps", "2", *SOFT],
        ["--steps", "8", "--stages", "two", "--projection", "8", "--learning-rate", "1e-3", *SOFT],
    ],
)
def test_training_on_two_ranks_writes_the_loss_curve_of_one(tmp_path: Path, more: list[str]) -> None:
    """Also where a stage leaves parameters without gradients: AdamW must not count steps for these."""
    base = tiny_models.idefics(tmp_path / "base")
    data = tiny_world.published(tmp_path / "out", tiny_world.cirr(tmp_path / "cirr", "train"))
    train = ["-m", "retrieval", "train", "--data", str(data), "--base-model", str(base), "--device", "cpu"]
    train += [*more, "--batch", "4", "--lora-rank", "2", "--hard-negatives", "1", "--out"]
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[2])}
    for name, launcher in (("one", []), ("two", two)):
        command = [sys.executable, *launcher, *train, str(tmp_path / name)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr[-2000:]
    one, other = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert len(one) == len(other) == int(more[1])
    for row, same in zip(one, other, strict=True):
        assert row == pytest.approx(same, rel=1e-5)


@pytest.mark.slow
def test_ranks_that_find_another_state_do_not_train_together(tmp_path: Path) -> None:
    """Two machines with a folder each, say: gradients of different weights would be averaged."""
    base = tiny_models.idefics(tmp_path / "base")
    data = tiny_world.published(tmp_path / "out", tiny_world.cirr(tmp_path / "cirr", "train"))
    train = f"-m retrieval train --data {data} --base-model {base} --device cpu --steps 1 --batch 4"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[2])}
    alone = [sys.executable, *train.split(), "--out", str(tmp_path / "rank0")]
    assert subprocess.run(alone, env=environment, timeout=300).returncode == 0
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    each = f"{shlex.quote(sys.executable)} {train} --out {tmp_path}/rank$RANK"
    done = subprocess.run(
        [*launcher, "--no-python", "bash", "-c", each],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode != 0
    assert "find other data or another state there; give all of them one shared folder" in done.stderr
    assert not (tmp_path / "rank1" / "model").exists()


def test_without_a_process_group_everything_is_the_one_process_case() -> None:
    rows = torch.randn(3, 2)
    gathered, offset = gather(rows)
    assert gathered is rows and offset == 0 and total(4.0) == 4.0
    layer = torch.nn.Linear(2, 1)
    average_gradients(layer.parameters())
    assert layer.weight.grad is None
