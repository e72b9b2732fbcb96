"""Phase 2: the language loss on answers, verdicts, and a discarded head that judges each stated claim."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import Idefics3ForConditionalGeneration

from sample import world
from sample.teacher.draw import SHOWN_SIZES, UNASKED, draw_statement, draw_triplet, shown
from sample.teacher.model import IMAGE_TOKENS, read
from sample.teacher.talk import IMAGE_START, Spoken, Talk

STAGE_WEIGHT = (0.0, 2.0, 1.0, 1.0)
CLAIM_WEIGHT = 0.5
SHOWN_WEIGHT = 0.2
# Most answer tokens are certain, so the mean loss is small beside the verdicts'; without this they drown it.
ANSWER_WEIGHT = 5.0
AHEAD_WEIGHT = 0.4
LOOK_WEIGHT = 0.3
# How many more tokens of a value are guessed, besides the next one, where the value begins.
AHEAD = 3
JUDGE_SIZE = 1 + sum(SHOWN_SIZES)
VERDICT_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class Batch:
    """What is asked of a batch of pictures: a conversation each, and questions with their picture's index."""

    conversations: list[Spoken]
    questions: list[Spoken]
    question_owner: list[int]


def draw_batch(
    rng: random.Random,
    talk: Talk,
    looks: Sequence[world.Look],
    blank: int,
    statements: float = 2.0,
    whole: float = 0.5,
    echoes: int = 0,
) -> Batch:
    """A conversation and some statements a picture; the last `blank` pictures show nothing.

    A share `whole` of the conversations has all three stages, the others stop after the caption. Half of
    the whole ones are about a look which is not the picture's, so that edits and conclusion must be read
    off the caption; `echoes` more conversations only repeat random claims, about the first pictures.
    """
    conversations, questions, owners = [], [], []
    for index, look in enumerate(looks):
        seen = index < len(looks) - blank
        if seen and rng.random() < whole:
            right = rng.random() < 0.5
            told = look if right else world.draw_look(rng, look.domain)
            conversations.append(talk.conversation(told, *draw_triplet(rng, told), seen=right))
        elif seen:
            conversations.append(talk.caption(world.claims(look)))
        for _ in range(int(statements + rng.random()) if seen else 1):
            claims, truths = draw_statement(rng, look)
            questions.append(talk.verification(claims, truths if seen else None, rng.random() < 0.5))
            questions[-1].claim_shown = [shown(look, claim) for claim in claims] if seen else []
            owners.append(index)
    for _ in range(echoes):
        pool = [claim for look in rng.sample(looks, 3) for claim in world.claims(look)]
        conversations.append(talk.echo(rng.sample(pool, rng.randint(3, 10))))
    return Batch(conversations, questions, owners)


