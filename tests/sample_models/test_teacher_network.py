"""The quick forward pass used in training agrees with transformers' Idefics3, on a random network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from sample.teacher.model import build_config, build_model, connect, normalise, read, see
from sample.teacher.tokens import train_tokenizer

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model():  # type: ignore[no-untyped-def]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["a red dress"], ["red"], [], size=300)
    built = build_model(build_config(tokenizer))
    torch.nn.init.normal_(built.model.vision_model.embeddings.position_embedding.weight)
    return built


@pytest.mark.slow
def test_vision_and_decoder_states_equal_transformers(model) -> None:  # type: ignore[no-untyped-def]
    pixels = torch.randint(0, 256, (2, 128, 128, 3), dtype=torch.uint8)
    planes = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        ours = see(model, normalise(pixels))
        theirs = model.model.vision_model(planes).last_hidden_state
        assert torch.allclose(ours, theirs, atol=2e-4)
        assert torch.allclose(connect(model, ours), model.model.connector(theirs), atol=2e-4)
        embeds = torch.randn(2, 23, model.config.text_config.hidden_size)
        expected = model.model.text_model(inputs_embeds=embeds).last_hidden_state
        assert torch.allclose(read(model, embeds), expected, atol=2e-4)


@pytest.mark.slow
def test_an_exported_folder_loads_in_transformers_with_the_same_weights(model, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from transformers import Idefics3ForConditionalGeneration

    from sample.teacher.export import export

    tokenizer = train_tokenizer(["a red dress"], ["red"], [], size=300)
    export(model, tokenizer, tmp_path)
    loaded = Idefics3ForConditionalGeneration.from_pretrained(tmp_path, local_files_only=True)
    for name, value in model.state_dict().items():
        assert torch.allclose(loaded.state_dict()[name].float(), value, atol=1e-3), name


@pytest.mark.slow
def test_a_model_that_was_loaded_to_go_on_from_is_exported_as_float16_throughout(
    model: Any, tmp_path: Path
) -> None:
    from sample.teacher.export import export
    from sample.teacher.recipe import load_model

    tokenizer = train_tokenizer(["a red dress"], ["red"], [], size=300)
    export(model, tokenizer, tmp_path / "first")
    export(load_model(tmp_path / "first"), tokenizer, tmp_path / "second")
    said = re.findall(r'"dtype": "(\w+)"', (tmp_path / "second" / "config.json").read_text())
    assert said and set(said) == {"float16"}
