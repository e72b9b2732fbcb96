"""An exported folder needs neither this package nor adapters: plain transformers gives the same vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from annotate.errors import OutputError, UsageError
from retrieval import checkpoint
from retrieval.conversation import EMB, image_prompt, query_prompt
from retrieval.export import export
from retrieval.inputs import Reader
from retrieval.model import CirModel, ModelSettings
from tests.retrieval import tiny_models, tiny_world

CPU = torch.device("cpu")
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("builder", [tiny_models.qwen, tiny_models.idefics])
def test_plain_transformers_gives_the_vectors_of_the_exported_model(
    builder: Callable[[Path], Path], tmp_path: Path
) -> None:
    base = builder(tmp_path / "base")
    model = CirModel(base, ModelSettings(lora_rank=2), CPU).eval()
    with torch.no_grad():  # as if trained: adapters start as nothing
        for name, parameter in model.named_parameters():
            if "lora_B" in name or name == "emb_row":
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.3)
    tiny_world.picture(tmp_path / "picture.png", 3)
    image = Image.open(tmp_path / "picture.png").convert("RGB")
    turns = [model.reader.user_turn(image, text) for text in (query_prompt("is red"), image_prompt())]
    batch = model.reader.embedding_batch(turns, [model.reader.chain_ids("caption: blue"), []])
    with torch.no_grad():
        ours = model(batch).vectors
    checkpoint.save(model, base, tmp_path / "checkpoint")
    folder = export(model, checkpoint.read_card(tmp_path / "checkpoint"), tmp_path / "export")
    plain = AutoModelForImageTextToText.from_pretrained(folder).eval()
    reader = Reader(folder)
    again = reader.embedding_batch(
        [reader.user_turn(image, text) for text in (query_prompt("is red"), image_prompt())],
        [reader.chain_ids("caption: blue"), []],
    )
    assert again.inputs["input_ids"].tolist() == batch.inputs["input_ids"].tolist()
    with torch.no_grad():
        states = plain.base_model(**again.inputs).last_hidden_state[torch.arange(2), again.ends]
    cosines = torch.nn.functional.cosine_similarity(states, ours)
    assert (1 - cosines).abs().max() < 2e-6
    assert (1 - torch.nn.functional.cosine_similarity(ours[:1], ours[1:])).item() > 1e-4
    assert EMB in (folder / "README.md").read_text()


def test_of_tied_tables_the_head_keeps_its_own_row_of_emb(tmp_path: Path) -> None:
    base = tiny_models.qwen(tmp_path / "base", tied=True)
    model = CirModel(base, ModelSettings(tuning="full"), CPU)
    before = model.backbone.get_output_embeddings().weight.detach().clone()
    with torch.no_grad():
        model.emb_row.add_(1.0)
    row, emb = model.emb_row.detach().clone(), model.reader.emb_id
    checkpoint.save(model, base, tmp_path / "checkpoint")
    folder = export(model, checkpoint.read_card(tmp_path / "checkpoint"), tmp_path / "export")
    plain = AutoModelForImageTextToText.from_pretrained(folder)
    assert torch.equal(plain.get_input_embeddings().weight[emb], row)
    assert torch.equal(plain.get_output_embeddings().weight, before), "no chain ends in <emb> instead"


def test_only_an_export_is_replaced_by_an_export(tmp_path: Path) -> None:
    base = tiny_models.idefics(tmp_path / "base")
    model = CirModel(base, ModelSettings(lora_rank=2), CPU)
    checkpoint.save(model, base, tmp_path / "checkpoint")
    card = checkpoint.read_card(tmp_path / "checkpoint")
    mine = tmp_path / "mine" / "thesis.tex"
    mine.parent.mkdir()
    mine.write_text("years of work")
    for folder in (mine.parent, mine, tmp_path / "checkpoint"):
        with pytest.raises(OutputError, match="holds something else, which would be lost"):
            export(model, card, folder)
    with pytest.raises(OutputError, match="holds something else"):
        checkpoint.save(model, base, mine.parent)
    assert mine.read_text() == "years of work" and checkpoint.read_card(tmp_path / "checkpoint") == card
    for _ in range(2):
        assert export(model, card, tmp_path / "export") == tmp_path / "export"


def test_a_model_with_a_projection_is_not_exported(tmp_path: Path) -> None:
    base = tiny_models.idefics(tmp_path / "base")
    model = CirModel(base, ModelSettings(projection=4), CPU)
    checkpoint.save(model, base, tmp_path / "checkpoint")
    with pytest.raises(UsageError, match="with a projection cannot be exported"):
        export(model, checkpoint.read_card(tmp_path / "checkpoint"), tmp_path / "export")
    assert not (tmp_path / "export").exists()
