"""The whole recipe: pictures, tokenizer, vision phase, language phases, export. Each part resumes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, Idefics3ForConditionalGeneration, PreTrainedTokenizerFast

from annotate.errors import InputError, UsageError
from sample.teacher import optim
from sample.teacher.corpus import DOMAINS, build_tokenizer
from sample.teacher.export import export
from sample.teacher.model import build_config, build_model
from sample.teacher.pictures import CHUNK, open_pictures, render_all
from sample.teacher.train import Data, Plan, Trainer


def plans(minutes: float) -> tuple[tuple[str, Plan], ...]:
    """The phases by checkpoint name: vision, then language with the tower frozen, then all together."""
    return (
        ("vision", Plan("vision", 0.3 * minutes, (40, 88), seed=1_000_000)),
        (
            "language",
            Plan(
                "language",
                0.3 * minutes,
                (28, 64),
                blank=2,
                statements=1.25,
                echoes=28,
                lr=0.006,
                small_lr=0.0015,
                vision_share=0.0,
                dense_weight=0.0,
                seed=1_000_001,
            ),
        ),
        (
            "together",
            Plan(
                "language",
                0.4 * minutes,
                (24, 56),
                blank=2,
                extra=24,
                statements=0.75,
                whole=0.55,
                echoes=28,
                lr=0.004,
                small_lr=0.001,
                vision_share=0.5,
                dense_weight=0.5,
                seed=1_000_002,
            ),
        ),
    )


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """A tokenizer from its folder, from disk alone."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    auto: Any = AutoTokenizer
    tokenizer: PreTrainedTokenizerFast = auto.from_pretrained(folder)
    return tokenizer


def train_teacher(
    work: Path, out: Path, prompts: Path, minutes: float, count: int, init: Path | None, threads: int
) -> None:
    """Train for so many minutes and export; finished parts found in `work` are not repeated."""
    if count % CHUNK or count < 2 * CHUNK:
        raise UsageError(f"--pictures takes a multiple of {CHUNK}, at least {2 * CHUNK}; got {count}")
    torch.set_num_threads(threads)
    work.mkdir(parents=True, exist_ok=True)
    render_all(work / "pictures", count, processes=threads)
    if not (work / "tokenizer").exists():
        tokenizer = load_tokenizer(init) if init else build_tokenizer(prompts)
        tokenizer.save_pretrained(work / "tokenizer")
    tokenizer = load_tokenizer(work / "tokenizer")
    data = Data([open_pictures(work / "pictures", domain, count) for domain in DOMAINS])
    before: Path | None = None
    for name, plan in plans(minutes):
        trainer = Trainer(plan, data, tokenizer, prompts)
        checkpoint = work / f"{name}.safetensors"
        if checkpoint.exists():
            trainer.resume(checkpoint)
        elif before is not None:
            optim.load_modules(before, trainer.modules)
        elif init is not None:
            trainer.model.load_state_dict(load_model(init).state_dict())
        trainer.run(checkpoint)
        before = checkpoint
        export(trainer.model, tokenizer, out)


def load_model(folder: Path) -> Idefics3ForConditionalGeneration:
    """An exported model in float32; InputError when there is none."""
    if not (folder / "model.safetensors").is_file():
        raise InputError(f"{folder} holds no model.safetensors: give a folder that `export` wrote")
    return Idefics3ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)


def export_newest(
    work: Path, out: Path, prompts: Path, names: Sequence[str] = ("together", "language")
) -> None:
    """Export the furthest checkpoint in `work`."""
    for name in names:
        if (work / f"{name}.safetensors").exists():
            tokenizer = load_tokenizer(work / "tokenizer")
            model = build_model(build_config(tokenizer))
            optim.load_modules(work / f"{name}.safetensors", {"model": model})
            export(model, tokenizer, out)
            return
    raise InputError(f"{work} holds no checkpoint of the language phase: run train first")
