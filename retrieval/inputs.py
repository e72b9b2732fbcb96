"""One picture and one user text to a model's own tensors: chat template, image tokens, padding.

Qwen's processor needs torchvision, which is not always there: its image processor and tokenizer are used
instead, and the picture's place is widened here. SmolVLM's wants packages for videos: Idefics3's does the
same with pictures. Every other family goes through its own processor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from PIL import Image
from torch import Tensor
from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer, Idefics3Processor

from annotate.errors import UsageError
from annotate.text import parse_json
from retrieval.conversation import EMB
from retrieval.objective import IGNORED

QWEN = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
PROCESSORS: Mapping[str, Any] = {"smolvlm": Idefics3Processor}


@dataclass(frozen=True, slots=True)
class Spoken:
    """What the model reads of a picture, or of a user turn with one: token ids with the picture's places, and
    the picture's tensors."""

    ids: tuple[int, ...]
    pixels: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded conversations. `inputs` go to the model; `ends` [b] is the place of the last token of each.

    `labels` [b, length]: the token wanted at each place, predicted one place before; `IGNORED` outside the
    chain.
    """

    inputs: Mapping[str, Tensor]
    ends: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        return Batch(
            {name: value.to(device) for name, value in self.inputs.items()},
            self.ends.to(device),
            self.labels.to(device),
        )


class Reader:
    """Turns pictures and texts into tensors for one model folder. Raises `UsageError` for a model without
    eyes."""

    def __init__(self, folder: str | Path) -> None:
        if not Path(folder).is_dir():  # a name on a hub may be another model tomorrow: no identity
            raise UsageError(f"{folder}: no such folder; check BASE_MODEL, models are folders here")
        try:
            config = AutoConfig.from_pretrained(folder)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{folder}: no model that transformers loads ({error}); check BASE_MODEL"
            ) from error
        if getattr(config, "vision_config", None) is None:
            raise UsageError(f"{folder}: model of type {config.model_type} has no image input; take another")
        self.model_type = str(config.model_type)
        self.qwen = self.model_type in QWEN
        try:
            if self.qwen:
                self.image_processor: Any = AutoImageProcessor.from_pretrained(folder)
                self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
                self.tokenizer.chat_template = (
                    _pictures_template(Path(folder)) or self.tokenizer.chat_template
                )
                self.templates: Any = self.tokenizer
            else:
                processors = PROCESSORS.get(self.model_type, AutoProcessor)
                self.processor: Any = processors.from_pretrained(folder)
                self.tokenizer = self.processor.tokenizer
                self.templates = self.processor if self.processor.chat_template else self.tokenizer
        except ImportError as error:
            raise UsageError(
                f"{folder}: a {self.model_type} needs a package that is not here ({error}); "
                "install it or take another model"
            ) from error
        except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
            raise UsageError(
                f"{folder}: its tokenizer or image processor cannot be loaded ({error}); check BASE_MODEL"
            ) from error
        if not self.templates.chat_template:
            raise UsageError(
                f"{folder}: the tokenizer has no chat template; choose an instruction-tuned model"
            )
        self.image_token_id = int(getattr(config, "image_token_id", None) or config.image_token_index)
        self.image_token = str(self.tokenizer.convert_ids_to_tokens(self.image_token_id))
        try:
            places = self._rendered("").count(self.image_token)
        except (TypeError, TemplateError) as error:
            raise UsageError(
                f"{folder}: its chat template takes no turn with a picture ({error}); check BASE_MODEL"
            ) from error
        if places != 1:
            raise UsageError(
                f"{folder}: its chat template gives one picture {places} places; take another model"
            )
        added = {"additional_special_tokens": [EMB]}
        self.tokenizer.add_special_tokens(added, replace_extra_special_tokens=False)
        self.emb_id = int(self.tokenizer.convert_tokens_to_ids(EMB))
        self.end_id = int(self.tokenizer.eos_token_id)
        pad = self.tokenizer.pad_token_id
        self.pad_id = self.end_id if pad is None else int(pad)

    def save(self, folder: Path) -> None:
        """Write tokenizer (with `<emb>`), chat template and image processor beside an exported model."""
        if self.qwen:
            self.image_processor.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        else:
            self.processor.save_pretrained(folder)

    def sight(self, image: Image.Image) -> Spoken:
        """The picture alone, for `user_turn`; of Idefics3, whose places depend on nothing around them."""
        found = self.processor(
            images=[image], text=self.image_token, return_tensors="pt", add_special_tokens=False
        )
        return Spoken(tuple(found["input_ids"][0].tolist()), _pixels(found))

    def places(self, side: int) -> int:
        """How many tokens a square picture of `side` pixels takes, whatever the processor makes of it."""
        turn = self.user_turn(Image.new("RGB", (side, side)), "")
        return turn.ids.count(self.image_token_id)

    def user_turn(self, picture: Image.Image | Spoken, text: str) -> Spoken:
        """The conversation up to where the assistant begins; `picture`, or what `sight` made of it."""
        rendered = self._rendered(text)
        if isinstance(picture, Spoken):
            before, _, after = rendered.partition(self.image_token)
            return Spoken((*self._ids(before), *picture.ids, *self._ids(after)), picture.pixels)
        if self.qwen:
            pixels = self.image_processor(images=[picture], return_tensors="pt")
            places = int(pixels["image_grid_thw"].prod()) // self.image_processor.merge_size**2
            widened = rendered.replace(self.image_token, self.image_token * places)
            return Spoken(tuple(self._ids(widened)), dict(pixels))
        found = self.processor(images=[picture], text=rendered, return_tensors="pt", add_special_tokens=False)
        return Spoken(tuple(found["input_ids"][0].tolist()), _pixels(found))

    def chain_ids(self, chain: str) -> list[int]:
        """Token ids of a chain, without end token. It is data: an `<image>` in it is letters, no picture."""
        return list(self.tokenizer(chain, add_special_tokens=False, split_special_tokens=True)["input_ids"])

    def text(self, ids: Sequence[int]) -> str:
        """Text of generated ids."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def embedding_batch(
        self, turns: Sequence[Spoken], chains: Sequence[Sequence[int]] | None = None
    ) -> Batch:
        """Turn + chain + `<emb>`, padded on the right; `<emb>`'s place wants the chain's end token."""
        written = chains if chains is not None else [()] * len(turns)
        rows = [[*turn.ids, *chain, self.emb_id] for turn, chain in zip(turns, written, strict=True)]
        labels = [
            [*[IGNORED] * len(turn.ids), *chain, self.end_id] if chains is not None else [IGNORED] * len(row)
            for turn, chain, row in zip(turns, written, rows, strict=True)
        ]
        longest = max(map(len, rows))
        wanted = torch.tensor([row + [IGNORED] * (longest - len(row)) for row in labels])
        ends = torch.tensor([len(row) - 1 for row in rows])
        return Batch(self._inputs(rows, turns, left=False), ends, wanted)

    def generation_inputs(self, turns: Sequence[Spoken]) -> dict[str, Tensor]:
        """The turns alone, padded on the left, to be continued."""
        return self._inputs([list(turn.ids) for turn in turns], turns, left=True)

    def _rendered(self, text: str) -> str:
        """The turn as the chat template writes it, the picture's place in it."""
        content = [{"type": "image"}, {"type": "text", "text": text}]
        turn = [{"role": "user", "content": content}]
        return str(self.templates.apply_chat_template(turn, add_generation_prompt=True, tokenize=False))

    def _ids(self, rendered: str) -> list[int]:
        """Token ids of what a chat template wrote, its special tokens among them."""
        return list(self.tokenizer(rendered, add_special_tokens=False)["input_ids"])

    def _inputs(self, rows: Sequence[list[int]], turns: Sequence[Spoken], left: bool) -> dict[str, Tensor]:
        longest = max(map(len, rows))
        pads = [[self.pad_id] * (longest - len(row)) for row in rows]
        ids = torch.tensor([pad + row if left else row + pad for row, pad in zip(rows, pads, strict=True)])
        real = [[1] * len(row) for row in rows]
        none = [[0] * len(pad) for pad in pads]
        mask = torch.tensor([n + r if left else r + n for r, n in zip(real, none, strict=True)])
        inputs = {"input_ids": ids, "attention_mask": mask}
        if self.qwen:  # its rotary positions are computed from where the picture's places are
            inputs["mm_token_type_ids"] = (ids == self.image_token_id).int()
        return inputs | {name: _joined([turn.pixels[name] for turn in turns]) for name in turns[0].pixels}


def _pictures_template(folder: Path) -> str | None:
    """The chat template that a processor would read; None where the folder has none but the tokenizer's.

    Qwen2.5-VL keeps it in chat_template.json: its tokenizer's own is a text model's, which takes no picture.
    """
    for name in ("chat_template.jinja", "chat_template.json"):
        if (path := folder / name).is_file():
            text = path.read_text(encoding="utf-8")
            return text if path.suffix == ".jinja" else str(parse_json(text)["chat_template"])
    return None


def _pixels(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The picture's tensors of what a processor gives."""
    return {name: value for name, value in found.items() if "pixel" in name or "image" in name}


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Concatenate along the first axis; pictures of different number or size are padded with zeros."""
    if parts[0].ndim > 2:
        largest = [max(part.shape[axis] for part in parts) for axis in range(1, parts[0].ndim)]
        padded = []
        for part in parts:
            missing = [size - part.shape[axis + 1] for axis, size in enumerate(largest)]
            sides = [side for amount in reversed(missing) for side in (0, amount)]
            padded.append(torch.nn.functional.pad(part, sides))
        return torch.cat(padded)
    return torch.cat(list(parts))
