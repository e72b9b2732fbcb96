"""Write a model folder that vLLM and transformers load."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, Idefics3ForConditionalGeneration, PreTrainedTokenizerFast

from sample.teacher.model import IMAGE_TOKENS

IMAGE_PROCESSOR = {
    "image_processor_type": "Idefics3ImageProcessor",
    "do_convert_rgb": True,
    "do_image_splitting": False,
    "do_normalize": True,
    "do_pad": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "max_image_size": {"longest_edge": 128},
    "resample": 1,
    "rescale_factor": 1 / 255,
    "size": {"longest_edge": 128},
}


def export(model: Idefics3ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write weights (float16 safetensors), configurations, tokenizer and chat template into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    half: Any = Idefics3ForConditionalGeneration(deepcopy(model.config))
    half.load_state_dict(model.state_dict())
    half.to(torch.float16)
    for part in (half.config.text_config, half.config.vision_config):
        part.dtype = torch.float16  # a model that was loaded to go on from says there what it was loaded as
    make: Any = GenerationConfig
    half.generation_config = make(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    half.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(IMAGE_PROCESSOR, indent=2) + "\n")
    processor = {"processor_class": "Idefics3Processor", "image_seq_len": IMAGE_TOKENS}
    (folder / "processor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
