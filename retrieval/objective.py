"""The loss: lambda_txt * CE(chain) + lambda_info * InfoNCE(query -> target). Pure tensors in, tensors out.

InfoNCE (van den Oord et al. 2018) with cosine similarity: the target against every other candidate image of
the batch and the hard negatives (CIRR's look-alikes); candidates that are known further positives are
masked, not pushed away.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from annotate.errors import UsageError

IGNORED = -100
NO_KEY = -1
SMALLEST_TEMPERATURE, LARGEST_TEMPERATURE = 0.01, 1.0


class Temperature(nn.Module):
    """InfoNCE's temperature, learned in log space (from 0.01 to 1) or fixed. `forward` gives
    1/temperature."""

    def __init__(self, start: float = 0.02, learned: bool = True) -> None:
        super().__init__()
        if not start >= SMALLEST_TEMPERATURE:
            raise UsageError(f"temperature {start} is below {SMALLEST_TEMPERATURE}; choose a larger one")
        if start > LARGEST_TEMPERATURE:
            raise UsageError(f"temperature {start} is above {LARGEST_TEMPERATURE}; choose a smaller one")
        self.log_scale = nn.Parameter(torch.tensor(-math.log(start)), requires_grad=learned)

    def forward(self) -> Tensor:
        """1/temperature, a scalar."""
        return self.log_scale.exp()

    @torch.no_grad()
    def keep_in_range(self) -> None:
        """Bring it back after a step; bounded in `forward`, it could never leave the bound again."""
        self.log_scale.clamp_(-math.log(LARGEST_TEMPERATURE), -math.log(SMALLEST_TEMPERATURE))


def chain_nll(states: Tensor, labels: Tensor, head: Callable[[Tensor], Tensor]) -> tuple[Tensor, int]:
    """Summed negative log likelihood of the chain's tokens, and how many there are.

    `states` [batch, length, dim]; `labels` [batch, length] token ids, `IGNORED` wherever the token is not
    part of the chain (prompt, images, modification, padding). The token at place t is predicted at t - 1.
    `head` turns the few states that are needed into logits [n, vocabulary].
    """
    wanted = labels[:, 1:]
    chosen = wanted != IGNORED
    targets = wanted[chosen]
    if not targets.numel():
        return states.new_zeros(()), 0
    logits = head(states[:, :-1][chosen])
    return nn.functional.cross_entropy(logits.float(), targets, reduction="sum"), int(targets.numel())


def info_nce(queries: Tensor, candidates: Tensor, own: Tensor, masked: Tensor, scale: Tensor) -> Tensor:
    """Mean over queries of -log softmax of the own target among the candidates that are not masked.

    `queries` [b, dim], `candidates` [c, dim], both of unit length; `own` [b] column of each query's target;
    `masked` [b, c] true for candidates left out (never the own target); `scale` = 1/temperature.
    """
    logits = (queries.float() @ candidates.float().T) * scale
    logits = logits.masked_fill(masked, -math.inf)
    return nn.functional.cross_entropy(logits, own)


def image_key(dataset: str, name: str) -> int:
    """A number that stands for an image name (63 bits of sha256), so that names can be compared across
    processes."""
    return int.from_bytes(hashlib.sha256(f"{dataset}/{name}".encode()).digest()[:8], "big") >> 1


def keys_tensor(keys: Sequence[Sequence[int]]) -> Tensor:
    """Lists of keys as one int64 tensor [b, longest], padded with `NO_KEY`."""
    longest = max((len(row) for row in keys), default=0)
    return torch.tensor([[*row, *[NO_KEY] * (longest - len(row))] for row in keys], dtype=torch.int64)


def known_positives(positives: Tensor, candidate_keys: Tensor, own: Tensor) -> Tensor:
    """Which candidates to mask, [b, c] bool: known positives of the query, save the column that is its own
    target.

    `positives` [b, p] keys of every image known to fit (target included, `NO_KEY` pads), `candidate_keys`
    [c].
    """
    masked = (positives[:, :, None] == candidate_keys[None, None, :]).any(dim=1)
    masked[torch.arange(len(own), device=own.device), own] = False
    return masked
