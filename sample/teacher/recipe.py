"""The whole recipe: pictures, tokenizer, vision phase, language phase, export. Each part resumes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, Idefics3ForConditionalGeneration, PreTrainedTokenizerFast

from annotate.errors import InputError, UsageError
from sample.loop import Budget, run
from sample.teacher import optim
from sample.teacher.corpus import DOMAINS, build_tokenizer
from sample.teacher.export import export
from sample.teacher.language_phase import LanguagePhase, LanguagePlan
from sample.teacher.model import build_config, build_model
from sample.teacher.pictures import CHUNK, SEED, open_pictures, render_all
from sample.teacher.talk import Talk
from sample.teacher.vision_phase import VisionPhase, VisionPlan


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """A tokenizer from its folder, from disk alone."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    auto: Any = AutoTokenizer
    tokenizer: PreTrainedTokenizerFast = auto.from_pretrained(folder)
    return tokenizer


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the folder, whole or not at all: half of one would be taken for it by the next command."""
    part = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    tokenizer.save_pretrained(part)
    part.rename(folder)


def train_teacher(
    work: Path,
    out: Path,
    prompts: Path,
    minutes: float,
    count: int,
    init: Path | None,
    threads: int,
) -> None:
    """Train for so many minutes and export; finished parts found in `work` are not repeated.

    A third of the time goes to the vision tower, the rest to the decoder. `init` goes on from an exported
    teacher, with its tokenizer and at lower rates. Raises `UsageError` for a count that cannot be rendered
    or is not that of the pictures in `work`.
    """
    if count % CHUNK or count < 2 * CHUNK:
        raise UsageError(f"--pictures takes a multiple of {CHUNK}, at least {2 * CHUNK}; got {count}")
    model = load_model(init) if init else None  # refused now, not after the rendering
    torch.set_num_threads(threads)
    torch.manual_seed(SEED)
    work.mkdir(parents=True, exist_ok=True)
    render_all(work / "pictures", count, processes=threads)
    if not (work / "tokenizer").exists():
        tokenizer = load_tokenizer(init) if init else build_tokenizer(prompts)
        save_tokenizer(tokenizer, work / "tokenizer")
    tokenizer = load_tokenizer(work / "tokenizer")
    pictures = [open_pictures(work / "pictures", domain, count) for domain in DOMAINS]
    model = model or build_model(build_config(tokenizer))
    seen_plan, told_plan = VisionPlan(), LanguagePlan()
    if init:  # at the peaks of a training from nothing it would forget first
        seen_plan = replace(seen_plan, lr=seen_plan.lr / 3, small_lr=seen_plan.small_lr / 3)
        told_plan = replace(told_plan, lr=told_plan.lr / 2)
    seen = VisionPhase(model, pictures, seen_plan)
    run(seen, Budget(minutes / 3), work / "vision.safetensors")
    talk = Talk(tokenizer, prompts)
    told = LanguagePhase(model, talk, pictures, work / "images", told_plan)
    run(told, Budget(2 * minutes / 3), work / "language.safetensors")
    export(model, tokenizer, out)


def load_model(folder: Path) -> Idefics3ForConditionalGeneration:
    """An exported model in float32; InputError when there is none."""
    if not (folder / "model.safetensors").is_file():
        raise InputError(f"{folder} holds no model.safetensors: give a folder that `export` wrote")
    return Idefics3ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)


def export_newest(work: Path, out: Path) -> None:
    """Export the newest checkpoint of the language phase in `work`."""
    checkpoint = work / "language.safetensors"
    if not checkpoint.exists():
        raise InputError(f"{work} holds no checkpoint of the language phase: run train first")
    tokenizer = load_tokenizer(work / "tokenizer")
    model = build_model(build_config(tokenizer))
    optim.load_modules(checkpoint, {"model": model})
    export(model, tokenizer, out)
