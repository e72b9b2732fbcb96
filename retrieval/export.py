"""A trained retriever as one plain model folder: adapters merged, `<emb>`'s row in the table, tokenizer and
processor.

transformers loads it without this package, and vLLM serves it: as chat model for the chain, with `--runner
pooling` for the embedding (the state of the last token, which must be `<emb>`). A projection cannot go
along: it is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft.tuners.lora import LoraLayer

from annotate.errors import InputError, UsageError
from annotate.text import parse_json
from retrieval.checkpoint import Card
from retrieval.conversation import EMB, image_prompt, query_prompt
from retrieval.model import CirModel
from retrieval.saving import only_ours, whole_folder

MARK = "retriever-export.json"
"""Says that a folder is an export, and of which weights."""


def export(model: CirModel, card: Card, folder: Path, results: Path | None = None) -> Path:
    """Write `folder`, whole or not at all. `model` is changed (its adapters are merged) and must not be used
    on.

    `results`: a results.json whose numbers of this very model go into the model card. Raises `UsageError` for
    a model with a projection, `InputError` for results that cannot be read or hold no row of this model,
    `OutputError` when `folder` holds something that is no export.
    """
    folder = folder.resolve()  # "." has no name beside which a temporary folder could lie
    only_ours(folder, MARK)  # before the model is changed
    numbers = "" if results is None else numbers_of(card, results)
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
    _untie(backbone)
    table = backbone.get_input_embeddings().weight
    with torch.no_grad():
        table[model.reader.emb_id] = model.emb_row.to(table.dtype)
    with whole_folder(folder, MARK) as place:
        backbone.save_pretrained(place)
        model.reader.save(place)
        (place / "README.md").write_text(model_card(card, numbers))
        (place / MARK).write_text(json.dumps({"retriever": card.weights_sha256}) + "\n")
    return folder


def _untie(backbone: Any) -> None:
    """Give the head a table of its own: `<emb>`'s row goes into the input's alone, else `<emb>`, which starts
    as the end token, would be as likely as that at the end of a chain."""
    head, table = backbone.get_output_embeddings(), backbone.get_input_embeddings()
    if head.weight is table.weight:
        head.weight = torch.nn.Parameter(table.weight.detach().clone())
    for config in (backbone.config, backbone.config.get_text_config()):
        config.tie_word_embeddings = False


def numbers_of(card: Card, results: Path) -> str:
    """Markdown of the rows of a results.json that measured this model, each with its protocol and counts."""
    try:
        rows = parse_json(results.read_text(encoding="utf-8"))["rows"]
        mine = [_numbers(row) for row in rows if row["model_digest"] == card.weights_sha256]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{results}: no results.json of evaluate or train-eval of this version; run one"
        ) from error
    if not mine:
        raise InputError(f"{results}: none of its rows measured this model; give its own results")
    return "\n".join(mine)


def _numbers(row: Mapping[str, Any]) -> str:
    values = ", ".join(f"{name} {100 * value:.2f}" for name, value in row["metrics"].items())
    counts = (
        f"queries {row['n_queries']:,}/{row['n_expected']:,}; "
        f"gallery {row['n_gallery']:,}/{row['n_gallery_expected']:,}"
    )
    return f"* {row['protocol']}, chain {row['chain']}, {counts}: {values}"


def model_card(card: Card, numbers: str = "") -> str:
    """README.md of an export: how to ask it, what it was trained on, its numbers with their protocols."""
    train = card.about.get("train", {})
    last = card.about.get("last", {})
    settings = "\n".join(
        f"| {name} | {value} |" for name, value in sorted({**card.settings, **train}.items())
    )
    terms = "\n".join(f"| {name} | {value} |" for name, value in last.items())
    told = "none were given: `python -m retrieval export --results results.json` adds them"
    return f"""# A composed-image retriever

The embedding is the last layer's state (after the final norm) of the last token, `{EMB}`, scaled to unit
length.

* query: user turn with the reference image and `{query_prompt("MODIFICATION")}`, assistant turn: the chain
that the
  model writes, then `{EMB}`{
        "" if card.writes_chains else " (this model was trained without chains: `" + EMB + "` alone)"
    }
* image: user turn with the image and `{image_prompt()}`, assistant turn: `{EMB}`

Score: dot product. Base model digest `{card.base_digest[:16]}`, training data digest
`{str(card.about.get("data", ""))[:16]}`.

## Retrieval, percent

{numbers or told}

## Training settings

| setting | value |
|---|---|
{settings}

## Last training step

| term | value |
|---|---|
{terms}
"""
