"""Phase 2: the language loss on answers, verdicts, and a discarded head that judges each claim of a statement."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import Idefics3ForConditionalGeneration

from sample import world
from sample.teacher.draw import draw_statement, draw_triplet
from sample.teacher.model import IMAGE_TOKENS, read
from sample.teacher.talk import IMAGE_START, Spoken, Talk

STAGE_WEIGHT = (0.0, 2.0, 1.0, 1.0)
CLAIM_WEIGHT = 0.5
VERDICT_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class Batch:
    """What is asked about a batch of pictures: a conversation each, and questions with their picture's index."""

    conversations: list[Spoken]
    questions: list[Spoken]
    question_owner: list[int]


def draw_batch(
    rng: random.Random,
    talk: Talk,
    looks: Sequence[world.Look],
    blank: int,
    statements: int = 2,
    whole: float = 0.5,
) -> Batch:
    """A conversation and some statements a picture; the last `blank` pictures show nothing.

    A share `whole` of the conversations has all three stages, the others stop after the caption.
    """
    conversations, questions, owners = [], [], []
    for index, look in enumerate(looks):
        seen = index < len(looks) - blank
        if seen and rng.random() < whole:
            edits, text = draw_triplet(rng, look)
            conversations.append(talk.conversation(look, edits, text))
        elif seen:
            conversations.append(talk.caption(look))
        for _ in range(statements):
            claims, truths = draw_statement(rng, look)
            questions.append(talk.verification(claims, truths if seen else None, rng.random() < 0.5))
            owners.append(index)
    return Batch(conversations, questions, owners)


