"""A toy encoder and one training step on part of a fixed batch: run alone (tests) or under torchrun, a part
a rank.

Queries have a chain of their own length, so that ranks count different numbers of tokens; only the first two
queries bring hard negatives, so that ranks bring different numbers of candidates.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from retrieval.distributed import (
    average_gradients,
    gather,
    rank,
    start_from_environment,
    stop,
    total,
    world_size,
)
from retrieval.gradcache import Chunk, Embedded, backward
from retrieval.objective import (
    IGNORED,
    Temperature,
    chain_nll,
    info_nce,
    keys_tensor,
    known_positives,
)

BATCH, DIM, WORDS = 8, 6, 11


class Toy(nn.Module):
    """A query encoder with dropout and a word head, sharing its trunk with the image side; a learned
    temperature."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Linear(DIM, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, DIM))
        self.words = nn.Linear(DIM, WORDS)
        self.temperature = Temperature(0.1)

    def embed(self, rows: Tensor) -> Tensor:
        return nn.functional.normalize(self.trunk(rows), dim=-1)


def data() -> dict[str, Tensor]:
    made = torch.Generator().manual_seed(1)
    labels = torch.randint(0, WORDS, (BATCH, 7), generator=made)
    for row in range(BATCH):
        labels[row, : 1 + row % 5] = IGNORED
    return {
        "queries": torch.randn(BATCH, 7, DIM, generator=made),
        "targets": torch.randn(BATCH, DIM, generator=made),
        "negatives": torch.randn(2, DIM, generator=made),
        "labels": labels,
    }


# images 0..7 are the targets, 100 and 101 the hard negatives; 3 and 5 are the same image, 101 also fits
# query 6
TARGET_KEYS = [0, 1, 2, 3, 4, 3, 6, 7]
NEGATIVE_KEYS = [100, 101]
POSITIVES = [[0], [1, 4], [2], [3], [4], [3], [6, 101], [7]]


def step(model: Toy, rows: range, chunk_size: int, cached: bool, lambda_txt: float = 0.7) -> dict[str, float]:
    """Backward pass over `rows` of the batch (and over all ranks' rows, where there are several)."""
    batch = data()
    own_rows = list(rows)
    negative_rows = [row for row in own_rows if row < len(NEGATIVE_KEYS)]
    images = torch.cat([batch["targets"][own_rows], batch["negatives"][negative_rows]])
    keys = torch.tensor([TARGET_KEYS[r] for r in own_rows] + [NEGATIVE_KEYS[r] for r in negative_rows])
    positives = keys_tensor([POSITIVES[r] for r in own_rows])

    def query_chunk(part: list[int]) -> Chunk:
        def run() -> Embedded:
            states = model.trunk(batch["queries"][part])
            nll, tokens = chain_nll(states, batch["labels"][part], model.words)
            return Embedded(nn.functional.normalize(states[:, -1], dim=-1), nll, tokens)

        return run

    def image_chunk(part: Tensor) -> Chunk:
        return lambda: Embedded(model.embed(part))

    def contrast(queries: Tensor, candidates: Tensor) -> Tensor:
        everyone, offset = gather(candidates)
        everyone_keys, _ = gather(keys)
        own = offset + torch.arange(len(queries))
        masked = known_positives(positives, everyone_keys, own)
        return info_nce(queries, everyone, own, masked, model.temperature())

    terms = backward(
        [query_chunk(own_rows[i : i + chunk_size]) for i in range(0, len(own_rows), chunk_size)],
        [image_chunk(images[i : i + chunk_size]) for i in range(0, len(images), chunk_size)],
        contrast,
        1.3,
        lambda tokens: lambda_txt * world_size() / total(tokens),
        cached,
    )
    average_gradients(model.parameters())
    return terms


def gradients(model: Toy) -> dict[str, Tensor]:
    return {name: p.grad.detach().clone() for name, p in model.named_parameters() if p.grad is not None}


if __name__ == "__main__":
    start_from_environment()
    share = BATCH // world_size()
    for cached in (False, True):
        toy = Toy()
        step(toy, range(rank() * share, (rank() + 1) * share), chunk_size=3, cached=cached)
        save_file(gradients(toy), Path(sys.argv[1]) / f"rank{rank()}-cached-{cached}.safetensors")
    stop()