def blanked(rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """Pictures of one colour (mostly gray), some with faint noise: nothing can be told from them."""
    color = rng.integers(0, 256, (count, 1, 1, 3))
    color = np.where(rng.random((count, 1, 1, 1)) < 0.6, color[..., :1], color)
    noise = rng.normal(0, 1, (count, 128, 128, 3)) * rng.choice([0, 0, 2, 8], (count, 1, 1, 1))
    pixels: NDArray[np.uint8] = np.clip(color + noise, 0, 255).astype(np.uint8)
    return pixels


def _embed(
    model: Idefics3ForConditionalGeneration, spoken: Sequence[Spoken], images: Tensor
) -> tuple[Tensor, Tensor]:
    """Right-padded token ids [B, T] and their embeddings with image tokens in place."""
    length = max(len(s.ids) for s in spoken)
    ids = torch.zeros((len(spoken), length), dtype=torch.long)
    for row, s in enumerate(spoken):
        ids[row, : len(s.ids)] = torch.tensor(s.ids)
    end = IMAGE_START + IMAGE_TOKENS
    inner: Any = model.model.text_model
    table = inner.embed_tokens
    parts = [table(ids[:, :IMAGE_START]), images.float(), table(ids[:, end:])]
    return ids, torch.cat(parts, 1)


def by_length(spoken: Sequence[Spoken], size: int) -> list[list[int]]:
    """Positions of the sequences in groups of at most `size` of like length, so that little is padding."""
    order = sorted(range(len(spoken)), key=lambda k: len(spoken[k].ids))
    return [order[k : k + size] for k in range(0, len(order), size)]


def conversation_loss(
    model: Idefics3ForConditionalGeneration,
    ahead: nn.ModuleList,
    openings: Tensor,
    spoken: Sequence[Spoken],
    images: Tensor,
) -> tuple[Tensor, Tensor]:
    """Weighted language loss; [B, 3]: is all of caption, reasoning, conclusion right (NaN unasked)."""
    exact = torch.zeros((len(spoken), 3))
    total, weights = images.new_zeros(()).float(), 0.0
    looked = images.new_zeros(()).float()
    groups = by_length(spoken, 16)
    for group in groups:
        loss, weight, exact[group], attended = _group_loss(
            model, ahead, openings, [spoken[k] for k in group], images[group]
        )
        total, weights, looked = total + loss, weights + weight, looked + attended
    return ANSWER_WEIGHT * total / weights + LOOK_WEIGHT * looked / len(groups), exact


def _ahead_loss(
    ahead: nn.ModuleList, openings: Tensor, ids: Tensor, stages: Tensor, hidden: Tensor
) -> Tensor:
    """Sum of the losses of guessing a value's 2nd to 4th token at the token that opens it.

    What is opened is then decided at once: a claim names its object last, yet must have chosen it first.
    """
    begins = torch.isin(ids, openings)
    begins[:, :-1] &= stages[:, 1:] > 0
    total = hidden.new_zeros(()).float()
    for distance, head in enumerate(ahead, start=2):
        rows, places = torch.nonzero(begins[:, :-distance] & (stages[:, distance:] > 0), as_tuple=True)
        logits = head(hidden[rows, places]).float()
        total = total + F.cross_entropy(logits, ids[rows, places + distance], reduction="sum")
    return total


def _group_loss(
    model: Idefics3ForConditionalGeneration,
    ahead: nn.ModuleList,
    openings: Tensor,
    spoken: Sequence[Spoken],
    images: Tensor,
) -> tuple[Tensor, float, Tensor, Tensor]:
    ids, embeds = _embed(model, spoken, images)
    stages = torch.zeros_like(ids)
    for row, s in enumerate(spoken):
        stages[row, : len(s.stages)] = torch.tensor(s.stages)
    watched: list[Tensor] = []
    hidden = read(model, embeds, watched)
    rows, places = torch.nonzero(stages[:, 1:], as_tuple=True)
    target, stage = ids[rows, places + 1], stages[rows, places + 1]
    logits = model.lm_head(hidden[rows, places]).float()
    losses = F.cross_entropy(logits, target, reduction="none")
    weight = torch.tensor(STAGE_WEIGHT)[stage]
    wrong = logits.argmax(-1) != target
    spoilt = torch.zeros(len(spoken), 4).index_put_((rows, stage), wrong.float(), accumulate=True)
    asked = torch.zeros_like(spoilt).index_put_((rows, stage), torch.ones(len(rows)), accumulate=True) > 0
    exact = torch.where(asked, (spoilt == 0).float(), torch.nan)[:, 1:]
    loss = (losses * weight).sum() + AHEAD_WEIGHT * _ahead_loss(ahead, openings, ids, stages, hidden)
    return loss, float(weight.sum()), exact, _look_loss(watched, spoken)


def _look_loss(watched: list[Tensor], spoken: Sequence[Spoken]) -> Tensor:
    """Two heads of the first layer look one and two tokens back, four later ones share looking at sources.

    These are the two halves of copying ("induction"), which otherwise takes thousands of steps to emerge.
    """
    first, *later = watched
    back = [-first[:, k].diagonal(-k - 1, 1, 2)[:, 20:].mean() for k in (0, 1)]
    rows = torch.tensor([row for row, s in enumerate(spoken) for _ in s.sources], dtype=torch.long)
    places = torch.tensor([t for s in spoken for t, _ in s.sources], dtype=torch.long)
    sources = torch.tensor([s for one in spoken for _, s in one.sources], dtype=torch.long)
    total = back[0] + back[1]
    if len(rows):
        heads = torch.stack([part[rows, h, places, sources] for part in later for h in (0, 1)])
        total = total - (torch.logsumexp(heads, 0) - math.log(len(heads))).mean()
    return total


@dataclass(slots=True)
class Judged:
    """Sums over questions: losses, right answers, counts (blank pictures apart)."""

    verdict_loss: Tensor | float = 0.0
    claim_loss: Tensor | float = 0.0
    right: float = 0.0
    told: float = 0.0
    claims_right: float = 0.0
    claims: float = 0.0
    shown_loss: Tensor | float = 0.0
    count: int = 0


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
    loss = loss + SHOWN_WEIGHT * sums.shown_loss / sums.count
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
    told_of = judge(hidden[rows, ends]).float()
    judged = told_of[:, 0]
    classes = torch.tensor([c for s in spoken for c in s.claim_shown])
    for number, part in enumerate(told_of[:, 1:].split(SHOWN_SIZES, -1)):
        if bool((classes[:, number] != UNASKED).any()):
            sums.shown_loss = sums.shown_loss + F.cross_entropy(
                part, classes[:, number], reduction="sum", ignore_index=UNASKED
            )
    sums.count += len(truths)
    # False claims are rare in a look-alike's statement, so they weigh more.
    weight = torch.where(truths > 0.5, 1.0, 3.0)
    sums.claim_loss = sums.claim_loss + F.binary_cross_entropy_with_logits(
        judged, truths, weight, reduction="sum"
    )
    sums.claims_right += float((((judged > 0) == (truths > 0.5)).float() * weight).sum())
    sums.claims += float(weight.sum())
