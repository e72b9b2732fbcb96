"""The CLIP's configuration, tokenizer and model folder, which transformers loads and vLLM serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from annotate.text import parse_json
from sample.base.corpus import build_tokenizer
from sample.teacher.tokens import EOS, PAD

WIDTH = 128
SIDE = 128
LONGEST = 77
IMAGE_PROCESSOR = {
    "image_processor_type": "CLIPImageProcessor",
    "crop_size": {"height": SIDE, "width": SIDE},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 3,
    "rescale_factor": 1 / 255,
    "size": {"shortest_edge": SIDE},
}


def build_clip_tokenizer(seed: int = 3_000_001) -> PreTrainedTokenizerFast:
    """A tokenizer of the world's words that ends every text with the end token, where CLIP reads it."""
    tokenizer = build_tokenizer(seed)
    end = (EOS, tokenizer.convert_tokens_to_ids(EOS))
    backend: Any = Tokenizer.from_str(pad_moved(tokenizer.backend_tokenizer.to_str()))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=EOS, pad_token=PAD)
    backend = tokenizer.backend_tokenizer
    backend.post_processor = TemplateProcessing(single=f"$A {EOS}", special_tokens=[end])
    tokenizer.model_max_length = LONGEST
    tokenizer.chat_template = None
    return tokenizer


def pad_moved(serialized: str) -> str:
    """The serialized tokenizer with the ids of padding and "!" exchanged.

    vLLM puts token 0 where a CLIP's picture stands, and refuses a model whose token 0 is a special one.
    """
    data = parse_json(serialized)
    vocabulary = data["model"]["vocab"]
    vocabulary[PAD], vocabulary["!"] = vocabulary["!"], vocabulary[PAD]
    for token in data["added_tokens"]:
        if token["content"] == PAD:
            token["id"] = vocabulary[PAD]
    data["added_tokens"].sort(key=lambda token: token["id"])
    return json.dumps(data)


def build_clip(tokenizer: PreTrainedTokenizerFast) -> CLIPModel:
    """A freshly initialised CLIP: 128 px, patch 16, four vision and three text layers of width 128."""
    shared = {
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_attention_heads": 4,
        "projection_dim": WIDTH,
        "hidden_act": "gelu",
    }
    text = {
        "vocab_size": 16 * ((len(tokenizer) + 15) // 16),
        "num_hidden_layers": 3,
        "max_position_embeddings": LONGEST,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
    }
    vision = {"num_hidden_layers": 4, "image_size": SIDE, "patch_size": 16}
    make: Any = CLIPConfig
    config = make(
        text_config=shared | text, vision_config=shared | vision, projection_dim=WIDTH, initializer_factor=1.0
    )
    # torch's fused attention has a slow backward pass on a CPU
    config._attn_implementation = "eager"
    model: CLIPModel = CLIPModel(config)
    return model


def export_clip(model: CLIPModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write weights (float16 safetensors), configuration, tokenizer and image processor into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    half: Any = CLIPModel(model.config)
    half.load_state_dict(model.state_dict())
    half.to(torch.float16)
    half.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(IMAGE_PROCESSOR, indent=2) + "\n")
