"""Phase 1: dense supervision of the vision tower and connector, whose heads are thrown away afterwards."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sample import world
from sample.garments import PARTS
from sample.teacher.draw import UNASKED
from sample.teacher.model import WIDTH
from sample.teacher.pictures import Pictures
from sample.teacher.strange import NO_WORD, UNSURE, WORDS, Shown, color_of
from sample.vocabulary import (
    ARRANGEMENTS,
    BACKGROUNDS,
    COLORS,
    GARMENT_NOUNS,
    GARMENT_VALUES,
    KINDS,
    PATTERNS,
    SIZES,
)

CELL_CLASSES: Final = {
    "garments": (len(PARTS) + 1,),
    "scenes": (len(KINDS) + 1, len(COLORS) + 1, len(SIZES) + 1, len(PATTERNS) + 1),
}
# Pooled questions: a garment's category and nine aspects; a scene's 8 kinds x (size, pattern, color), 2 more.
# Of colors there is one more, that no word fits.
POOLED_CLASSES: Final = {
    "garments": (len(GARMENT_NOUNS), *(len(v) + (a == "color") for a, v in GARMENT_VALUES.items())),
    "scenes": (
        *((len(SIZES) + 1, len(PATTERNS) + 1, len(COLORS) + 2) * len(KINDS)),
        len(BACKGROUNDS),
        len(ARRANGEMENTS),
    ),
}


def pooled_labels(look: world.Look) -> list[int]:
    """Class of each pooled question for this look (0 = object absent)."""
    if look.domain == "garments":
        values = [GARMENT_VALUES[a].index(v) for a, v in look.attributes]
        return [list(GARMENT_NOUNS).index(look.category or "dress"), *values]
    found: list[int] = []
    for kind in KINDS:
        words = look.value(kind).split()
        tables = (SIZES, PATTERNS, COLORS)
        found += (
            [0, 0, 0] if len(words) == 1 else [t.index(w) + 1 for t, w in zip(tables, words, strict=True)]
        )
    return [
        *found,
        BACKGROUNDS.index(look.value("background")),
        ARRANGEMENTS.index(look.value("arrangement")),
    ]


def color_classes(look: world.Look, shown: Shown) -> list[tuple[int, int]]:
    """(pooled question, class) of each color of a look whose strange picture shows `shown`; `UNASKED` where
    nothing is known."""
    words = WORDS[look.domain]

    def known(word: str, first: int) -> int:
        if word == UNSURE:
            return UNASKED
        return first + (len(words) if word == NO_WORD else words.index(word))

    if look.domain == "garments":
        return [(1, known(shown[look.value("color")], 0))]
    found = [(3 * len(KINDS), UNASKED)]  # a background in strange colors
    for number, kind in enumerate(KINDS):
        if (color := color_of(look, kind)) is not None:
            found.append((3 * number + 2, known(shown[color], 1)))
    return found


def all_pooled_labels(pictures: Pictures) -> NDArray[np.uint8]:
    """Pooled labels [N, questions] of all pictures."""
    return np.array([pooled_labels(pictures.look(i)) for i in range(len(pictures.pixels))], dtype=np.uint8)


class Heads(nn.Module):
    """Classifiers of one domain: a linear one a cell, attention pooling over the image tokens a question."""

    def __init__(self, domain: world.Domain) -> None:
        super().__init__()
        self.cell_sizes = CELL_CLASSES[domain]
        self.pooled_sizes = POOLED_CLASSES[domain]
        self.shared = 3 if domain == "scenes" else 1
        queries = len(KINDS) + 2 if domain == "scenes" else len(self.pooled_sizes)
        self.cells = nn.Linear(WIDTH, sum(self.cell_sizes))
        self.norm = nn.LayerNorm(WIDTH)
        self.keys = nn.Linear(WIDTH, WIDTH)
        self.values = nn.Linear(WIDTH, WIDTH)
        self.queries = nn.Parameter(torch.randn(6, queries, WIDTH // 6) * 0.3)
        # A scene's arrangement needs all its objects, so it is the hardest of its questions.
        several = len(KINDS) * 3
        self.weights = [0.12] * several + [0.12, 0.6] if domain == "scenes" else [0.25] * queries
        self.answers = nn.ModuleList(nn.Linear(WIDTH, size) for size in self.pooled_sizes)

    def pooled(self, image: Tensor) -> list[Tensor]:
        """Logits of each pooled question from image embeddings [B, 16, width]."""
        image = self.norm(image)
        keys, values = (f(image).unflatten(-1, (6, -1)).transpose(1, 2) for f in (self.keys, self.values))
        scores = torch.einsum("hqd,bhtd->bhqt", self.queries.to(keys.dtype), keys) * (WIDTH // 6) ** -0.5
        read = (F.softmax(scores, -1, dtype=scores.dtype) @ values).transpose(1, 2).flatten(2)
        several = (len(KINDS) * 3) if self.shared == 3 else 0
        place = [*(k // 3 for k in range(several)), *range(several // 3, read.shape[1])]
        return [answer(read[:, p]) for answer, p in zip(self.answers, place, strict=True)]

    def loss(self, states: Tensor, image: Tensor, cells: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Loss, and which pooled questions [B, questions] were answered right; `UNASKED` ones count as it."""
        total = states.new_zeros(())
        logits = self.cells(states).float().flatten(0, 1)
        for number, part in enumerate(logits.split(self.cell_sizes, -1)):
            total = total + F.cross_entropy(part, cells[..., number].flatten(), ignore_index=UNASKED)
        right = []
        for number, answer in enumerate(self.pooled(image)):
            weight = self.weights[number]
            total = total + weight * F.cross_entropy(answer.float(), pooled[:, number], ignore_index=UNASKED)
            right.append((answer.argmax(-1) == pooled[:, number]) | (pooled[:, number] == UNASKED))
        return total, torch.stack(right, -1)
