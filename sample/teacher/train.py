"""The training loop of both phases: a wall-clock budget, resumable checkpoints, a JSONL log."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import Idefics3ForConditionalGeneration, PreTrainedTokenizerFast

from sample.teacher import optim
from sample.teacher.corpus import DOMAINS
from sample.teacher.language import AHEAD, JUDGE_SIZE, blanked, conversation_loss, draw_batch, question_loss
from sample.teacher.model import WIDTH, build_config, build_model, connect, normalise, see
from sample.teacher.pictures import Pictures
from sample.teacher.talk import Talk
from sample.teacher.tokens import GLUE
from sample.teacher.vision import Heads, all_pooled_labels

Phase = Literal["vision", "language"]
HELD_OUT = 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """One training run. `batch` = garments, scenes a step; `blank` more pictures show nothing."""

    phase: Phase
    minutes: float
    batch: tuple[int, int]
    blank: int = 0
    whole: float = 0.5  # share of conversations with all three stages
    statements: float = 2.0  # verify questions a picture
    echoes: int = 0  # conversations that only repeat random claims
    extra: int = 0  # scenes a step that only the dense loss sees
    lr: float = 0.01
    small_lr: float = 0.002
    vision_share: float = 1.0  # 0 freezes the tower
    connector_share: float = 0.3
    dense_weight: float = 1.0
    seed: int = 1_000_000
    save_minutes: float = 3.0
    log_steps: int = 50
    eval_steps: int = 250


def jitter(patches: Tensor) -> Tensor:
    """Pictures a little brighter or darker, and of a little more or less contrast."""
    gain = 1 + 0.06 * torch.randn(len(patches), 1, 1)
    return patches * gain + 0.03 * torch.randn(len(patches), 1, 1)


def mirror_labels(pooled: Tensor) -> Tensor:
    """Pooled labels of mirrored scenes: a rising diagonal falls, and the other way round."""
    last = pooled[:, -1]
    return torch.cat([pooled[:, :-1], torch.where(last >= 2, 5 - last, last)[:, None]], 1)


class Data:
    """Pictures of both domains in memory, with labels; the last 1,000 of each are held out."""

    def __init__(self, pictures: list[Pictures]) -> None:
        self.pictures = pictures
        self.pixels = [np.array(p.pixels) for p in pictures]
        self.cells = [np.array(p.labels).reshape(-1, 64, 4) for p in pictures]
        self.pooled = [self._pooled(p) for p in pictures]
        self.trained = len(self.pixels[0]) - HELD_OUT

    @staticmethod
    def _pooled(pictures: Pictures) -> NDArray[np.uint8]:
        path = pictures.folder / "pooled.npy"
        if not path.exists():
            np.save(path, all_pooled_labels(pictures))
        found: NDArray[np.uint8] = np.load(path)
        return found


class Trainer:
    """Model, discarded heads, optimisers and the step of either phase."""

    def __init__(self, plan: Plan, data: Data, tokenizer: PreTrainedTokenizerFast, prompts: Path) -> None:
        torch.manual_seed(plan.seed)
        self.plan, self.data = plan, data
        self.talk = Talk(tokenizer, prompts)
        self.model: Idefics3ForConditionalGeneration = build_model(build_config(tokenizer))
        self.heads = [Heads(domain) for domain in DOMAINS]
        self.judge = nn.Linear(WIDTH, JUDGE_SIZE)
        vocabulary = self.model.lm_head.out_features
        self.ahead = nn.ModuleList(nn.Linear(WIDTH, vocabulary) for _ in range(AHEAD))
        self.openings = torch.tensor([i for glue in GLUE for i in self.talk.ids(glue)])
        self.modules: dict[str, nn.Module] = {
            "model": self.model,
            "judge": self.judge,
            "ahead": self.ahead,
            **dict(zip(DOMAINS, self.heads, strict=True)),
        }
        inner: Any = self.model.model
        share = plan.vision_share
        parts: list[tuple[nn.Module, float]] = [(inner.connector, max(share, plan.connector_share))]
        if share:
            parts.append((inner.vision_model, share))
        if plan.dense_weight:
            parts += [(head, max(share, 0.1)) for head in self.heads]
        if plan.phase == "language":
            parts += [
                (inner.text_model, 1.0),
                (self.model.lm_head, 1.0),
                (self.judge, 1.0),
                (self.ahead, 1.0),
            ]
        self.optimizers = optim.build_optimizers(parts, plan.lr, plan.small_lr)
        self.step, self.spent = 0, 0.0

    def indices(self, held: bool, number: int) -> list[NDArray[np.int64]]:
        """Picture indices of step `number`, a function of the seed, so that a resumed run goes on."""
        rng = np.random.default_rng([self.plan.seed, number])
        low, high = (self.data.trained, self.data.trained + HELD_OUT) if held else (0, self.data.trained)
        garments, scenes = self.plan.batch
        return [rng.integers(low, high, size) for size in (garments, scenes + self.plan.extra)]

    def forward(self, held: bool, number: int) -> tuple[Tensor, dict[str, float]]:
        """Loss and figures of one batch."""
        indices = self.indices(held, number)
        chosen = [x[i] for x, i in zip(self.data.pixels, indices, strict=True)]
        mirrored = self.plan.phase == "vision" and not held and number % 2 == 1
        if mirrored:
            chosen = [x[:, :, ::-1] for x in chosen]
        patches = normalise(torch.from_numpy(np.concatenate(chosen)))
        if not held:
            patches = jitter(patches)
        figures: dict[str, float] = {}
        with torch.autocast("cpu", torch.bfloat16):
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.plan.vision_share > 0):
                states = see(self.model, patches)
            image = connect(self.model, states)
            loss = image.new_zeros(()).float()
            if self.plan.dense_weight:
                loss = self.plan.dense_weight * self._dense(indices, states, image, figures, mirrored)
            if self.plan.phase == "language":
                sizes = self.plan.batch
                asked = [chosen[:size] for chosen, size in zip(indices, sizes, strict=True)]
                loss = loss + self._language(number, held, asked, image[: sum(sizes)], figures)
        return loss, figures

    def _dense(
        self,
        indices: list[NDArray[np.int64]],
        states: Tensor,
        image: Tensor,
        figures: dict[str, float],
        mirrored: bool,
    ) -> Tensor:
        total = states.new_zeros(())
        start = 0
        for k, (domain, chosen) in enumerate(zip(DOMAINS, indices, strict=True)):
            part = slice(start, start + len(chosen))
            start += len(chosen)
            cells = torch.from_numpy(self.data.cells[k][chosen].astype(np.int64))
            pooled = torch.from_numpy(self.data.pooled[k][chosen].astype(np.int64))
            if mirrored:
                cells = cells.view(-1, 8, 8, cells.shape[-1]).flip(2).flatten(1, 2)
                pooled = mirror_labels(pooled) if domain == "scenes" else pooled
            loss, _, exact = self.heads[k].loss(states[part], image[part], cells, pooled)
            total = total + loss
            figures[f"{domain}_dense"], figures[f"{domain}_seen"] = float(loss.detach()), exact
        return total

    def _language(
        self,
        number: int,
        held: bool,
        indices: list[NDArray[np.int64]],
        image: Tensor,
        figures: dict[str, float],
    ) -> Tensor:
        rng = random.Random(f"{self.plan.seed}-{number}-{held}")
        looks = [
            p.look(int(i)) for p, chosen in zip(self.data.pictures, indices, strict=True) for i in chosen
        ]
        # Blank pictures are extra rows, asked about as if they showed some of the batch's looks.
        if self.plan.blank:
            pixels = blanked(np.random.default_rng([self.plan.seed, number, 1]), self.plan.blank)
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.plan.vision_share > 0):
                nothing = see(self.model, normalise(torch.from_numpy(pixels)))
            empty = connect(self.model, nothing)
            image = torch.cat([image, empty])
            looks += rng.sample(looks, self.plan.blank)
        plan = self.plan
        batch = draw_batch(rng, self.talk, looks, plan.blank, plan.statements, plan.whole, plan.echoes)
        count = sum(self.plan.batch)
        total, exact = conversation_loss(
            self.model,
            self.ahead,
            self.openings,
            batch.conversations,
            torch.cat([image[:count], image[: plan.echoes]]),
        )
        first = self.plan.batch[0]
        for domain, part in zip(DOMAINS, (exact[:first], exact[first:count]), strict=True):
            for stage, share in zip(("caption", "reasoning", "conclusion"), part.nanmean(0), strict=True):
                figures[f"{domain}_{stage}"] = float(share.nan_to_num(0.0))
        if plan.echoes:
            figures["echo"] = float(exact[count:, 2].mean())
        owners = torch.tensor(batch.question_owner)
        loss, right = question_loss(self.model, self.judge, self.talk.letters, batch.questions, image[owners])
        figures["verdict"], figures["claims"] = right
        return total + loss

    def save(self, path: Path) -> None:
        """Checkpoint everything that resuming needs."""
        optim.save_state(path, self.modules, self.optimizers, {"step": self.step, "minutes": self.spent})

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of the same plan."""
        missing = optim.load_modules(path, self.modules)
        if any(name.startswith("model/") for name in missing):
            raise ValueError(f"{path} is a checkpoint of another network: {missing[:3]}")
        optim.load_optimizers(path, self.optimizers)
        facts = optim.read_facts(path)
        self.step, self.spent = int(facts["step"]), facts["minutes"]

    def run(self, checkpoint: Path) -> None:
        """Train until the budget is spent; `checkpoint` is written every few minutes, beside its log."""
        begun, saved = time.monotonic() - 60 * self.spent, time.monotonic()
        sums: dict[str, float] = {}
        with checkpoint.with_suffix(".jsonl").open("a", encoding="utf-8") as log:
            while self.spent < self.plan.minutes:
                optim.set_rate(self.optimizers, optim.schedule(self.spent / self.plan.minutes))
                loss, figures = self.forward(False, self.step)
                loss.backward()  # type: ignore[no-untyped-call]
                for optimizer in self.optimizers:
                    optimizer.step()
                    optimizer.zero_grad()
                self.step += 1
                self.spent = (time.monotonic() - begun) / 60
                for key, value in {"loss": float(loss.detach()), **figures}.items():
                    sums[key] = sums.get(key, 0.0) + value
                if self.step % self.plan.log_steps == 0:
                    means = {key: round(value / self.plan.log_steps, 4) for key, value in sums.items()}
                    self._log(log, {"step": self.step, "minutes": round(self.spent, 2), **means})
                    sums = {}
                if self.step % self.plan.eval_steps == 0:
                    self._log(log, {"step": self.step, "held": True, **self.evaluate(6)})
                if time.monotonic() - saved > 60 * self.plan.save_minutes:
                    self.save(checkpoint)
                    saved = time.monotonic()
            self.save(checkpoint)
            self._log(log, {"step": self.step, "held": True, **self.evaluate(16)})

    @torch.no_grad()
    def evaluate(self, batches: int) -> dict[str, float]:
        """Mean figures over batches of held-out pictures."""
        sums: dict[str, float] = {}
        for number in range(batches):
            for key, value in self.forward(True, number)[1].items():
                sums[key] = sums.get(key, 0.0) + value / batches
        return {key: round(value, 4) for key, value in sums.items()}

    @staticmethod
    def _log(log: Any, record: dict[str, Any]) -> None:
        line = json.dumps(record)
        print(line, flush=True)
        log.write(line + "\n")
        log.flush()
