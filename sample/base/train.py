"""Trains the base model: captions of pictures and notes (language), and one vector a picture and a text.

The vision tower comes from the teacher's first phase (dense supervision of what each patch shows) and stays
as it is. First come copies of text alone: a language model that cannot copy learns little else from text, and
this one learns it in some 300 steps of nothing else. The state after the end token is pulled to the state of
what it describes, as CLIP does with pictures and captions, and farther from what differs in more (kin.py); no
state has ever seen a picture together with a wish to change it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import Idefics3ForConditionalGeneration, PreTrainedTokenizerFast

from annotate.errors import InputError
from sample import world
from sample.base.corpus import DOMAINS, IMAGE_START, Document, Scribe
from sample.base.kin import apart, draw_family, graded_loss, photographed
from sample.loop import Figures
from sample.processor import quick_products
from sample.teacher import optim
from sample.teacher.model import IMAGE_TOKENS, build_config, build_model, connect, normalise, read, see
from sample.teacher.pictures import HELD_OUT, Pictures

TEMPERATURE = 0.05
TOKENS_A_PASS = 4000
READ_SHARES = (0.2, 0.8)  # garments, scenes: of these more is said and less of each
SEEN = ("model/model.vision_model.", "model/model.connector.")


@dataclass(frozen=True, slots=True)
class Plan:
    """One training run: pictures a step with a caption (garments, scenes), parts of them with more."""

    batch: tuple[int, int] = (8, 16)
    contrasted: int = 12  # pictures a step that are also told by notes and stand for themselves
    families: tuple[int, int] = (6, 16)  # of look-alikes, which all stand for themselves
    beside: float = 0.5  # of the captioned pictures: the part that stands beside words about another one
    readings: int = 64  # texts a step that say a part of what a look is, and say it in order
    copies: int = 64  # texts a step that are to be copied from, the only ones at first; half of them later
    copying_steps: int = 500
    lr: float = 0.006
    small_lr: float = 0.002
    connector_share: float = 0.3
    contrast_weight: float = 0.5
    graded_weight: float = 0.5
    text_layers: int = 4
    seed: int = 2_000_000


def going_on(plan: Plan) -> Plan:
    """The plan for a model that was trained by it before: it can copy, and would forget at full rates."""
    return replace(plan, copying_steps=0, lr=plan.lr / 3, small_lr=plan.small_lr / 3)


def new_model(
    plan: Plan, tokenizer: PreTrainedTokenizerFast, vision: Path
) -> Idefics3ForConditionalGeneration:
    """A decoder that has learned nothing under the teacher's tower; `InputError` where that does not fit."""
    torch.manual_seed(plan.seed)
    model = build_model(build_config(tokenizer, text_layers=plan.text_layers))
    load_vision(model, vision)
    return model


