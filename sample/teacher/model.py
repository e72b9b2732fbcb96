"""The teacher's network: an Idefics3 of transformers, and a quick forward pass over its own parameters.

transformers keeps the weights (so a checkpoint is what vLLM loads); the forward pass here is 2-3 times
faster on a CPU in bfloat16, where torch's fused attention has a slow backward.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Idefics3Config, Idefics3ForConditionalGeneration, PreTrainedTokenizerFast

from sample.teacher.tokens import EOS, IMAGE, PAD

WIDTH = 192
HEADS = 6
IMAGE_TOKENS = 16
GRID = 8


def build_config(
    tokenizer: PreTrainedTokenizerFast, vision_layers: int = 4, text_layers: int = 6
) -> Idefics3Config:
    """Configuration for this tokenizer: 128 px pictures, patch 16, 8 x 8 patches, 16 image tokens."""
    ids: dict[str, Any] = {
        name: tokenizer.convert_tokens_to_ids(token)
        for name, token in (("pad", PAD), ("eos", EOS), ("image", IMAGE))
    }
    # The signature that type checkers see lacks what every configuration takes.
    make: Any = Idefics3Config
    config: Idefics3Config = make(
        image_token_id=ids["image"],
        pad_token_id=ids["pad"],
        scale_factor=2,
        tie_word_embeddings=False,
        vision_config={
            "hidden_size": WIDTH,
            "intermediate_size": 4 * WIDTH,
            "num_hidden_layers": vision_layers,
            "num_attention_heads": HEADS,
            "image_size": 128,
            "patch_size": 16,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": 16 * ((len(tokenizer) + 15) // 16),
            "hidden_size": WIDTH,
            "intermediate_size": 512,
            "num_hidden_layers": text_layers,
            "num_attention_heads": HEADS,
            "num_key_value_heads": HEADS,
            "head_dim": WIDTH // HEADS,
            "max_position_embeddings": 1024,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": False,
            "pad_token_id": ids["pad"],
            "bos_token_id": None,
            "eos_token_id": ids["eos"],
        },
        eos_token_id=ids["eos"],
    )
    return config


def build_model(config: Idefics3Config) -> Idefics3ForConditionalGeneration:
    """A freshly initialised model.

    Token embeddings have unit scale and layers begin by adding next to nothing, so that a token's identity
    stays in the residual stream: with transformers' small embeddings the first layer drowned it (1 : 1000
    after training), and nothing could be copied from the context.
    """
    model = Idefics3ForConditionalGeneration(config)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and "layers" in name:
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5 * 0.6)
            if name.endswith(("out_proj.weight", "o_proj.weight", "fc2.weight", "down_proj.weight")):
                nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5 * 0.2)
    nn.init.normal_(model.model.text_model.embed_tokens.weight, std=1.0)
    nn.init.normal_(model.lm_head.weight, std=0.02)
    nn.init.normal_(model.model.vision_model.embeddings.patch_embedding.weight, std=768**-0.5)
    nn.init.normal_(model.model.connector.modality_projection.proj.weight, std=768**-0.5 * 0.5)
    return model


def _attend(qkv: Tensor, mask: Tensor | None) -> Tensor:
    """Plain attention; `qkv` [3, B, heads, T, d], `mask` additive [T, T]; returns [B, T, heads * d]."""
    q, k, v = qkv.unbind(0)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores + mask
    mixed: Tensor = F.softmax(scores, -1, dtype=scores.dtype) @ v
    return mixed.transpose(1, 2).flatten(2)


def normalise(pixels: Tensor) -> Tensor:
    """uint8 [B, 128, 128, 3] -> float patches [B, 64, 768] in the order of the patch convolution's weight."""
    count = pixels.shape[0]
    patches = pixels.view(count, GRID, 16, GRID, 16, 3).permute(0, 1, 3, 5, 2, 4)
    return patches.reshape(count, GRID * GRID, 768).float() / 127.5 - 1.0


def see(model: Idefics3ForConditionalGeneration, patches: Tensor) -> Tensor:
    """Vision states [B, 64, width] of normalised patches."""
    vision: Any = model.model.vision_model
    embeddings = vision.embeddings
    weight = embeddings.patch_embedding.weight.flatten(1)
    x = F.linear(patches, weight, embeddings.patch_embedding.bias) + embeddings.position_embedding.weight
    x = x.float()
    for layer in vision.encoder.layers:
        attention = layer.self_attn
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        qkv = F.linear(
            layer.layer_norm1(x),
            torch.cat([p.weight for p in projections]),
            torch.cat([p.bias for p in projections]),
        )
        qkv = qkv.view(*x.shape[:2], 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        x = x + attention.out_proj(_attend(qkv, None))
        x = x + layer.mlp.fc2(F.gelu(layer.mlp.fc1(layer.layer_norm2(x)), approximate="tanh"))
    states: Tensor = vision.post_layernorm(x)
    return states


def connect(model: Idefics3ForConditionalGeneration, states: Tensor) -> Tensor:
    """Image embeddings [B, 16, width] of vision states."""
    connector: Any = model.model.connector
    embedded: Tensor = connector.modality_projection.proj(connector.pixel_shuffle(states, 2))
    return embedded


def _rms(x: Tensor, weight: Tensor) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), weight, 1e-5)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


def read(model: Idefics3ForConditionalGeneration, embeds: Tensor) -> Tensor:
    """Decoder states [B, T, width] (causal; sequences are padded on the right)."""
    text: Any = model.model.text_model
    length, dim = embeds.shape[1], WIDTH // HEADS
    low = torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32
    angles = torch.outer(torch.arange(length).float(), 10000.0 ** -(torch.arange(0, dim, 2).float() / dim))
    cos, sin = (torch.cat([f, f], -1).to(low) for f in (angles.cos(), angles.sin()))
    mask = torch.full((length, length), -3e4, dtype=low).triu(1)
    x = embeds.float()
    for layer in text.layers:
        attention = layer.self_attn
        weight = torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])
        qkv = F.linear(_rms(x, layer.input_layernorm.weight), weight)
        qkv = qkv.view(*x.shape[:2], 3, HEADS, dim).permute(2, 0, 3, 1, 4)
        qkv = torch.cat([_rotate(qkv[:2], cos, sin), qkv[2:]])
        x = x + attention.o_proj(_attend(qkv, mask))
        hidden = _rms(x, layer.post_attention_layernorm.weight)
        x = x + layer.mlp.down_proj(F.silu(layer.mlp.gate_proj(hidden)) * layer.mlp.up_proj(hidden))
    return _rms(x, text.norm.weight)
