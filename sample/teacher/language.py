"""The language phase's losses: answers, verdicts, and a discarded head that judges each stated claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import Idefics3ForConditionalGeneration

from sample.teacher.draw import SHOWN_SIZES, UNASKED
from sample.teacher.lessons import Lesson
from sample.teacher.model import IMAGE_TOKENS, read
from sample.teacher.talk import IMAGE_START

STAGE_NAMES = ("caption", "reasoning", "conclusion")
# Most answer tokens are certain, so their mean loss is small beside the verdicts'; without weight it drowns.
ANSWER_WEIGHT = 3.0
VERDICT_WEIGHT = 1.0
CLAIM_WEIGHT = 0.3
SHOWN_WEIGHT = 0.2
JUDGE_SIZE = 1 + sum(SHOWN_SIZES)


def blanked(rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """Pictures of one colour (mostly gray), some with faint noise: nothing can be told from them."""
    color = rng.integers(0, 256, (count, 1, 1, 3))
    color = np.where(rng.random((count, 1, 1, 1)) < 0.6, color[..., :1], color)
    noise = rng.normal(0, 1, (count, 128, 128, 3)) * rng.choice([0, 0, 2, 8], (count, 1, 1, 1))
    pixels: NDArray[np.uint8] = np.clip(color + noise, 0, 255).astype(np.uint8)
    return pixels


@dataclass(slots=True)
class Sums:
    """Loss sums with their counts, and shares of right answers by kind of lesson (as lists of 0 and 1)."""

    answers: Tensor | float = 0.0
    answer_count: int = 0
    verdicts: Tensor | float = 0.0
    verdict_count: int = 0
    claims: Tensor | float = 0.0
    claim_count: float = 0.0
    shown: Tensor | float = 0.0
    right: dict[str, list[float]] = field(default_factory=dict)

    def note(self, name: str, values: Sequence[float]) -> None:
        self.right.setdefault(name, []).extend(values)

    def loss(self) -> Tensor:
        """The weighted sum of the means."""
        total = ANSWER_WEIGHT * self.answers / max(1, self.answer_count)
        total = total + VERDICT_WEIGHT * self.verdicts / max(1, self.verdict_count)
        total = total + CLAIM_WEIGHT * self.claims / max(1.0, self.claim_count)
        total = total + SHOWN_WEIGHT * self.shown / max(1.0, self.claim_count)
        assert isinstance(total, Tensor)
        return total


def by_length(lessons: Sequence[Lesson], tokens: int = 2400) -> list[list[int]]:
    """Positions of the lessons in groups of like length and at most so many tokens, so little is padding."""
    order = sorted(range(len(lessons)), key=lambda k: len(lessons[k].spoken.ids))
    groups: list[list[int]] = [[]]
    for k in order:
        if groups[-1] and (len(groups[-1]) + 1) * len(lessons[k].spoken.ids) > tokens:
            groups.append([])
        groups[-1].append(k)
    return groups


def lesson_sums(
    model: Idefics3ForConditionalGeneration,
    judge: nn.Linear,
    letters: Sequence[int],
    lessons: Sequence[Lesson],
    images: Tensor,
) -> Sums:
    """All losses and figures of a step; `images` [pictures, IMAGE_TOKENS, width]."""
    sums = Sums()
    for group in by_length(lessons):
        _group(sums, model, judge, letters, [lessons[k] for k in group], images)
    return sums


def _embed(
    model: Idefics3ForConditionalGeneration, lessons: Sequence[Lesson], images: Tensor
) -> tuple[Tensor, Tensor]:
    """Right-padded token ids [B, T] and their embeddings with image tokens in place."""
    length = max(len(lesson.spoken.ids) for lesson in lessons)
    ids = torch.zeros((len(lessons), length), dtype=torch.long)
    for row, lesson in enumerate(lessons):
        ids[row, : len(lesson.spoken.ids)] = torch.tensor(lesson.spoken.ids)
    inner: Any = model.model.text_model
    end = IMAGE_START + IMAGE_TOKENS
    table = inner.embed_tokens(ids)
    first = images[[lesson.picture for lesson in lessons]].float()
    embeds = torch.cat([table[:, :IMAGE_START], first, table[:, end:]], 1)
    two = [row for row, lesson in enumerate(lessons) if lesson.second is not None]
    if two:
        places = torch.tensor([lessons[row].spoken.second_image for row in two])[:, None]
        rows = torch.tensor(two)[:, None].expand(-1, IMAGE_TOKENS)
        second = images[[lessons[row].second for row in two]].float()
        embeds = embeds.index_put((rows, places + torch.arange(IMAGE_TOKENS)), second)
    return ids, embeds


def _group(
    sums: Sums,
    model: Idefics3ForConditionalGeneration,
    judge: nn.Linear,
    letters: Sequence[int],
    lessons: Sequence[Lesson],
    images: Tensor,
) -> None:
    ids, embeds = _embed(model, lessons, images)
    hidden = read(model, embeds)
    stages = torch.zeros_like(ids)
    for row, lesson in enumerate(lessons):
        stages[row, : len(lesson.spoken.stages)] = torch.tensor(lesson.spoken.stages)
    rows, places = torch.nonzero(stages[:, 1:], as_tuple=True)
    if len(rows):
        target, stage = ids[rows, places + 1], stages[rows, places + 1]
        logits = model.lm_head(hidden[rows, places]).float()
        sums.answers = sums.answers + F.cross_entropy(logits, target, reduction="sum")
        sums.answer_count += len(rows)
        wrong = (logits.argmax(-1) != target).float()
        spoilt = torch.zeros(len(lessons), 4).index_put_((rows, stage), wrong, accumulate=True)
        asked = torch.zeros_like(spoilt).index_put_((rows, stage), torch.ones(len(rows)), accumulate=True)
        for row, lesson in enumerate(lessons):
            for number, name in enumerate(STAGE_NAMES, start=1):
                if asked[row, number]:
                    kind = name if lesson.kind in ("caption", "chain") else lesson.kind
                    domain = "garments" if lesson.garments else "scenes"
                    sums.note(f"{domain}_{kind}", [float(spoilt[row, number] == 0)])
    _verdicts(sums, model, letters, lessons, hidden)
    _claims(sums, judge, lessons, hidden)


def _verdicts(
    sums: Sums,
    model: Idefics3ForConditionalGeneration,
    letters: Sequence[int],
    lessons: Sequence[Lesson],
    hidden: Tensor,
) -> None:
    judged = [row for row, lesson in enumerate(lessons) if lesson.spoken.verdict is not None]
    if not judged:
        return
    last = torch.tensor([len(lessons[row].spoken.ids) - 1 for row in judged])
    logits = F.log_softmax(model.lm_head(hidden[judged, last]).float(), -1)
    verdicts = torch.tensor([lessons[row].spoken.verdict for row in judged])
    a, b = logits[:, letters[0]], logits[:, letters[1]]
    sums.verdicts = sums.verdicts - (verdicts * a + (1 - verdicts) * b).sum()
    sums.verdict_count += len(judged)
    right = ((a > b) == (verdicts > 0.5)).tolist()
    for row, hit in zip(judged, right, strict=True):
        if lessons[row].kind != "blank":
            domain = "garments" if lessons[row].garments else "scenes"
            sums.note(f"{domain}_{lessons[row].kind}", [float(hit)])


def _claims(sums: Sums, judge: nn.Linear, lessons: Sequence[Lesson], hidden: Tensor) -> None:
    """At each claim's last token: does it hold, and what does the picture show of it instead?"""
    stated = [(row, lesson.spoken) for row, lesson in enumerate(lessons) if lesson.spoken.claim_ends]
    if not stated:
        return
    rows = torch.tensor([row for row, s in stated for _ in s.claim_ends])
    ends = torch.tensor([end for _, s in stated for end in s.claim_ends])
    truths = torch.tensor([float(t) for _, s in stated for t in s.claim_truths])
    classes = torch.tensor([c for _, s in stated for c in s.claim_shown])
    told = judge(hidden[rows, ends]).float()
    # False claims are rare in a look-alike's statement, so they weigh more.
    weight = torch.where(truths > 0.5, 1.0, 3.0)
    sums.claims = sums.claims + F.binary_cross_entropy_with_logits(
        told[:, 0], truths, weight, reduction="sum"
    )
    sums.claim_count += len(truths)
    right = ((told[:, 0] > 0) == (truths > 0.5)).float().tolist()
    for row, hit in zip(rows.tolist(), right, strict=True):
        sums.note(f"judge_{lessons[row].kind}", [hit])
    for number, part in enumerate(told[:, 1:].split(SHOWN_SIZES, -1)):
        if bool((classes[:, number] != UNASKED).any()):
            sums.shown = sums.shown + F.cross_entropy(
                part, classes[:, number], reduction="sum", ignore_index=UNASKED
            )
