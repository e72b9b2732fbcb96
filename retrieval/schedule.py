"""Training settings, and what each step does with them: learning rate, weights of the two losses."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from annotate.errors import UsageError
from retrieval.data import TrainCaptions

Stages = Literal["one", "two"]
Blank = Literal["none", "image", "text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """Everything that determines a training run besides data and model."""

    steps: int = 300
    batch: int = 32
    chunk: int = 32
    grad_cache: bool = False
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    warmup: float = 0.1  # part of the steps
    clip: float = 1.0
    lambda_txt: float = 1.0
    lambda_info: float = 1.0
    stages: Stages = "one"
    first_stage: float = 0.5  # two stages: the part of the steps that trains the chain only
    chain: bool = True  # False: plain InfoNCE, no chain between modification and `<emb>`
    shuffle_chains: bool = False  # ablation: chains of other triplets of the batch
    blank: Blank = "none"  # ablation: train and evaluate with one input blanked
    captions: TrainCaptions = "clip4cir"
    hard_negatives: int = 0
    weights: str = ""  # how often each dataset is drawn, e.g. cirr=1,fashioniq=2 (default: by rows)
    hold_out: bool = False  # leave out the tenth of the references that learning rates are chosen on
    save_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        positive = ("steps", "batch", "chunk", "learning_rate", "clip", "save_every")
        for name in positive:
            if not getattr(self, name) > 0:
                raise UsageError(f"{name.replace('_', '-')} is {getattr(self, name)}; it must be above 0")
        for name in ("warmup", "first_stage"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name.replace('_', '-')} is {getattr(self, name)}; it must be from 0 to 1")
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"seed is {self.seed}; it must be from 0 to {2**31 - 1}")
        if self.hard_negatives < 0:
            raise UsageError(f"hard-negatives is {self.hard_negatives}; it must be 0 or more")
        if self.batch < 2 and self.lambda_info:
            raise UsageError(
                "batch is 1, but a contrastive loss needs other targets to contrast with; take more"
            )

        self.dataset_weights()

    def dataset_weights(self) -> dict[str, float] | None:
        """`weights` by dataset name; None when they go by rows."""
        if not self.weights:
            return None
        parts = [part.partition("=") for part in self.weights.split(",")]
        try:
            return {name.strip(): float(value) for name, _, value in parts}
        except ValueError as error:
            raise UsageError(f"weights {self.weights!r} is not like cirr=1,fashioniq=2") from error

    def as_json(self) -> dict[str, Any]:
        """All settings by name."""
        return dataclasses.asdict(self)


def learning_rate(settings: TrainSettings, step: int) -> float:
    """Linear warm-up, then half a cosine to 0; `step` counts from 0."""
    warm = max(1, round(settings.warmup * settings.steps))
    if step < warm:
        return settings.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, settings.steps - warm)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def loss_weights(settings: TrainSettings, step: int) -> tuple[float, float]:
    """(lambda_txt, lambda_info) of a step. Two stages: first the chain alone, then the contrast alone."""
    text = settings.lambda_txt if settings.chain else 0.0
    if settings.stages == "one":
        return text, settings.lambda_info
    return (text, 0.0) if step < round(settings.first_stage * settings.steps) else (0.0, settings.lambda_info)
