"""Checkpoints that are whole or absent: what training may change, as safetensors, and a JSON that says of
what model.

The JSON names the base model and its digest; a checkpoint is never put on another base.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from annotate.errors import InputError, UsageError
from annotate.files import weight_samples
from annotate.images import DEFAULT_RECIPE
from retrieval.conversation import wording_digest
from retrieval.model import CirModel, ModelSettings
from retrieval.saving import whole_folder
from retrieval.schedule import Blank

CARD = "retriever.json"
WEIGHTS = "retriever.safetensors"
BASE_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")
UNREAD = ("generation_config.json",)  # chains are greedy whatever it says
WHOLE_FILE_BYTES = 256 * 1024 * 1024


class Card(BaseModel):
    """`retriever.json`: everything besides the weights; `about` is for people (data, numbers, steps)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str
    base_digest: str
    wording: str
    settings: dict[str, Any]
    weights_sha256: str
    about: dict[str, Any]

    @property
    def writes_chains(self) -> bool:
        """Whether it was trained to write a chain before the embedding."""
        return bool(self._train.get("chain", True))

    @property
    def blank(self) -> Blank:
        """The input that it was trained without."""
        return cast(Blank, self._train.get("blank", "none"))

    @property
    def seed(self) -> int:
        """Of its training."""
        return int(self._train.get("seed", 0))

    @property
    def learning_rate(self) -> float | None:
        """Its highest one."""
        return cast(float | None, self._train.get("learning_rate"))

    @property
    def recipe(self) -> str:
        """The recipe of the images that it was trained on."""
        return str(self.about.get("recipe", DEFAULT_RECIPE))

    @property
    def _train(self) -> Mapping[str, Any]:
        found = self.about.get("train", {})
        return found if isinstance(found, dict) else {}


def save(model: CirModel, base: str | Path, folder: Path, about: Mapping[str, Any] | None = None) -> None:
    """Write a checkpoint to `folder`, replacing one that is there; an interruption leaves the old or none.

    Raises `OutputError` when something else lies there, or when it cannot be written.
    """
    weights: dict[str, Tensor] = {name: value.cpu().contiguous() for name, value in model.trained().items()}
    with whole_folder(folder, CARD) as place:
        save_file(weights, place / WEIGHTS)
        card = Card(
            base=str(base),
            base_digest=base_digest(base),
            wording=wording_digest(),
            settings=dataclasses.asdict(model.settings),
            weights_sha256=_sha256(place / WEIGHTS),
            about=dict(about or {}),
        )
        (place / CARD).write_text(card.model_dump_json(indent=2) + "\n")


def read_card(folder: Path) -> Card:
    """The JSON of a checkpoint. Raises `InputError` when there is none or it is not whole."""
    path = folder / CARD
    if not path.is_file():
        raise InputError(f"{folder}: no checkpoint of a retriever ({CARD} is missing); train first")
    try:
        card = Card.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise InputError(
            f"{path}: not a retriever's card ({error.error_count()} errors); train again"
        ) from error
    if not (folder / WEIGHTS).is_file() or _sha256(folder / WEIGHTS) != card.weights_sha256:
        raise InputError(f"{folder / WEIGHTS}: missing or not the file that {CARD} speaks of; train again")
    return card


def load(folder: Path, device: torch.device, base: str | Path | None = None) -> tuple[CirModel, Card]:
    """Build the model of a checkpoint; `base` overrides where the base lies, not which one it is.

    Raises `InputError` for a broken checkpoint, `UsageError` for one of another base or of other wording.
    """
    card = read_card(folder)
    where = base or card.base
    if base_digest(where) != card.base_digest:
        raise UsageError(
            f"{folder}: is a checkpoint of another model than {where}; pass its own --base-model"
        )
    if card.wording != wording_digest():
        raise UsageError(f"{folder}: was trained with other prompts than this version has; train again")
    try:
        settings = ModelSettings(**card.settings)
    except TypeError as error:
        raise InputError(
            f"{folder / CARD}: has settings of another version ({error}); train again"
        ) from error
    model = CirModel(where, settings, device)
    load_into(model, folder)
    return model, card


def load_into(model: CirModel, folder: Path) -> None:
    """Fill a built model with a checkpoint's weights; every name and shape must agree."""
    try:
        found = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{folder / WEIGHTS}: cannot be read ({error}); train again") from error
    wanted = model.trained()
    if {n: v.shape for n, v in found.items()} != {n: v.shape for n, v in wanted.items()}:
        strange = sorted(found.keys() ^ wanted.keys()) or ["shapes"]
        raise UsageError(f"{folder}: is a checkpoint of another model (differs in {strange[0]}); train again")
    with torch.no_grad():
        for name, value in wanted.items():
            value.copy_(found[name])


def base_digest(base: str | Path) -> str:
    """Identity of a base model: weights (of large files: size, header, samples), configuration, tokenizer,
    image processor and chat template."""
    folder = Path(base)
    files = sorted(path for pattern in BASE_FILES for path in folder.glob(pattern) if path.name not in UNREAD)
    if "config.json" not in {path.name for path in files} or not any(folder.glob("*.safetensors")):
        raise UsageError(f"{base}: is no model folder (config.json and *.safetensors); give a whole one")
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(json.dumps([path.name, size]).encode())
        with path.open("rb") as handle:
            if size <= WHOLE_FILE_BYTES:
                digest.update(hashlib.file_digest(handle, "sha256").digest())
            else:
                for part in weight_samples(handle, size):
                    digest.update(part)
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
