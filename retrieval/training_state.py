"""The state of a training run on disk: weights and AdamW's moments after a step, and the metrics up to it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from annotate.errors import InputError
from annotate.files import write_output
from annotate.text import parse_json
from retrieval import checkpoint, distributed
from retrieval.model import CirModel
from retrieval.saving import save_tensors

MOMENTS = "optimiser.safetensors"
MOMENT_KINDS = ("exp_avg", "exp_avg_sq", "step")


def save_state(
    model: CirModel,
    named: Mapping[str, torch.nn.Parameter],
    base: str | Path,
    optimiser: torch.optim.Optimizer,
    out: Path,
    done: int,
) -> None:
    """Write model and moments after `done` steps; an interruption leaves the state before, whole."""
    moments = {
        f"{kind}/{name}": optimiser.state[parameter][kind].cpu()
        for name, parameter in named.items()
        for kind in MOMENT_KINDS
        if parameter in optimiser.state
    }
    # moments first; each state has a name of its own, so that at any moment a whole one is there
    save_tensors(out / f"{done}-{MOMENTS}", moments)
    checkpoint.save(model, base, out / f"state-{done}", {"done": done})
    for folder in out.glob("state-*"):  # also what a kill left of one while it was removed
        if folder.name != f"state-{done}":
            shutil.rmtree(folder)
    for old in out.glob(f"*-{MOMENTS}"):
        if old.name != f"{done}-{MOMENTS}":
            old.unlink()


def resume(
    model: CirModel,
    named: Mapping[str, torch.nn.Parameter],
    optimiser: torch.optim.Optimizer,
    out: Path,
    say: Callable[[str], None],
) -> int:
    """Load the last state; the number of steps that it has done."""
    done, folder = _last(out)
    if folder is None:
        return 0
    checkpoint.read_card(folder)
    checkpoint.load_into(model, folder)
    file = out / f"{done}-{MOMENTS}"
    try:
        moments = load_file(file)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file}: cannot be read ({error}); remove {folder}, or train again") from error
    for name, parameter in named.items():
        if f"step/{name}" in moments:
            optimiser.state[parameter] = {
                kind: moments[f"{kind}/{name}"].to("cpu" if kind == "step" else parameter.device)
                for kind in MOMENT_KINDS
            }
    say(f"going on at step {done}")
    return done


def cut_metrics(path: Path, start: int) -> list[dict[str, Any]]:
    """The metrics up to the state that is resumed; what came after it is done again."""
    lines = path.read_text().splitlines() if path.is_file() else []
    kept: list[dict[str, Any]] = []
    for line in lines:
        try:
            row = parse_json(line)
            if row["step"] >= start:
                break
        except (ValueError, KeyError, TypeError):  # a line torn by a kill
            break
        kept.append(row)
    if distributed.rank() == 0 and lines:
        write_output(path, "".join(json.dumps(row) + "\n" for row in kept))
    return kept


def steps_done(out: Path) -> int:
    """How many steps the last state has done; 0 without one."""
    return _last(out)[0]


def _last(out: Path) -> tuple[int, Path | None]:
    """Steps and folder of the last state that is there."""
    found = [path for path in out.glob("state-*") if (path / checkpoint.CARD).is_file()]
    return max(((int(path.name.removeprefix("state-")), path) for path in found), default=(0, None))
