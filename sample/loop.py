"""The loop that trains each of the small models: a wall-clock budget, resumable checkpoints, a JSONL log."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from annotate.errors import InputError
from sample.teacher import optim

Figures = Mapping[str, float | Sequence[float]]
"""Name -> what it was, for each thing measured or in all; the log shows means."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How long a phase runs and how often it speaks."""

    minutes: float
    log_steps: int = 200
    eval_steps: int = 1000
    save_minutes: float = 3.0
    held_batches: int = 10
    last_held_batches: int = 25


class Phase(Protocol):
    """What a phase brings: its modules, its optimisers, and the loss of step `number`."""

    modules: dict[str, nn.Module]
    optimizers: list[torch.optim.Optimizer]

    def forward(self, held: bool, number: int) -> tuple[Tensor, Figures]:
        """Loss and figures of step `number`: a function of it and the seed, so that a resumed run goes on."""


def run(phase: Phase, budget: Budget, checkpoint: Path) -> None:
    """Train until the budget is spent; goes on from `checkpoint`, which grows on the way with its log.

    Raises `InputError` when the checkpoint is of another network.
    """
    step, spent = 0, 0.0
    if checkpoint.exists():
        step, spent = _resume(phase, checkpoint)
    begun, saved = time.monotonic() - 60 * spent, time.monotonic()
    parameters = [p for o in phase.optimizers for group in o.param_groups for p in group["params"]]
    sums: dict[str, list[float]] = {}
    with checkpoint.with_suffix(".jsonl").open("a", encoding="utf-8") as log:
        while spent < budget.minutes:
            optim.set_rate(phase.optimizers, optim.schedule(spent / budget.minutes))
            loss, figures = phase.forward(False, step)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            for optimizer in phase.optimizers:
                optimizer.step()
                optimizer.zero_grad()
            step, spent = step + 1, (time.monotonic() - begun) / 60
            _add(sums, {"loss": [float(loss.detach())], **figures})
            if step % budget.log_steps == 0:
                _log(log, {"step": step, "minutes": round(spent, 2), **_means(sums)})
                sums = {}
            if step % budget.eval_steps == 0:
                _log(log, {"step": step, "held": True, **evaluate(phase, budget.held_batches)})
            if time.monotonic() - saved > 60 * budget.save_minutes:
                _save(phase, checkpoint, step, spent)
                saved = time.monotonic()
        _save(phase, checkpoint, step, spent)
        _log(log, {"step": step, "held": True, **evaluate(phase, budget.last_held_batches)})


@torch.no_grad()
def evaluate(phase: Phase, batches: int) -> dict[str, float]:
    """Mean figures over batches of held-out pictures."""
    sums: dict[str, list[float]] = {}
    for number in range(batches):
        _add(sums, phase.forward(True, number)[1])
    return _means(sums)


def _save(phase: Phase, path: Path, step: int, spent: float) -> None:
    optim.save_state(path, phase.modules, phase.optimizers, {"step": step, "minutes": spent})


def _resume(phase: Phase, path: Path) -> tuple[int, float]:
    missing = optim.load_modules(path, phase.modules)
    if missing:
        raise InputError(f"{path}: checkpoint of another network ({missing[0]}); remove it")
    optim.load_optimizers(path, phase.optimizers)
    facts = optim.read_facts(path)
    return int(facts["step"]), facts["minutes"]


def _add(sums: dict[str, list[float]], figures: Figures) -> None:
    for name, values in figures.items():
        sums.setdefault(name, []).extend(values if isinstance(values, Sequence) else [values])


def _means(sums: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: round(sum(values) / len(values), 4) for name, values in sorted(sums.items()) if values}


def _log(log: Any, record: dict[str, Any]) -> None:
    line = json.dumps(record)
    print(line, flush=True)
    log.write(line + "\n")
    log.flush()
