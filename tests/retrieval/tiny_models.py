"""Model folders with small random weights: Qwen2.5-VL, Idefics3, SmolVLM, a CLIP, and a text-only one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import (
    CLIPConfig,
    CLIPModel,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)

QWEN_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for p in m['content'] %}"
    "{% if p['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ p['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
IDEFICS_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}:{% for p in m['content'] %}{% if p['type'] == 'image' %}<image>"
    "{% else %}{{ p['text'] }}{% endif %}{% endfor %}<end_of_utterance>{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def byte_tokenizer(special: list[str], end: str, template: str) -> PreTrainedTokenizerFast:
    """Bytes as tokens, no training needed."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=end,
        pad_token="<pad>",
        additional_special_tokens=special,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = template
    return fast


def lacking(folder: Path, part: str) -> Path:
    """Take the first tensor that has `part` in its name out of a model's weights; their file."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    gone = next(name for name in sorted(weights) if part in name)
    save_file({name: tensor for name, tensor in weights.items() if name != gone}, file, {"format": "pt"})
    return file


def qwen(folder: Path, seed: int = 0, tied: bool = False) -> Path:
    special = ["<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer = byte_tokenizer(special, "<|im_end|>", QWEN_TEMPLATE)
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in (*special, "<|im_end|>", "<pad>")}
    torch.manual_seed(seed)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": 288,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 1024,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
            "pad_token_id": ids["<pad>"],
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": 32,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=tied,
    )
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # as Qwen2.5-VL is published: pictures in a file of their own, a text model's template in the tokenizer
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": QWEN_TEMPLATE}))
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "chat_template": TEXT_TEMPLATE}))
    Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=84 * 84).save_pretrained(folder)
    return folder


def idefics(folder: Path, seed: int = 0) -> Path:
    return _idefics(folder, seed, "Idefics3", Idefics3Config, Idefics3ForConditionalGeneration)


def smolvlm(folder: Path, seed: int = 0) -> Path:
    return _idefics(folder, seed, "SmolVLM", SmolVLMConfig, SmolVLMForConditionalGeneration)


def _idefics(folder: Path, seed: int, family: str, configs: Any, models: Any) -> Path:
    special = ["<image>", "<fake_token_around_image>", "<global-img>"]
    tokenizer = byte_tokenizer(special, "<end_of_utterance>", IDEFICS_TEMPLATE)
    ids = {
        token: tokenizer.convert_tokens_to_ids(token) for token in ("<image>", "<end_of_utterance>", "<pad>")
    }
    torch.manual_seed(seed)
    config = configs(
        image_token_id=ids["<image>"],
        pad_token_id=ids["<pad>"],
        scale_factor=2,
        tie_word_embeddings=False,
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": len(tokenizer),  # no spare row: <emb> must grow the table
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "max_position_embeddings": 1024,
            "pad_token_id": ids["<pad>"],
            "bos_token_id": None,
            "eos_token_id": ids["<end_of_utterance>"],
        },
    )
    models(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    pixels = {
        "image_processor_type": f"{family}ImageProcessor",
        "do_image_splitting": False,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "max_image_size": {"longest_edge": 32},
        "size": {"longest_edge": 32},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
    processor = {"processor_class": f"{family}Processor", "image_seq_len": 4}
    (folder / "processor_config.json").write_text(json.dumps(processor))
    return folder


def clip(folder: Path, seed: int = 0) -> Path:
    tokenizer = byte_tokenizer([], "<end>", "")
    end = ("<end>", tokenizer.convert_tokens_to_ids("<end>"))
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing("$A <end>", None, [end])
    small = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "projection_dim": 16,
    }
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 24, "eos_token_id": end[1]}
    torch.manual_seed(seed)
    config = CLIPConfig(
        text_config=small | text | {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": None},
        vision_config=small | {"image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    pixels = {
        "image_processor_type": "CLIPImageProcessor",
        "crop_size": 32,
        "size": {"shortest_edge": 32},
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
    return folder


def text_only(folder: Path) -> Path:
    config = LlamaConfig(
        vocab_size=64, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
