"""Every family that is named, with small random weights and the real code of transformers: trained in a run
as a real one would be, reloaded and measured."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

from annotate.errors import UsageError
from retrieval import checkpoint, inputs, train
from retrieval.conversation import query_prompt
from retrieval.encode import model_key
from retrieval.eval_sets import open_eval_sets
from retrieval.evaluate import Asking, Choices, evaluate
from retrieval.inputs import Reader
from retrieval.model import CirModel, ModelSettings, Tuning, of_tower
from retrieval.schedule import TrainSettings
from retrieval.sources import open_source
from tests.retrieval import tiny_models, tiny_world

CPU = torch.device("cpu")
SETTINGS = TrainSettings(steps=3, batch=4, chunk=3, learning_rate=3e-3, save_every=2, hard_negatives=1)
FAMILIES = pytest.mark.parametrize("builder", [tiny_models.qwen, tiny_models.idefics, tiny_models.smolvlm])
pytestmark = pytest.mark.slow


@FAMILIES
def test_every_family_trains_with_little_memory_and_is_evaluated(
    builder: Callable[[Path], Path], tmp_path: Path
) -> None:
    """As a real one would be: adapters, GradCache, no activations kept; the curve is the plain one."""
    base = builder(tmp_path / "base")
    sources = [
        open_source(tiny_world.published(tmp_path / "out", tiny_world.cirr(tmp_path / "cirr", "train")))
    ]
    adapted = ModelSettings(lora_rank=2, temperature=0.05)
    curves = []
    for little in (False, True):
        model = CirModel(base, adapted, CPU)
        if little:
            model.checkpoint_activations()
        settings = dataclasses.replace(SETTINGS, grad_cache=little)
        out = tmp_path / str(little)
        folder = train.train(model, base, sources, settings, out, say=lambda line: None)
        lines = (out / train.METRICS).read_text().splitlines()
        curves.append([json.loads(line) for line in lines])
    for plain, cached in zip(*curves, strict=True):
        assert cached == pytest.approx(plain, rel=1e-3)
    loaded, card = checkpoint.load(folder, CPU)
    choices = Choices()
    (world,) = open_eval_sets("cirr", tiny_world.cirr(tmp_path / "cirr", "val"), choices)
    asking = Asking(chain="generated", recipe=card.recipe, max_tokens=5)
    done = evaluate(loaded, model_key(card), world, choices, asking, tmp_path / "e")
    assert (done.result.n_queries, done.result.n_gallery) == (12, 18)
    assert done.queries is not None and all(chain is not None for chain in done.queries.chains)
    assert np.allclose(np.linalg.norm(done.queries.vectors, axis=1), 1, atol=1e-5)


@FAMILIES
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_activations_that_are_not_kept_give_the_same_gradients(
    builder: Callable[[Path], Path], tuning: Tuning, tmp_path: Path
) -> None:
    base = builder(tmp_path)
    shown = Image.effect_noise((64, 48), 90).convert("RGB")
    found = []
    for checkpointed in (False, True):
        model = CirModel(base, ModelSettings(tuning=tuning, lora_rank=2), CPU).train()
        if checkpointed:
            model.checkpoint_activations()
        runs: list[int] = []
        ends = ("text_model.layers.0.self_attn", "language_model.layers.0.self_attn")
        (part,) = (module for name, module in model.named_modules() if name.endswith(ends))
        part.register_forward_pre_hook(lambda *_, runs=runs: runs.append(1))
        looks: list[int] = []
        tower = next(
            m
            for n, m in model.named_modules()
            if of_tower(n) and n.endswith("0.norm1" if model.reader.qwen else "0.layer_norm1")
        )
        tower.register_forward_pre_hook(lambda *_, looks=looks: looks.append(1))
        turns = [model.reader.user_turn(shown, query_prompt(text)) for text in ("is red", "shorter")]
        done = model(model.reader.embedding_batch(turns, [[5, 6], [7]]))
        (done.vectors[:, 0].sum() + done.chain_nll).backward()
        assert len(runs) == 1 + checkpointed, "a layer runs again where its activations were not kept"
        assert len(looks) == 1 + (checkpointed and tuning == "full"), "nothing goes back into a frozen tower"
        found.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    plain, again = found
    assert plain.keys() == again.keys() and any(pull.abs().max() > 1e-4 for pull in plain.values())
    for name, pull in plain.items():
        torch.testing.assert_close(again[name], pull, atol=1e-5, rtol=1e-4, msg=name)


def test_a_qwen_reads_pictures_by_the_template_beside_its_tokenizer_and_takes_it_along(
    tmp_path: Path,
) -> None:
    """Published, its tokenizer has a text model's template, and chat_template.json the one with pictures."""
    folder = tiny_models.qwen(tmp_path / "qwen")
    reader = Reader(folder)
    shown = Image.effect_noise((64, 48), 90).convert("RGB")
    ids = reader.user_turn(shown, "is red").ids
    assert ids.count(reader.image_token_id) > 1
    reader.save(tmp_path / "saved")
    shutil.copy(folder / "config.json", tmp_path / "saved")
    assert Reader(tmp_path / "saved").user_turn(shown, "is red").ids == ids
    (folder / "chat_template.json").unlink()
    with pytest.raises(UsageError, match=r"its chat template takes no turn with a picture \(can only conc"):
        Reader(folder)


def test_a_template_that_gives_a_picture_no_place_is_refused(tmp_path: Path) -> None:
    folder = tiny_models.qwen(tmp_path)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": "{{ messages | length }}"}))
    with pytest.raises(UsageError, match="its chat template gives one picture 0 places"):
        Reader(folder)


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (2, 3)])
def test_a_smolvlm_reads_a_picture_as_with_its_own_processor(tmp_path: Path, rows: int, columns: int) -> None:
    """Its own needs packages for videos, which we have none of."""
    processor = Reader(tiny_models.smolvlm(tmp_path)).processor
    told = {"fake_token_around_image": "<fake_token_around_image>", "global_image_token": "<global-img>"}
    theirs = get_image_prompt_string(rows, columns, processor.image_seq_len, image_token="<image>", **told)
    assert processor.replace_image_token({"rows": [[rows]], "cols": [[columns]]}, 0) == theirs


def test_a_processor_whose_packages_are_missing_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lacking:
        @staticmethod
        def from_pretrained(folder: Path) -> None:
            raise ImportError("Package `num2words` is required")

    monkeypatch.setattr(inputs, "PROCESSORS", {"smolvlm": Lacking})
    with pytest.raises(UsageError, match=r"a smolvlm needs a package that is not here \(Package `num2words`"):
        Reader(tiny_models.smolvlm(tmp_path))
