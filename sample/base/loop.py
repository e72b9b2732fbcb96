"""The loop that both small models are trained by: a wall-clock budget, resumable, with a JSONL log."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from annotate.errors import InputError
from sample.teacher import optim

LOG_STEPS, EVAL_STEPS, SAVE_MINUTES = 25, 150, 2.0


class Practice(Protocol):
    """What is trained: its modules, their optimisers, and the loss of a numbered batch (held out or not)."""

    modules: dict[str, nn.Module]
    optimizers: list[torch.optim.Optimizer]

    def forward(self, held: bool, number: int) -> tuple[Tensor, dict[str, float]]:
        """Loss and figures, a function of the arguments."""


def practise(practice: Practice, minutes: float, checkpoint: Path) -> None:
    """Train until the minutes are spent; goes on from `checkpoint`, which grows on the way with its log.

    Raises `InputError` when the checkpoint is of another network.
    """
    step, spent = 0, 0.0
    if checkpoint.exists():
        missing = optim.load_modules(checkpoint, practice.modules)
        if missing:
            raise InputError(f"{checkpoint}: checkpoint of another network ({missing[0]}); remove it")
        optim.load_optimizers(checkpoint, practice.optimizers)
        facts = optim.read_facts(checkpoint)
        step, spent = int(facts["step"]), facts["minutes"]
    trained = [p for o in practice.optimizers for group in o.param_groups for p in group["params"]]
    begun, saved = time.monotonic() - 60 * spent, time.monotonic()
    sums: dict[str, float] = {}
    summed = 0
    with checkpoint.with_suffix(".jsonl").open("a", encoding="utf-8") as log:
        while spent < minutes:
            optim.set_rate(practice.optimizers, optim.schedule(spent / minutes))
            loss, figures = practice.forward(False, step)
            loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            for optimizer in practice.optimizers:
                optimizer.step()
                optimizer.zero_grad()
            step, spent = step + 1, (time.monotonic() - begun) / 60
            summed += 1
            for key, value in figures.items():
                sums[key] = sums.get(key, 0.0) + value
            if step % LOG_STEPS == 0:
                means = {key: round(value / summed, 4) for key, value in sums.items()}
                _log(log, {"step": step, "minutes": round(spent, 2), **means})
                sums, summed = {}, 0
            if step % EVAL_STEPS == 0:
                _log(log, {"step": step, "held": True, **held_out(practice, 2)})
            if time.monotonic() - saved > 60 * SAVE_MINUTES:
                _save(practice, checkpoint, step, spent)
                saved = time.monotonic()
        _save(practice, checkpoint, step, spent)
        _log(log, {"step": step, "held": True, **held_out(practice, 10)})


@torch.no_grad()
def held_out(practice: Practice, batches: int) -> dict[str, float]:
    """Mean figures over batches of held-out pictures."""
    sums: dict[str, float] = {}
    for number in range(batches):
        for key, value in practice.forward(True, number)[1].items():
            sums[key] = sums.get(key, 0.0) + value / batches
    return {key: round(value, 4) for key, value in sums.items()}


def _save(practice: Practice, checkpoint: Path, step: int, spent: float) -> None:
    facts = {"step": step, "minutes": spent}
    optim.save_state(checkpoint, practice.modules, practice.optimizers, facts)


def _log(log: Any, record: dict[str, Any]) -> None:
    line = json.dumps(record)
    print(line, flush=True)
    log.write(line + "\n")
    log.flush()
