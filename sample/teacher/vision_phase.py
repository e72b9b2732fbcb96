"""Phase 1: the vision tower and the connector learn what covers each cell and what each aspect shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import Idefics3ForConditionalGeneration

from sample.loop import Figures
from sample.processor import quick_products
from sample.teacher import optim
from sample.teacher.corpus import DOMAINS
from sample.teacher.draw import UNASKED
from sample.teacher.model import connect, normalise, see
from sample.teacher.pictures import HELD_OUT, Pictures
from sample.teacher.strange import strange_of
from sample.teacher.vision import Heads, all_pooled_labels, color_classes

CELL_COLOR = 1
"""The place of the color among a scene's labels of a cell."""


@dataclass(frozen=True, slots=True)
class VisionPlan:
    """Garments and scenes a step, how many of each are strange, the peak learning rates (Muon's, AdamW's)."""

    batch: tuple[int, int] = (20, 84)
    strange: tuple[int, int] = (6, 16)
    lr: float = 0.006
    small_lr: float = 0.0015
    seed: int = 1_000_000


class VisionPhase:
    """Tower, connector, and dense heads that are thrown away afterwards."""

    def __init__(
        self, model: Idefics3ForConditionalGeneration, pictures: list[Pictures], plan: VisionPlan
    ) -> None:
        self.model, self.pictures, self.plan = model, pictures, plan
        self.cells = [p.labels.reshape(-1, 64, 4) for p in pictures]
        self.pooled = [_pooled(p) for p in pictures]
        self.heads = [Heads(domain) for domain in DOMAINS]
        self.modules: dict[str, nn.Module] = {"model": model, **dict(zip(DOMAINS, self.heads, strict=True))}
        inner: Any = model.model
        parts = [inner.connector, inner.vision_model, *self.heads]
        self.optimizers = optim.build_optimizers([(part, 1.0) for part in parts], plan.lr, plan.small_lr)

    def forward(self, held: bool, number: int) -> tuple[Tensor, Figures]:
        """Dense loss of one batch; every other batch is mirrored."""
        rng = np.random.default_rng([self.plan.seed, number])
        count = len(self.pictures[0].pixels)
        low, high = (count - HELD_OUT, count) if held else (0, count - HELD_OUT)
        indices = [rng.integers(low, high, size) for size in self.plan.batch]
        pixels = [p.pixels[chosen] for p, chosen in zip(self.pictures, indices, strict=True)]
        strange = (0, 0) if held else self.plan.strange
        told = [self._make_strange(rng, k, indices[k][: strange[k]], pixels) for k in range(len(DOMAINS))]
        mirrored = not held and number % 2 == 1
        if mirrored:
            pixels = [x[:, :, ::-1] for x in pixels]
        patches = normalise(torch.from_numpy(np.ascontiguousarray(np.concatenate(pixels))))
        if not held:
            patches = jitter(patches)
        figures: dict[str, list[float]] = {}
        with quick_products():
            states = see(self.model, patches)
            image = connect(self.model, states)
            total = states.new_zeros(()).float()
            start = 0
            for k, (domain, chosen) in enumerate(zip(DOMAINS, indices, strict=True)):
                part = slice(start, start + len(chosen))
                start += len(chosen)
                cells, pooled = self._labels(k, chosen, mirrored)
                odd = strange[k]  # they come first
                for row, classes in enumerate(told[k]):
                    for question, known in classes:
                        pooled[row, question] = known
                    if domain == "scenes":
                        cells[row, :, CELL_COLOR] = UNASKED
                loss, right = self.heads[k].loss(states[part], image[part], cells, pooled)
                total = total + loss
                figures[f"{domain}_dense"] = [float(loss.detach())]
                figures[f"{domain}_seen"] = [float(right[odd:].all(-1).float().mean())]
                asked = [(row, q) for row, classes in enumerate(told[k]) for q, c in classes if c != UNASKED]
                if asked:
                    figures[f"{domain}_strange"] = [float(right[row, q]) for row, q in asked]
        return total, figures

    def _make_strange(
        self, rng: np.random.Generator, k: int, chosen: NDArray[np.int64], pixels: list[NDArray[np.uint8]]
    ) -> list[list[tuple[int, int]]]:
        """Make the first pictures of a domain strange; the questions that this changes, and their answers."""
        looks = [self.pictures[k].look(int(index)) for index in chosen]
        made, shown = strange_of(rng, pixels[k][: len(chosen)], looks)
        pixels[k] = np.concatenate([made, pixels[k][len(chosen) :]])
        return [color_classes(look, colors) for look, colors in zip(looks, shown, strict=True)]

    def _labels(self, k: int, chosen: NDArray[np.int64], mirrored: bool) -> tuple[Tensor, Tensor]:
        cells = torch.from_numpy(self.cells[k][chosen].astype(np.int64))
        pooled = torch.from_numpy(self.pooled[k][chosen].astype(np.int64))
        if mirrored:
            cells = cells.view(-1, 8, 8, cells.shape[-1]).flip(2).flatten(1, 2)
            pooled = mirror_labels(pooled) if DOMAINS[k] == "scenes" else pooled
        return cells, pooled


def jitter(patches: Tensor) -> Tensor:
    """Pictures a little brighter or darker, and of a little more or less contrast."""
    gain = 1 + 0.06 * torch.randn(len(patches), 1, 1)
    return patches * gain + 0.03 * torch.randn(len(patches), 1, 1)


def mirror_labels(pooled: Tensor) -> Tensor:
    """Pooled labels of mirrored scenes: a rising diagonal falls, and the other way round."""
    last = pooled[:, -1]
    return torch.cat([pooled[:, :-1], torch.where(last >= 2, 5 - last, last)[:, None]], 1)


def _pooled(pictures: Pictures) -> NDArray[np.uint8]:
    path = pictures.folder / "pooled.npy"
    if not path.exists():
        np.save(path, all_pooled_labels(pictures))
    found: NDArray[np.uint8] = np.load(path)
    return found