class BasePractice:
    """Model, optimisers and the step (see loop.Phase)."""

    def __init__(
        self,
        plan: Plan,
        pictures: Sequence[Pictures],
        tokenizer: PreTrainedTokenizerFast,
        model: Idefics3ForConditionalGeneration,
    ) -> None:
        torch.manual_seed(plan.seed)
        self.plan, self.pictures = plan, pictures
        self.ready = [each.usable() for each in pictures]
        self.scribe = Scribe(tokenizer)
        self.model = model
        inner: Any = self.model.model
        inner.vision_model.requires_grad_(False)
        parts = [(inner.connector, plan.connector_share), (inner.text_model, 1.0), (self.model.lm_head, 1.0)]
        self.optimizers = optim.build_optimizers(parts, plan.lr, plan.small_lr)
        self.modules: dict[str, nn.Module] = {"model": self.model}

    def forward(self, held: bool, number: int) -> tuple[Tensor, Figures]:
        """Loss and figures of one batch, a function of the seed and `number`."""
        rng = random.Random(f"{self.plan.seed}-{number}-{held}")
        only_copies = number < self.plan.copying_steps and not held
        copies = [self.scribe.copy(rng) for _ in range(self.plan.copies // (1 if only_copies else 2))]
        if only_copies:
            with quick_products():
                texts = self._read(copies)
            loss = texts.nll / texts.tokens
            return loss, {"copies_loss": float(loss.detach()), "copied": _share(texts.exact)}
        looks, pixels = self._draw(held, number)
        told = rng.sample(range(len(looks)), self.plan.contrasted)
        notes = [self.scribe.notes(rng, looks[place]) for place in told]
        kin = [
            kin_of
            for domain, count in zip(DOMAINS, self.plan.families, strict=True)
            for kin_of in (draw_family(rng, domain) for _ in range(count))
        ]
        relatives = [look for family in kin for look in family]
        statements = [self.scribe.statement(rng, look) for look in relatives]
        readings = [
            self.scribe.reading(rng, world.draw_look(rng, domain))
            for domain, share in zip(DOMAINS, READ_SHARES, strict=True)
            for _ in range(round(self.plan.readings * share))
        ]
        beside = rng.sample(range(len(looks)), round(self.plan.beside * len(looks)))
        documents = [
            self.scribe.beside(rng, look, world.draw_look(rng, look.domain))
            if place in beside
            else self.scribe.caption(rng, look)
            for place, look in enumerate(looks)
        ]
        patches = normalise(torch.from_numpy(np.concatenate([pixels, photographed(rng, relatives)])))
        if not held:
            patches = patches * (1 + 0.06 * torch.randn(len(patches), 1, 1, generator=optim.numbered(number)))
        with quick_products():
            with torch.no_grad():
                states = see(self.model, patches)
            images = connect(self.model, states)
            captions = self._read(documents, images[: len(looks)])
            alone = [*told, *range(len(looks), len(images))]
            shown = self._read([self.scribe.picture(rng) for _ in alone], images[alone])
            texts = self._read([*notes, *statements, *copies, *readings])
        stated = texts.last[: len(alone)]
        contrast, found = contrast_loss(shown.last, stated)
        shape = (len(kin), -1, stated.shape[-1])
        seen, said = (each[len(told) :].view(shape) for each in (shown.last, stated))
        away = torch.tensor([apart(family) for family in kin])
        graded = graded_loss(said @ seen.transpose(1, 2) / TEMPERATURE, away)
        loss = (
            captions.nll / captions.tokens
            + texts.nll / texts.tokens
            + self.plan.contrast_weight * contrast
            + self.plan.graded_weight * graded
        )
        garments = self.plan.batch[0]
        plain = torch.ones(len(looks), dtype=torch.bool)
        plain[beside] = False
        kinds = [len(notes) + len(statements), len(copies), len(readings)]
        _, copied, read_again = torch.split(texts.exact, kinds)
        figures = {
            "caption_loss": float((captions.nll / captions.tokens).detach()),
            "text_loss": float((texts.nll / texts.tokens).detach()),
            "contrast": float(contrast.detach()),
            "graded": float(graded.detach()),
            "garments_caption": _share(captions.exact[:garments][plain[:garments]]),
            "scenes_caption": _share(captions.exact[garments:][plain[garments:]]),
            "copied": _share(copied),
            "read_beside": _share(captions.exact[~plain]),
            "read": _share(read_again),
            "found": found,
        }
        return loss, figures

    def _draw(self, held: bool, number: int) -> tuple[list[world.Look], Any]:
        rng = np.random.default_rng([self.plan.seed, number, held])
        looks, pixels = [], []
        for each, usable, size in zip(self.pictures, self.ready, self.plan.batch, strict=True):
            pool = usable[-HELD_OUT:] if held else usable[:-HELD_OUT]
            chosen = rng.choice(pool, size)
            looks += [each.look(int(index)) for index in chosen]
            pixels.append(each.pixels[chosen])
        return looks, np.concatenate(pixels)

    def _read(self, documents: Sequence[Document], images: Tensor | None = None) -> Reading:
        """Read documents in groups of like length, so that little is padding."""
        order = sorted(range(len(documents)), key=lambda place: len(documents[place].ids))
        done: list[Reading] = []
        while order:
            size = 1
            while size < len(order) and (size + 1) * len(documents[order[size]].ids) <= TOKENS_A_PASS:
                size += 1
            group, order = order[:size], order[size:]
            done.append(
                _read_group(
                    self.model,
                    [documents[k] for k in group],
                    None if images is None else images[group],
                    group,
                )
            )
        places = torch.tensor([place for each in done for place in each.places]).argsort()
        return Reading(
            torch.stack([each.nll for each in done]).sum(),
            max(1, sum(each.tokens for each in done)),
            torch.cat([each.exact for each in done])[places],
            torch.cat([each.last for each in done])[places],
            (),
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """Summed loss of the learned tokens, their number, whether each document was foretold exactly, and the
    unit state at each end. `places`: where the documents stood."""

    nll: Tensor
    tokens: int
    exact: Tensor
    last: Tensor
    places: Sequence[int]


def _read_group(
    model: Idefics3ForConditionalGeneration,
    documents: Sequence[Document],
    images: Tensor | None,
    places: Sequence[int],
) -> Reading:
    length = max(len(document.ids) for document in documents)
    ids = torch.zeros((len(documents), length), dtype=torch.long)
    learned = torch.zeros_like(ids, dtype=torch.bool)
    for row, document in enumerate(documents):
        ids[row, : len(document.ids)] = torch.tensor(document.ids)
        learned[row, list(document.learned)] = True
    inner: Any = model.model.text_model
    embeds = inner.embed_tokens(ids)
    if images is not None:
        end = IMAGE_START + IMAGE_TOKENS
        embeds = torch.cat([embeds[:, :IMAGE_START], images.to(embeds.dtype), embeds[:, end:]], 1)
    states = read(model, embeds)
    rows, before = torch.nonzero(learned[:, 1:], as_tuple=True)
    wanted = ids[rows, before + 1]
    exact = torch.ones(len(documents), dtype=torch.bool)
    nll = states.new_zeros(())
    if len(rows):
        logits = model.lm_head(states[rows, before]).float()
        nll = F.cross_entropy(logits, wanted, reduction="sum")
        exact[rows[logits.argmax(-1) != wanted]] = False
    ends = torch.tensor([len(document.ids) - 1 for document in documents])
    last = F.normalize(states[torch.arange(len(documents)), ends].float(), dim=-1)
    return Reading(nll, len(rows), exact, last, places)


def contrast_loss(pictures: Tensor, texts: Tensor) -> tuple[Tensor, float]:
    """InfoNCE both ways of pictures [n] and texts [n + look-alikes]; share of pictures that find theirs."""
    scores = pictures @ texts.T / TEMPERATURE
    own = torch.arange(len(pictures))
    back = scores[:, : len(pictures)].T
    found = float((scores.argmax(1) == own).float().mean())
    return (F.cross_entropy(scores, own) + F.cross_entropy(back, own)) / 2, found


def load_vision(model: Idefics3ForConditionalGeneration, checkpoint: Path) -> None:
    """Vision tower and connector of the teacher's vision phase; raises `InputError` when they do not fit."""
    if not checkpoint.is_file():
        raise InputError(
            f"{checkpoint}: no checkpoint of the teacher's vision phase; train the teacher first"
        )
    own = model.state_dict()
    found = load_file(checkpoint)
    for name in (name for name in own if f"model/{name}".startswith(SEEN)):
        tensor = found.get(f"model/{name}")
        if tensor is None or tensor.shape != own[name].shape:
            raise InputError(f"{checkpoint}: has no {name} of this shape; it is of another network")
        own[name].copy_(tensor)


def _share(exact: Tensor) -> float:
    return float(exact.float().mean()) if len(exact) else 0.0
