"""What a real run would cost, on paper: parameters, memory a GPU, hours. Every assumption is printed with it.

The model is built without memory (torch's meta device), so its parameters are counted, not estimated.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from transformers import AutoModelForImageTextToText, Qwen2_5_VLConfig

from retrieval.model import ModelSettings, linear_names, of_tower
from retrieval.schedule import TrainSettings

MODEL = "Qwen2.5-VL-7B"
TRIPLETS = {"FashionIQ": 18_000, "CIRR": 28_225}
IMAGE_SIDE = 448  # pixels, the annotation's recipe; one image token covers 28 x 28
PROMPT_TOKENS, CHAIN_TOKENS = 40, 250
GPU, GPU_BYTES, PEAK_FLOPS, USED = "H100 80 GB", 80e9, 989e12, 0.35


def plan(model: ModelSettings, train: TrainSettings, checkpointed: bool) -> str:
    """A page of text for Qwen2.5-VL-7B on FashionIQ + CIRR with these settings; `checkpointed`: layers are
    recomputed in the backward pass (`--checkpoint-activations`)."""
    everything, trained, text, tower = _parameters(model)
    image_tokens = (IMAGE_SIDE // 28) ** 2
    query_tokens = image_tokens + PROMPT_TOKENS + (CHAIN_TOKENS if train.chain else 0)
    target_tokens = (image_tokens + PROMPT_TOKENS) * (1 + train.hard_negatives)
    tokens = query_tokens + target_tokens
    config = _config().text_config
    chunk_tokens = train.chunk * max(query_tokens, image_tokens + PROMPT_TOKENS)
    # without GradCache every chunk of the step waits for the contrast, its states with it
    held_tokens = chunk_tokens if train.grad_cache else train.batch * tokens
    held_rows = train.chunk if train.grad_cache else train.batch
    # bf16 weights; trained ones in fp32 with gradient and two moments
    weights = 2 * (everything - trained) + 16 * trained
    # one saved input a layer, one layer's inner states while it is recomputed (else all layers'), the chain's
    # logits in fp32
    saved = 2 * held_tokens * config.hidden_size * config.num_hidden_layers
    inner = 2 * (8 * config.hidden_size + 3 * config.intermediate_size)  # bytes a token in one layer
    inner *= chunk_tokens if checkpointed else held_tokens * config.num_hidden_layers
    logits = 4 * 2 * held_rows * (CHAIN_TOKENS if train.chain else 0) * config.vocab_size
    memory = weights + saved + inner + logits
    # forward 2 FLOPs a parameter and token; GradCache: once more; recomputing: once more; backward: 2 or 4
    # (full)
    passes = 1 + train.grad_cache + checkpointed + (2 if model.tuning != "lora" else 1)
    looked_at = 4 * image_tokens * (2 + train.hard_negatives)  # patches of reference, target, look-alikes
    looks = passes if model.tuning == "full" else 1 + train.grad_cache  # adapters and a frozen tower: forward
    flops = 2 * text * tokens * passes + 2 * tower * looked_at * looks
    speed = PEAK_FLOPS * USED / flops
    total = sum(TRIPLETS.values())
    epochs = train.steps * train.batch / total
    within, mend = "one layer", "a smaller --chunk with --grad-cache"
    if not checkpointed:
        within, mend = "within all layers", "--checkpoint-activations"
    fits = "fits" if memory < 0.9 * GPU_BYTES else f"does NOT fit: take {mend}"
    data = " + ".join(f"{name} {rows:,}" for name, rows in TRIPLETS.items())
    part = f"{trained / 1e6:.1f} M ({100 * trained / everything:.2f} %)"
    lines = [
        f"{MODEL}, tuning {model.tuning}" + (f" r{model.lora_rank}" if model.tuning == "lora" else ""),
        f"data        {data} = {total:,} triplets",
        f"parameters  {everything / 1e9:.2f} G, trained {part}",
        f"tokens      {tokens} a triplet: image {image_tokens}, prompt {PROMPT_TOKENS}, "
        f"chain {CHAIN_TOKENS if train.chain else 0}, {1 + train.hard_negatives} candidate image(s)",
        f"memory      {memory / 1e9:.0f} GB a GPU: weights and moments {weights / 1e9:.1f}, "
        f"saved states {saved / 1e9:.1f}, {within} {inner / 1e9:.1f}, logits {logits / 1e9:.1f}; "
        f"{GPU} {fits}",
        f"batch       {train.batch} triplets in chunks of {train.chunk}, "
        f"{'GradCache' if train.grad_cache else 'without GradCache: all chunks are held at once'}",
        f"steps       {train.steps} = {epochs:.2f} epochs",
        f"time        {train.steps * train.batch / speed / 3600:.1f} h on one {GPU} at {USED:.0%} of "
        f"{PEAK_FLOPS / 1e12:.0f} TFLOP/s, {speed:.1f} triplets/s; {total / speed / 3600:.1f} h an epoch",
        f"tower       {tower / 1e9:.2f} G, {4 * image_tokens} patches a picture",
        f"assumed     activations {'are' if checkpointed else 'are not'} checkpointed, pictures of 448 x "
        "448, bf16; measured nothing",
    ]
    return "\n".join(lines)


def _parameters(model: ModelSettings) -> tuple[int, int, int, int]:
    """All, trained, those that every token passes (language model without its embedding table), and those
    that every patch passes."""
    with torch.device("meta"):
        backbone: Any = AutoModelForImageTextToText.from_config(_config())
        names = linear_names(backbone)
        everything = sum(p.numel() for p in backbone.parameters())
        table = backbone.get_input_embeddings().weight.numel()
        text = sum(p.numel() for name, p in backbone.named_parameters() if not of_tower(name)) - table
        tower = sum(p.numel() for name, p in backbone.named_parameters() if of_tower(name))
        if model.tuning == "lora":
            backbone = inject_adapter_in_model(LoraConfig(r=model.lora_rank, target_modules=names), backbone)
            trained = sum(p.numel() for name, p in backbone.named_parameters() if "lora_" in name)
            return everything + trained, trained + _config().text_config.hidden_size, text, tower
    return everything, everything - (tower if model.tuning == "frozen_tower" else 0), text, tower


def _config() -> Qwen2_5_VLConfig:
    """The published dimensions of Qwen2.5-VL-7B-Instruct (its config.json)."""
    return Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "vocab_size": 152064,
            "max_position_embeddings": 128000,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        },
        vision_config={
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "out_hidden_size": 3584,
        },
        tie_word_embeddings=False,
    )