def blanked(rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """Pictures of one colour (mostly gray), some with faint noise: nothing can be told from them."""
    color = rng.integers(0, 256, (count, 1, 1, 3))
    color = np.where(rng.random((count, 1, 1, 1)) < 0.6, color[..., :1], color)
    noise = rng.normal(0, 1, (count, 128, 128, 3)) * rng.choice([0, 0, 2, 8], (count, 1, 1, 1))
    return np.clip(color + noise, 0, 255).astype(np.uint8)


def _embed(
    model: Idefics3ForConditionalGeneration, spoken: Sequence[Spoken], images: Tensor
) -> tuple[Tensor, Tensor]:
    """Right-padded token ids [B, T] and their embeddings with image tokens in place."""
    length = max(len(s.ids) for s in spoken)
    ids = torch.zeros((len(spoken), length), dtype=torch.long)
    for row, s in enumerate(spoken):
        ids[row, : len(s.ids)] = torch.tensor(s.ids)
    end = IMAGE_START + IMAGE_TOKENS
    table = model.get_input_embeddings()
    parts = [table(ids[:, :IMAGE_START]), images.float(), table(ids[:, end:])]
    return ids, torch.cat(parts, 1)


def by_length(spoken: Sequence[Spoken], size: int) -> list[list[int]]:
    """Positions of the sequences in groups of at most `size` of like length, so that little is padding."""
    order = sorted(range(len(spoken)), key=lambda k: len(spoken[k].ids))
    return [order[k : k + size] for k in range(0, len(order), size)]


def conversation_loss(
    model: Idefics3ForConditionalGeneration, spoken: Sequence[Spoken], images: Tensor
) -> tuple[Tensor, Tensor]:
    """Weighted language loss; [B, 3]: 1 where every token of caption, reasoning, conclusion is right, NaN unasked."""
    exact = torch.zeros((len(spoken), 3))
    total, weights = images.new_zeros(()).float(), 0.0
    for group in by_length(spoken, 16):
        loss, weight, exact[group] = _group_loss(model, [spoken[k] for k in group], images[group])
        total, weights = total + loss, weights + weight
    return total / weights, exact


def _group_loss(
    model: Idefics3ForConditionalGeneration, spoken: Sequence[Spoken], images: Tensor
) -> tuple[Tensor, float, Tensor]:
    ids, embeds = _embed(model, spoken, images)
    stages = torch.zeros_like(ids)
    for row, s in enumerate(spoken):
        stages[row, : len(s.stages)] = torch.tensor(s.stages)
    hidden = read(model, embeds)
    rows, places = torch.nonzero(stages[:, 1:], as_tuple=True)
    target, stage = ids[rows, places + 1], stages[rows, places + 1]
    logits = model.lm_head(hidden[rows, places]).float()
    losses = F.cross_entropy(logits, target, reduction="none")
    weight = torch.tensor(STAGE_WEIGHT)[stage]
    wrong = logits.argmax(-1) != target
    spoilt = torch.zeros(len(spoken), 4).index_put_((rows, stage), wrong.float(), accumulate=True)
    asked = torch.zeros_like(spoilt).index_put_((rows, stage), torch.ones(len(rows)), accumulate=True) > 0
    exact = torch.where(asked, (spoilt == 0).float(), torch.nan)[:, 1:]
    return (losses * weight).sum(), float(weight.sum()), exact


@dataclass(slots=True)
class Judged:
    """Sums over questions: losses, right answers, counts (blank pictures apart)."""

    verdict_loss: Tensor | float = 0.0
    claim_loss: Tensor | float = 0.0
    right: float = 0.0
    told: float = 0.0
    claims_right: float = 0.0
    claims: float = 0.0


def question_loss(
    model: Idefics3ForConditionalGeneration,
    judge: nn.Linear,
    letters: Sequence[int],
    spoken: Sequence[Spoken],
    images: Tensor,
) -> tuple[Tensor, list[float]]:
    """Verdict loss and claim loss; share of verdicts and of claims that are right (blank pictures apart)."""
    sums = Judged()
    for group in by_length(spoken, 40):
        _judge_group(sums, model, judge, letters, [spoken[k] for k in group], images[group])
    loss = VERDICT_WEIGHT * sums.verdict_loss / len(spoken) + CLAIM_WEIGHT * sums.claim_loss / sums.claims
    assert isinstance(loss, Tensor)
    return loss, [sums.right / sums.told, sums.claims_right / sums.claims]


def _judge_group(
    sums: Judged,
    model: Idefics3ForConditionalGeneration,
    judge: nn.Linear,
    letters: Sequence[int],
    spoken: Sequence[Spoken],
    images: Tensor,
) -> None:
    _, embeds = _embed(model, spoken, images)
    hidden = read(model, embeds)
    last = torch.tensor([len(s.ids) - 1 for s in spoken])
    logits = F.log_softmax(model.lm_head(hidden[torch.arange(len(spoken)), last]).float(), -1)
    verdicts = torch.tensor([s.verdict for s in spoken])
    a, b = logits[:, letters[0]], logits[:, letters[1]]
    sums.verdict_loss = sums.verdict_loss - (verdicts * a + (1 - verdicts) * b).sum()
    told = verdicts != 0.5
    sums.right += float(((a > b) == (verdicts > 0.5))[told].sum())
    sums.told += float(told.sum())
    if not any(s.claim_ends for s in spoken):
        return
    rows = torch.tensor([row for row, s in enumerate(spoken) for _ in s.claim_ends])
    ends = torch.tensor([end for s in spoken for end in s.claim_ends])
    truths = torch.tensor([float(t) for s in spoken for t in s.claim_truths])
    judged = judge(hidden[rows, ends]).squeeze(-1).float()
    # False claims are rare in a look-alike's statement, so they weigh more.
    weight = torch.where(truths > 0.5, 1.0, 3.0)
    sums.claim_loss = sums.claim_loss + F.binary_cross_entropy_with_logits(
        judged, truths, weight, reduction="sum"
    )
    sums.claims_right += float((((judged > 0) == (truths > 0.5)).float() * weight).sum())
    sums.claims += float(weight.sum())
