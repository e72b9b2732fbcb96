"""Trains the CLIP: pictures against what is said of them, look-alikes among the texts; dense help for the
tower.

The dense heads (what does each cell show, what each aspect) are thrown away: without them a tower of this
size does not learn to see within minutes. Texts are claims in their order, or reworded in any order.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPModel, PreTrainedTokenizerFast

from sample import claim_words, world
from sample.base.corpus import DOMAINS
from sample.base.train import contrast_loss
from sample.clip.model import WIDTH, build_clip
from sample.loop import Figures
from sample.processor import quick_products
from sample.teacher import optim
from sample.teacher.model import WIDTH as HEAD_WIDTH
from sample.teacher.pictures import HELD_OUT, Pictures
from sample.teacher.vision import Heads, pooled_labels

CELLS = 8


@dataclass(frozen=True, slots=True)
class Plan:
    """One training run; `batch` = garments, scenes a step."""

    batch: tuple[int, int] = (48, 96)
    lookalikes: int = 72  # texts of one-attribute neighbours, which must not fit
    lr: float = 0.008
    small_lr: float = 0.002
    dense_weight: float = 0.5
    seed: int = 3_000_000


class Seen(nn.Module):
    """The discarded heads of both domains, on states of another width."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.Linear(WIDTH, HEAD_WIDTH)
        self.pooled = nn.Linear(WIDTH, HEAD_WIDTH)
        self.heads = nn.ModuleList(Heads(domain) for domain in DOMAINS)

    def loss(self, number: int, patches: Tensor, cells: Tensor, pooled: Tensor) -> tuple[Tensor, float]:
        """Loss of one domain's pictures, and the share of them whose aspects are all read rightly."""
        grid = patches.transpose(1, 2).reshape(len(patches), WIDTH, CELLS, CELLS)
        quarters = F.avg_pool2d(grid, 2).flatten(2).transpose(1, 2)
        head: Any = self.heads[number]
        loss, right = head.loss(self.cells(patches), self.pooled(quarters), cells, pooled)
        return loss, float(right.all(-1).float().mean())


class ClipPractice:
    """Model, discarded heads, optimisers and the step (see loop.Phase)."""

    def __init__(self, plan: Plan, pictures: Sequence[Pictures], tokenizer: PreTrainedTokenizerFast) -> None:
        torch.manual_seed(plan.seed)
        self.plan, self.pictures, self.tokenizer = plan, pictures, tokenizer
        self.ready = [each.usable() for each in pictures]
        self.model: CLIPModel = build_clip(tokenizer)
        self.seen = Seen()
        self.optimizers = optim.build_optimizers(
            [(self.model, 1.0), (self.seen, 1.0)], plan.lr, plan.small_lr
        )
        self.modules: dict[str, nn.Module] = {"model": self.model, "seen": self.seen}

    def forward(self, held: bool, number: int) -> tuple[Tensor, Figures]:
        """Loss and figures of one batch, a function of the seed and `number`."""
        rng = random.Random(f"{self.plan.seed}-{number}-{held}")
        draws = np.random.default_rng([self.plan.seed, number, held])
        looks: list[world.Look] = []
        chosen: list[Any] = []
        for each, ready, size in zip(self.pictures, self.ready, self.plan.batch, strict=True):
            chosen.append(draws.choice(ready[-HELD_OUT:] if held else ready[:-HELD_OUT], size))
            looks += [each.look(int(index)) for index in chosen[-1]]
        pixels = np.concatenate([p.pixels[c] for p, c in zip(self.pictures, chosen, strict=True)])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        if not held:
            images = images * (1 + 0.06 * torch.randn(len(images), 1, 1, 1, generator=optim.numbered(number)))
        others = [
            world.one_attribute_neighbour(rng, look) for look in rng.sample(looks, self.plan.lookalikes)
        ]
        with quick_products():
            tower: Any = self.model.vision_model
            out = tower(pixel_values=images)
            shown = self.model.visual_projection(out.pooler_output)
            texts = self._texts([_said(rng, look) for look in (*looks, *others)])
            dense, figures = self._dense(chosen, looks, out.last_hidden_state[:, 1:])
        unit = (F.normalize(each.float(), dim=-1) for each in (shown, texts))
        contrast, found = contrast_loss(*unit)
        figures |= {"contrast": float(contrast.detach()), "found": found}
        return contrast + self.plan.dense_weight * dense, figures

    def _dense(
        self, chosen: Sequence[Any], looks: Sequence[world.Look], patches: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        total, start, figures = patches.new_zeros(()).float(), 0, {}
        for k, (each, indices) in enumerate(zip(self.pictures, chosen, strict=True)):
            part = slice(start, start + len(indices))
            start += len(indices)
            cells = torch.from_numpy(each.labels[indices].astype(np.int64)).flatten(1, 2)
            pooled = torch.tensor([pooled_labels(look) for look in looks[part]])
            loss, exact = self.seen.loss(k, patches[part], cells, pooled)
            total = total + loss
            figures[f"{each.domain}_seen"] = exact
        return total, figures

    def _texts(self, texts: Sequence[str]) -> Tensor:
        ask: Any = self.tokenizer
        found = ask(list(texts), padding=True, truncation=True, return_tensors="pt")
        reader: Any = self.model.text_model
        pooled = reader(input_ids=found["input_ids"], attention_mask=found["attention_mask"]).pooler_output
        projected: Tensor = self.model.text_projection(pooled)
        return projected


def _said(rng: random.Random, look: world.Look) -> str:
    """The claims in their order, mostly; else in other words and any order."""
    claims = world.claims(look)
    if rng.random() < 0.7:
        return ", ".join(claims)
    return ", ".join(claim_words.reworded(rng, claim) for claim in rng.sample(claims, len(claims)))
