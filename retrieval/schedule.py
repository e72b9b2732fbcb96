"""Training settings, and what each step does with them: learning rate, weights of the two losses."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotate.errors import UsageError
from retrieval.data import TrainCaptions

Stages = Literal["one", "two"]
Blank = Literal["none", "image", "text"]


_HOW = ("chunk", "grad_cache", "save_every")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """Everything that determines a training run besides data and model; the texts are the flags' help."""

    steps: Annotated[int, "optimiser steps"] = 300
    batch: Annotated[int, "rows a step, of all processes together"] = 32
    chunk: Annotated[int, "rows that are embedded at a time"] = 32
    grad_cache: Annotated[bool, "memory for one chunk only, at the price of embedding twice"] = False
    learning_rate: Annotated[float, "highest rate, after the warm-up"] = 1e-4
    weight_decay: Annotated[float, "of AdamW"] = 0.01
    beta2: Annotated[float, "of AdamW: how slowly it forgets how large the gradients were"] = 0.999
    warmup: Annotated[float, "part of the steps in which the rate rises"] = 0.1
    clip: Annotated[float, "longest gradient; a longer one is shortened to it"] = 1.0
    lambda_txt: Annotated[float, "weight of the chain's loss"] = 1.0
    lambda_info: Annotated[float, "weight of the contrastive loss"] = 1.0
    stages: Annotated[Stages, "one: both losses together; two: the chain first, then the contrast"] = "one"
    first_stage: Annotated[float, "two stages: the part of the steps that trains the chain only"] = 0.5
    chain: Annotated[bool, "write the chain before the embedding; without, plain InfoNCE"] = True
    shuffle_chains: Annotated[bool, "ablation: chains of other triplets of the batch"] = False
    blank: Annotated[Blank, "ablation: train and evaluate with this input blanked"] = "none"
    captions: Annotated[
        TrainCaptions,
        "FashionIQ: both in either order; clip4cir: also one alone, which a chain does not fit; and: joined",
    ] = "both"
    hard_negatives: Annotated[int, "CIRR: so many look-alikes of each row as further wrong images"] = 0
    weights: Annotated[
        str, "how often each dataset is drawn, e.g. cirr=1,fashioniq=2; empty: by its rows"
    ] = ""
    cpu_bf16: Annotated[
        bool, "products in bfloat16 on the CPU: two thirds of the time where the CPU knows it"
    ] = False
    hold_out: Annotated[bool, "leave out the tenth of the references that learning rates are chosen on"] = (
        False
    )
    save_every: Annotated[int, "steps between checkpoints that an interrupted run goes on from"] = 100
    seed: Annotated[int, "of the order of rows and of dropout"] = 0

    def __post_init__(self) -> None:
        positive = ("steps", "batch", "chunk", "learning_rate", "clip", "save_every")
        for name in positive:
            value = getattr(self, name)
            if not value > 0:
                raise UsageError(f"{name.replace('_', '-')} is {value}; it must be above 0")
            if isinstance(value, int) and value >= 2**31:
                raise UsageError(f"{name.replace('_', '-')} is {value}; it must be below {2**31}")
        for name in ("warmup", "first_stage"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name.replace('_', '-')} is {getattr(self, name)}; it must be from 0 to 1")
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"seed is {self.seed}; it must be from 0 to {2**31 - 1}")
        if not 0 <= self.beta2 < 1:
            raise UsageError(f"beta2 is {self.beta2}; it must be from 0 and below 1")
        for name in ("lambda_txt", "lambda_info", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                flag = name.replace("_", "-")
                raise UsageError(f"{flag} is {getattr(self, name)}; it must be a number from 0")
        if not self.lambda_info and not (self.chain and self.lambda_txt):
            raise UsageError("nothing would be trained: no chain's loss and lambda-info 0; give one a weight")
        if self.stages == "two" and self.chain and not (self.lambda_txt and self.lambda_info):
            raise UsageError("stages two trains the chain, then the contrast; give both lambdas a weight")
        if self.shuffle_chains and not self.chain:
            raise UsageError("shuffle-chains shuffles nothing where no chain is trained; leave one out")
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
            found = {name.strip(): float(value) for name, _, value in parts}
        except ValueError as error:
            raise UsageError(f"weights {self.weights!r} is not like cirr=1,fashioniq=2") from error
        if len(found) < len(parts) or not all(0 <= value < 2**31 for value in found.values()):
            raise UsageError(f"weights {self.weights!r}: each dataset once, with a number from 0 to {2**31}")
        return found

    def times_each(self, rows: int) -> float:
        """How often each of `rows` is seen on average."""
        return self.steps * self.batch / max(1, rows)

    def telling(self) -> dict[str, Any]:
        """The settings that a run's result depends on: not how much is held at a time, nor what is kept."""
        return {name: value for name, value in self.as_json().items() if name not in _HOW}

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
    """(lambda_txt, lambda_info) of a step. Two stages: first the chain alone, then the contrast alone; there
    is one without a chain."""
    text = settings.lambda_txt if settings.chain else 0.0
    if settings.stages == "one" or not settings.chain:
        return text, settings.lambda_info
    return (text, 0.0) if step < round(settings.first_stage * settings.steps) else (0.0, settings.lambda_info)
