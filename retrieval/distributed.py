"""Several processes as one: gathering candidates with right gradients, averaging gradients, sums over ranks.

Without a process group every function does the one-process thing, so that callers need no cases.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from annotate.errors import UsageError


def started_by_torchrun() -> bool:
    """Whether the environment says that several processes work together."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def start_from_environment(device: str = "cpu") -> None:
    """Join the process group that torchrun describes in the environment; without torchrun nothing happens."""
    if started_by_torchrun() and not dist.is_initialized():
        if device == "cuda":
            local = int(os.environ.get("LOCAL_RANK", "0"))
            if local >= torch.cuda.device_count():
                raise UsageError(
                    f"rank {local} has no GPU of its own; start as many processes as there are GPUs"
                )
            torch.cuda.set_device(local)
        dist.init_process_group("nccl" if device == "cuda" else "gloo")


def stop() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0; rank 0 writes files and prints."""
    return dist.get_rank() if dist.is_initialized() else 0


def gather(tensor: Tensor) -> tuple[Tensor, int]:
    """Concatenate `tensor` [n, ...] of all ranks in rank order; also where this rank's part begins.

    n may differ between ranks. Gradients flow back to every rank: the loss of each rank pulls on the
    candidates of all. With gradients averaged over ranks (DDP, `average_gradients`), the mean of the local
    mean losses over equal local batches has the gradient of one process with the whole batch.
    """
    if world_size() == 1:
        return tensor, 0
    mine = torch.tensor([len(tensor)], device=tensor.device)
    parts = [torch.zeros_like(mine) for _ in range(world_size())]
    dist.all_gather(parts, mine)
    sizes = [int(part.item()) for part in parts]
    padding = tensor.new_zeros((max(sizes) - len(tensor), *tensor.shape[1:]))
    stacked: Tensor = _Gather.apply(torch.cat([tensor, padding]))  # type: ignore[no-untyped-call]  # untyped in torch
    return torch.cat([stacked[i, :size] for i, size in enumerate(sizes)]), sum(sizes[: rank()])


def agree(standing: str) -> bool:
    """Whether all ranks say the same."""
    if world_size() == 1:
        return True
    everyones = [""] * world_size()
    dist.all_gather_object(everyones, standing)
    return len(set(everyones)) == 1


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace each gradient by its mean over ranks; a parameter unused on this rank counts as zero there.

    One that no rank used keeps no gradient, as in one process: AdamW would count a step and decay it.
    """
    if world_size() == 1:
        return
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    used = torch.tensor([parameter.grad is not None for parameter in trained], device=trained[0].device)
    used = used.to(torch.int32)
    dist.all_reduce(used)
    trained = [parameter for parameter, ranks in zip(trained, used.tolist(), strict=True) if ranks]
    for parameter in trained:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for parameter in trained:
        assert parameter.grad is not None
        by_dtype.setdefault(parameter.grad.dtype, []).append(parameter.grad)
    for gradients in by_dtype.values():
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= world_size()
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()


def total(value: float, device: torch.device | str = "cpu") -> float:
    """Sum of a number over all ranks."""
    if world_size() == 1:
        return value
    summed = torch.tensor([value], dtype=torch.float64, device=device)
    dist.all_reduce(summed)
    return float(summed.item())


class _Gather(torch.autograd.Function):
    """all_gather forward, [n, ...] -> [ranks, n, ...]; backward: the sum over ranks of the gradients of our
    part."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        parts = [torch.empty_like(tensor) for _ in range(world_size())]
        dist.all_gather(parts, tensor.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed = gradient.contiguous().clone()
        dist.all_reduce(summed)
        return summed[rank()]
