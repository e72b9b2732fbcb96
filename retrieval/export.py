"""A trained retriever as one plain model folder: adapters merged, `<emb>`'s row in the table, tokenizer and
processor.

transformers loads it without this package, and vLLM serves it: as chat model for the chain, with `--runner
pooling` for the embedding (the state of the last token, which must be `<emb>`). A projection cannot go
along: it is refused.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from peft.tuners.lora import LoraLayer

from annotate.errors import UsageError
from annotate.files import write_atomic
from retrieval.checkpoint import Card, replace_folder
from retrieval.conversation import EMB, image_prompt, query_prompt
from retrieval.model import CirModel


def export(model: CirModel, card: Card, folder: Path) -> Path:
    """Write `folder`, whole or not at all. `model` is changed (its adapters are merged) and must not be used
    on.

    Raises `UsageError` for a model with a projection.
    """
    if model.projection is not None:
        raise UsageError(
            "a model with a projection cannot be exported as one plain model; train with --projection 0"
        )
    backbone: Any = model.backbone
    for name, module in list(backbone.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(backbone.get_submodule(parent), child, module.get_base_layer())
    table = backbone.get_input_embeddings().weight
    with torch.no_grad():
        table[model.reader.emb_id] = model.emb_row.to(table.dtype)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    backbone.save_pretrained(temporary)
    model.reader.save(temporary)
    write_atomic(temporary / "README.md", model_card(card))
    replace_folder(temporary, folder)
    return folder


def model_card(card: Card) -> str:
    """README.md of an export: how to ask it, what it was trained on, the last training numbers."""
    train = card.about.get("train", {})
    last = card.about.get("last", {})
    settings = "\n".join(
        f"| {name} | {value} |" for name, value in sorted({**card.settings, **train}.items())
    )
    numbers = "\n".join(f"| {name} | {value} |" for name, value in last.items())
    return f"""# A composed-image retriever

The embedding is the last layer's state (after the final norm) of the last token, `{EMB}`, scaled to unit
length.

* query: user turn with the reference image and `{query_prompt("MODIFICATION")}`, assistant turn: the chain
that the
  model writes, then `{EMB}`{
        "" if train.get("chain", True) else " (this model was trained without chains: `" + EMB + "` alone)"
    }
* image: user turn with the image and `{image_prompt()}`, assistant turn: `{EMB}`

Score: dot product. Base model digest `{card.base_digest[:16]}`, training data digest
`{str(card.about.get("data", ""))[:16]}`. Retrieval numbers are not part of this card: they are printed with
their protocol by `python -m retrieval evaluate`.

## Training settings

| setting | value |
|---|---|
{settings}

## Last training step

| term | value |
|---|---|
{numbers}
"""
