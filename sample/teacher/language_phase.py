"""Phase 2: the decoder learns to answer; the tower is frozen, so image tokens are computed once."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import Idefics3ForConditionalGeneration

from sample.loop import Figures
from sample.processor import quick_products
from sample.teacher import optim
from sample.teacher.language import JUDGE_SIZE, blanked, lesson_sums
from sample.teacher.lessons import Mix, draw_lessons
from sample.teacher.model import IMAGE_TOKENS, WIDTH, connect, normalise, see
from sample.teacher.pictures import HELD_OUT, Pictures
from sample.teacher.strange import Shown, strange_of
from sample.teacher.talk import Talk

BLANKS = 1500
STRANGE = 6000
"""Pictures a domain that are made strange."""


@dataclass(frozen=True, slots=True)
class LanguagePlan:
    """Garments and scenes a step, what is practised about them, and the peak learning rate (Muon's)."""

    pictures: tuple[int, int] = (10, 22)
    mix: Mix = field(default_factory=Mix)
    lr: float = 0.003
    seed: int = 1_000_001


class LanguagePhase:
    """Decoder, output layer, and a judge that is thrown away afterwards."""

    def __init__(
        self,
        model: Idefics3ForConditionalGeneration,
        talk: Talk,
        pictures: list[Pictures],
        images: Path,
        plan: LanguagePlan,
    ) -> None:
        self.model, self.talk, self.pictures, self.plan = model, talk, pictures, plan
        self.images = [image_tokens(model, p, images / f"{p.domain}.npy") for p in pictures]
        self.blank = _see(model, blanked(np.random.default_rng(plan.seed), BLANKS))
        self.strange = [
            strange_tokens(model, each, STRANGE if wanted else 0, plan.seed)
            for each, wanted in zip(pictures, plan.mix.strange, strict=True)
        ]
        self.judge = nn.Linear(WIDTH, JUDGE_SIZE)
        self.modules: dict[str, nn.Module] = {"model": model, "judge": self.judge}
        inner: Any = model.model
        for part in (inner.vision_model, inner.connector):
            part.requires_grad_(False)
        parts: list[nn.Module] = [inner.text_model, model.lm_head, self.judge]
        self.optimizers = optim.build_optimizers([(part, 1.0) for part in parts], plan.lr, plan.lr / 2)

    def forward(self, held: bool, number: int) -> tuple[Tensor, Figures]:
        """Loss and shares of right answers of one step."""
        rng = random.Random(f"{self.plan.seed}-{number}-{held}")
        drawn = np.random.default_rng([self.plan.seed, number, held])
        looks, images = [], []
        for pictures, tokens, size in zip(self.pictures, self.images, self.plan.pictures, strict=True):
            count = len(pictures.pixels)
            low, high = (count - HELD_OUT, count) if held else (0, count - HELD_OUT)
            chosen = drawn.integers(low, high, size)
            looks += [pictures.look(int(index)) for index in chosen]
            images.append(tokens[chosen])
        # Strange and blank pictures are extra rows, the blank ones asked about as if they showed some of the
        # step's looks.
        usual, colors = list(looks), list[Shown]()
        for pictures, (tokens, shown_colors), wanted in zip(
            self.pictures, self.strange, self.plan.mix.strange, strict=True
        ):
            odd = drawn.integers(0, max(1, len(tokens)), 0 if held else wanted)
            looks += [pictures.look(int(index)) for index in odd]
            images.append(tokens[odd])
            colors += [shown_colors[index] for index in odd]
        looks += rng.sample(usual, self.plan.mix.blank)
        images.append(self.blank[drawn.integers(0, len(self.blank), self.plan.mix.blank)])
        shown = torch.from_numpy(np.concatenate(images)).float()
        if not held:
            shown = shown + 0.02 * shown.std() * torch.randn_like(shown)
        lessons = draw_lessons(rng, self.talk, looks, self.plan.mix, colors)
        with quick_products():
            sums = lesson_sums(self.model, self.judge, self.talk.letters, lessons, shown)
        return sums.loss(), sums.right


def image_tokens(
    model: Idefics3ForConditionalGeneration, pictures: Pictures, path: Path
) -> NDArray[np.float16]:
    """Image tokens [pictures, IMAGE_TOKENS, WIDTH] of all pictures, computed once per `path`."""
    if not path.exists():
        part = path.with_suffix(".part")
        shape = (len(pictures.pixels), IMAGE_TOKENS, WIDTH)
        part.parent.mkdir(parents=True, exist_ok=True)
        found = open_memmap(part, mode="w+", dtype=np.float16, shape=shape)
        for start in range(0, len(found), 250):
            found[start : start + 250] = _see(model, pictures.pixels[start : start + 250])
        found.flush()
        part.replace(path)
    loaded: NDArray[np.float16] = np.load(path, mmap_mode="r")
    return loaded


def strange_tokens(
    model: Idefics3ForConditionalGeneration, pictures: Pictures, count: int, seed: int
) -> tuple[NDArray[np.float16], list[Shown]]:
    """Image tokens of the first `count` pictures that are trained on, made strange, and what each then shows
    of its colors."""
    rng = np.random.default_rng(seed)
    count = min(count, len(pictures.pixels) - HELD_OUT)
    tokens = [np.empty((0, IMAGE_TOKENS, WIDTH), dtype=np.float16)]
    shown = list[Shown]()
    for start in range(0, count, 250):
        rows = range(start, min(start + 250, count))
        looks = [pictures.look(row) for row in rows]
        made, colors = strange_of(rng, np.array(pictures.pixels[rows.start : rows.stop]), looks)
        tokens.append(_see(model, made))
        shown += colors
    return np.concatenate(tokens), shown


@torch.no_grad()
def _see(model: Idefics3ForConditionalGeneration, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
    with quick_products():
        seen = connect(model, see(model, normalise(torch.from_numpy(np.array(pixels)))))
    tokens: NDArray[np.float16] = seen.to(torch.float16).numpy()
    return tokens
