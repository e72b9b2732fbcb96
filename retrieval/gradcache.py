"""One optimisation step's backward pass, with memory for one chunk only (GradCache, Gao et al. 2021).

First every chunk is embedded without a graph; the contrastive loss on all embeddings gives their gradients;
then each chunk is embedded again with a graph and pulled by its gradients. Random states are replayed, so
dropout agrees. The gradients are those of the plain pass over everything at once (tests: to 1e-5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Embedded:
    """A chunk after the encoder: unit vectors [n, dim]; for queries also the chain's summed loss and token
    count."""

    vectors: Tensor
    chain_nll: Tensor | None = None
    chain_tokens: int = 0


Chunk = Callable[[], Embedded]
Contrast = Callable[[Tensor, Tensor], Tensor]


def backward(
    queries: Sequence[Chunk],
    images: Sequence[Chunk],
    contrast: Contrast,
    lambda_info: float,
    chain_weight: Callable[[int], float],
    cached: bool,
) -> dict[str, float]:
    """Accumulate the gradients of lambda_info * contrast(query vectors, image vectors) + weight * chain loss.

    `chain_weight(tokens)` turns the batch's chain tokens into the factor of the summed chain loss
    (lambda_txt over the tokens of all ranks); it is called once. Returns the named terms: `contrastive`,
    `chain_nll`, `chain_tokens`.
    """
    if cached:
        return _cached(queries, images, contrast, lambda_info, chain_weight)
    embedded = [[chunk() for chunk in chunks] for chunks in (queries, images)]
    vectors = [_joined([part.vectors for part in parts]) for parts in embedded]
    loss = contrast(*vectors)
    nlls = [part.chain_nll for part in embedded[0] if part.chain_nll is not None]
    tokens = sum(part.chain_tokens for part in embedded[0])
    weight = chain_weight(tokens)
    nll = torch.stack(nlls).sum() if nlls else vectors[0].new_zeros(())
    (lambda_info * loss + weight * nll).backward()  # type: ignore[no-untyped-call]  # untyped in torch
    return _terms(loss, float(nll.detach()), tokens)


def _cached(
    queries: Sequence[Chunk],
    images: Sequence[Chunk],
    contrast: Contrast,
    lambda_info: float,
    chain_weight: Callable[[int], float],
) -> dict[str, float]:
    replays, leaves = [], []
    tokens, nll = 0, 0.0
    for chunks in (queries, images):
        parts = []
        for chunk in chunks:
            replay = _Replay()
            with torch.no_grad():
                part = replay.first(chunk)
            replays.append((chunk, replay, len(part.vectors)))
            parts.append(part.vectors)
            tokens += part.chain_tokens
            nll += 0.0 if part.chain_nll is None else float(part.chain_nll)
        leaves.append(_joined(parts).detach().requires_grad_())
    loss = contrast(*leaves)
    if lambda_info:
        (lambda_info * loss).backward()  # type: ignore[no-untyped-call]  # untyped in torch
    weight = chain_weight(tokens)
    pull = torch.cat(
        [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves if len(leaf)]
    )
    start = 0
    for chunk, replay, size in replays:
        part = replay.again(chunk)
        surrogate = (part.vectors * pull[start : start + size]).sum()
        if part.chain_nll is not None:
            surrogate = surrogate + weight * part.chain_nll
        if surrogate.requires_grad:  # a frozen image side has nothing to pull on
            surrogate.backward()  # type: ignore[no-untyped-call]  # untyped in torch
        start += size
    return _terms(loss, nll, tokens)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """All vectors; none at all when a stage trains the chain only."""
    return torch.cat(list(parts)) if parts else torch.zeros(0)


def _terms(loss: Tensor, nll: float, tokens: int) -> dict[str, float]:
    return {"contrastive": float(loss.detach()), "chain_nll": nll, "chain_tokens": float(tokens)}


class _Replay:
    """Runs a chunk twice from the same random state."""

    def first(self, chunk: Callable[[], _T]) -> _T:
        self.cpu = torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
        return chunk()

    def again(self, chunk: Callable[[], _T]) -> _T:
        guard: AbstractContextManager[None] = torch.random.fork_rng()
        with guard:
            torch.set_rng_state(self.cpu)
            if self.cuda is not None:
                torch.cuda.set_rng_state(self.cuda)
            return chunk()
