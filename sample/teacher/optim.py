"""Optimisers, the wall-clock schedule and resumable state (safetensors, no pickle)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from annotate.text import parse_json

WARM_UP = 0.03


def build_optimizers(
    modules: Iterable[tuple[nn.Module, float]], lr: float, small_lr: float
) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for embeddings, heads, norms and biases.

    Each module comes with the share of the peak learning rates (`lr` for Muon) that it gets.
    """
    matrices: list[dict[str, object]] = []
    others: list[dict[str, object]] = []
    for module, share in modules:
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        inner = [p for name, p in named if p.ndim == 2 and "layers." in name]
        outer = [p for name, p in named if not (p.ndim == 2 and "layers." in name)]
        if inner:
            matrices.append({"params": inner, "lr": lr * share})
        others.append({"params": outer, "lr": small_lr * share})
    adam = torch.optim.AdamW(others, lr=small_lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    optimizers: list[torch.optim.Optimizer] = [adam]
    if matrices:
        optimizers.append(
            torch.optim.Muon(matrices, lr=lr, weight_decay=0.02, ns_steps=5, adjust_lr_fn="match_rms_adamw")
        )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def schedule(done: float, floor: float = 0.02) -> float:
    """Share of the peak learning rate when `done` (0..1) of the budget is spent: warm-up, then cosine."""
    if done < WARM_UP:
        return max(0.05, done / WARM_UP)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, (done - WARM_UP) / (1 - WARM_UP))))


def numbered(number: int) -> torch.Generator:
    """Random numbers of step `number`: the same after a resume."""
    return torch.Generator().manual_seed(number)


def set_rate(optimizers: Iterable[torch.optim.Optimizer], share: float) -> None:
    """Set every group's learning rate to `share` of its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share


def save_state(
    path: Path,
    modules: dict[str, nn.Module],
    optimizers: list[torch.optim.Optimizer],
    facts: dict[str, float],
) -> None:
    """Write modules, optimiser moments and `facts` to one safetensors file, whole or not at all."""
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        tensors |= {f"{name}/{key}": value.detach().clone() for key, value in module.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"opt/{number}/{index}/{key}": torch.as_tensor(v).clone() for key, v in state.items()}
    temporary = path.with_suffix(".part")
    save_file(tensors, temporary, metadata={"facts": json.dumps(facts)})
    temporary.replace(path)


def load_modules(path: Path, modules: dict[str, nn.Module]) -> list[str]:
    """Load every tensor that is there in the same shape; returns the names of those that are not."""
    tensors = load_file(path)
    missing = []
    for name, module in modules.items():
        own = module.state_dict()
        for key in own:
            found = tensors.get(f"{name}/{key}")
            if found is not None and found.shape == own[key].shape:
                own[key].copy_(found)
            else:
                missing.append(f"{name}/{key}")
    return missing


def load_optimizers(path: Path, optimizers: list[torch.optim.Optimizer]) -> None:
    """Restore the moments that `save_state` wrote for optimisers of the same make-up."""
    tensors = load_file(path)
    for number, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith(f"opt/{number}/"):
                _, _, index, field = key.split("/")
                state.setdefault(int(index), {})[field] = value
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        # A parameter of another shape than the saved one (a new head, say) starts with fresh moments.
        for place in list(state):
            shapes = {tuple(value.shape) for value in state[place].values() if value.ndim}
            if place >= len(parameters) or shapes != {tuple(parameters[place].shape)}:
                del state[place]
        if state:
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state, "param_groups": groups})


def read_facts(path: Path) -> dict[str, float]:
    """The `facts` of a saved state."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = parse_json(stream.read(length))
    facts: dict[str, float] = parse_json(header["__metadata__"]["facts"])
    return facts
