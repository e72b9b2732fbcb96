"""The real architectures with small random weights: embed, write, train a step, save, reload."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from annotate.errors import InputError, UsageError
from retrieval import checkpoint
from retrieval.conversation import EMB, image_prompt, query_prompt
from retrieval.inputs import Reader, Spoken
from retrieval.model import CirModel, ModelSettings, choose_device, parameter_counts
from tests.retrieval import tiny_models

os.environ["HF_HUB_OFFLINE"] = "1"
CPU = torch.device("cpu")
BUILDERS = {"qwen2_5_vl": tiny_models.qwen, "idefics3": tiny_models.idefics, "smolvlm": tiny_models.smolvlm}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=BUILDERS)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return BUILDERS[request.param](tmp_path_factory.mktemp(request.param))


def picture(seed: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def turns(model: CirModel) -> list[Spoken]:
    return [
        model.reader.user_turn(picture(1), query_prompt("is red <image> with long sleeves")),
        model.reader.user_turn(picture(2), query_prompt("shorter")),
        model.reader.user_turn(picture(3), image_prompt()),
    ]


def test_a_vector_does_not_depend_on_its_batch_and_a_modification_holds_no_special_token(base: Path) -> None:
    model = CirModel(base, ModelSettings(), CPU).eval()
    reader = model.reader
    chains = [reader.chain_ids("caption: red dress"), reader.chain_ids("x"), []]
    spoken = turns(model)
    assert spoken[0].ids.count(reader.image_token_id) == spoken[2].ids.count(reader.image_token_id)
    with torch.no_grad():
        together = model(reader.embedding_batch(spoken, chains)).vectors
        for index, (turn, chain) in enumerate(zip(spoken, chains, strict=True)):
            alone = model(reader.embedding_batch([turn], [chain])).vectors[0]
            torch.testing.assert_close(together[index], alone, atol=1e-5, rtol=1e-4)
    assert together.norm(dim=-1).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
    assert (together[0] - together[2]).abs().max() > 1e-3


def test_writing_is_greedy_whatever_the_base_would_like(base: Path, tmp_path: Path) -> None:
    """Qwen's folders come with a repetition penalty: it would punish copying, which chains are made of."""
    shutil.copytree(base, tmp_path / "base")
    model = CirModel(base, ModelSettings(), CPU).eval()
    plain = model.write_chains(turns(model), 12)
    (tmp_path / "base" / "generation_config.json").write_text('{"repetition_penalty": 3.0, "top_k": 1}')
    changed = CirModel(tmp_path / "base", ModelSettings(), CPU).eval()
    assert changed.write_chains(turns(changed), 12) == plain


def test_a_base_that_lacks_weights_or_has_broken_ones_is_refused(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "base")
    file = tiny_models.lacking(tmp_path / "base", "layers.0")
    with pytest.raises(UsageError, match=r"its weights lack .*layers\.0"):
        CirModel(tmp_path / "base", ModelSettings(), CPU)
    file.write_bytes(b"nothing")
    with pytest.raises(UsageError, match="its weights cannot be loaded"):
        CirModel(tmp_path / "base", ModelSettings(), CPU)


def test_large_weights_of_equal_shape_are_told_apart(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "WHOLE_FILE_BYTES", 10_000)
    shutil.copytree(base, tmp_path / "base")
    assert checkpoint.base_digest(tmp_path / "base") == checkpoint.base_digest(base)
    file = tmp_path / "base" / "model.safetensors"
    save_file({n: w + 1 for n, w in load_file(file).items()}, file, {"format": "pt"})
    assert checkpoint.base_digest(tmp_path / "base") != checkpoint.base_digest(base)


def test_all_that_a_base_says_of_words_and_pictures_is_part_of_its_identity(
    base: Path, tmp_path: Path
) -> None:
    known = checkpoint.base_digest(base)
    files = {path.name for path in base.iterdir()}
    assert {"tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"} <= files
    assert files & {"chat_template.jinja", "chat_template.json"}
    for name in sorted(files):
        shutil.copytree(base, tmp_path / name)
        with (tmp_path / name / name).open("ab") as handle:
            handle.write(b" ")
        changed = checkpoint.base_digest(tmp_path / name) != known
        assert changed == (name != "generation_config.json"), name


def test_a_chain_holds_no_special_token_whatever_it_says(base: Path) -> None:
    model = CirModel(base, ModelSettings(), CPU).eval()
    reader = model.reader
    said = f"caption: a {reader.image_token} on {EMB} and {reader.tokenizer.eos_token}"
    ids = reader.chain_ids(said)
    assert not {reader.image_token_id, reader.emb_id, reader.end_id} & set(ids)
    assert reader.text(ids) == said
    turn = reader.user_turn(picture(1), query_prompt("shorter"))
    with torch.no_grad():
        assert model(reader.embedding_batch([turn], [ids])).vectors.isfinite().all()


def test_a_projected_vector_is_float32_also_where_products_are_not(base: Path) -> None:
    model = CirModel(base, ModelSettings(projection=4), CPU).eval()
    turns = [model.reader.user_turn(Image.new("RGB", (40, 40)), "what is it?")]
    with torch.autocast("cpu", torch.bfloat16):
        vectors = model(model.reader.embedding_batch(turns)).vectors
    assert vectors.dtype == torch.float32


def test_a_sight_gives_the_vector_and_the_gradients_of_the_picture_itself(base: Path) -> None:
    """A frozen tower's states stand for the picture: same ids, same vectors, same pull on what is trained."""
    model = CirModel(base, ModelSettings(tuning="frozen_tower"), CPU).train()
    pictures, text = [picture(1), picture(2), picture(1)], query_prompt("shorter <image>")
    found = []
    for shown in (pictures, [model.sight(each) for each in pictures]):
        spoken = [model.reader.user_turn(each, text) for each in shown]
        batch = model.reader.embedding_batch(spoken, [model.reader.chain_ids("red")] * 3)
        result = model(batch)
        (result.vectors.sum() + result.chain_nll).backward()
        pull = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        model.zero_grad()
        found.append((batch.inputs["input_ids"].tolist(), result.vectors.detach(), pull))
    (ids, vectors, pull), (sight_ids, sight_vectors, sight_pull) = found
    assert ids == sight_ids
    torch.testing.assert_close(vectors, sight_vectors, atol=1e-6, rtol=1e-5)
    assert pull.keys() == sight_pull.keys()
    assert any("connector" in name for name in pull) == ("qwen" not in base.name)
    for name in pull:
        torch.testing.assert_close(pull[name], sight_pull[name], atol=1e-5, rtol=1e-4, msg=name)


def test_a_sight_holds_no_draw_of_a_towers_dropout(tmp_path: Path) -> None:
    model = CirModel(tiny_models.idefics(tmp_path), ModelSettings(tuning="frozen_tower"), CPU).train()
    for module in model.backbone.base_model.vision_model.modules():
        if hasattr(module, "dropout"):
            module.dropout = 0.5
    before = torch.get_rng_state()
    first, again = model.sight(picture(1)), model.sight(picture(1))
    assert isinstance(first, Spoken) and isinstance(again, Spoken)
    assert torch.equal(first.pixels["tower_states"], again.pixels["tower_states"])
    assert torch.equal(before, torch.get_rng_state())
    assert model.backbone.base_model.vision_model.training


def test_an_idefics_turn_is_what_its_own_processor_makes_of_picture_and_text(tmp_path: Path) -> None:
    reader = Reader(tiny_models.idefics(tmp_path))
    content = [{"type": "image"}, {"type": "text", "text": "make it red, <shorter>"}]
    rendered = reader.processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    whole = reader.processor(
        images=[picture(1)], text=rendered, return_tensors="pt", add_special_tokens=False
    )
    for shown in (picture(1), reader.sight(picture(1))):
        turn = reader.user_turn(shown, "make it red, <shorter>")
        assert list(turn.ids) == whole["input_ids"][0].tolist()
        torch.testing.assert_close(turn.pixels["pixel_values"], whole["pixel_values"])


def test_the_vector_is_the_state_after_emb_entered_and_its_row_is_trained_under_lora(base: Path) -> None:
    model = CirModel(base, ModelSettings(tuning="lora", lora_rank=2), CPU).eval()
    batch = model.reader.embedding_batch(turns(model), [[], [], []])
    assert batch.inputs["input_ids"][torch.arange(3), batch.ends].tolist() == [model.reader.emb_id] * 3
    before = model(batch).vectors
    (before * torch.randn_like(before)).sum().backward()
    assert model.emb_row.grad is not None and model.emb_row.grad.abs().max() > 0
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert all("lora_" in name for name in trained if name not in ("emb_row", "temperature.log_scale"))
    assert any("lora_" in name for name in trained)
    assert not any("vision" in name or "visual" in name for name in trained)
    assert parameter_counts(model)[1] < parameter_counts(model)[0] / 5
    with torch.no_grad():
        model.emb_row.add_(torch.randn_like(model.emb_row))
        assert (model(batch).vectors - before).abs().max() > 1e-3


@pytest.mark.parametrize(("tuning", "tower"), [("full", True), ("frozen_tower", False)])
def test_full_tuning_trains_the_tower_and_frozen_tower_does_not(base: Path, tuning: str, tower: bool) -> None:
    model = CirModel(base, ModelSettings(tuning=tuning), CPU)  # type: ignore[arg-type]
    model.checkpoint_activations()
    model.train()
    done = model(model.reader.embedding_batch(turns(model), [[5, 6], [7], [8]]))
    (done.vectors.sum() + done.chain_nll).backward()
    moved = [name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert any(".layers.0." in name for name in moved)
    assert any("vision" in name or "visual" in name for name in moved) == tower


def test_written_chains_equal_step_by_step_greedy_and_prefill_the_same_as_gold_ones(base: Path) -> None:
    model = CirModel(base, ModelSettings(), CPU).eval()
    spoken = turns(model)
    written = model.write_chains(spoken, max_tokens=4)
    banned = [model.reader.emb_id, model.reader.image_token_id]
    for turn, chain in zip(spoken, written, strict=True):
        slow: list[int] = []
        while len(slow) < 4:
            row = Spoken((*turn.ids, *slow), turn.pixels)
            inputs = model.reader.generation_inputs([row])
            with torch.no_grad():
                logits = model.backbone(**inputs).logits[0, -1]
            logits[banned] = -torch.inf
            slow.append(int(logits.argmax()))
            if slow[-1] == model.reader.end_id:
                slow.pop()
                break
        assert chain == slow
    batch = model.reader.embedding_batch(spoken, written)
    assert batch.labels[0, batch.ends[0]] == model.reader.end_id, "the model learns to end its chain"


def test_a_trained_step_survives_saving_and_loading(base: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = CirModel(base, ModelSettings(lora_rank=2, projection=7), CPU)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05)
    batch = model.reader.embedding_batch(turns(model), [[5, 6], [7], [8]])
    first = model(batch)
    (first.vectors[:, 0].sum() + first.chain_nll * model.temperature()).backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
        after = model(batch).vectors
    assert after.shape == (3, 7) and (after - first.vectors).abs().max() > 1e-3
    checkpoint.save(model, base, tmp_path / "model", {"steps": 1})
    checkpoint.save(model, base, tmp_path / "model", {"steps": 2})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
    loaded, card = checkpoint.load(tmp_path / "model", CPU)
    with torch.no_grad():
        torch.testing.assert_close(loaded.eval()(batch).vectors, after, atol=0, rtol=0)
    assert card.about == {"steps": 2}
    assert loaded.temperature.log_scale.item() == model.temperature.log_scale.item()


def test_a_checkpoint_of_another_model_or_cut_short_is_refused(tmp_path: Path) -> None:
    first, second = (tiny_models.idefics(tmp_path / str(seed), seed) for seed in (1, 2))
    model = CirModel(first, ModelSettings(lora_rank=2), CPU)
    folder = tmp_path / "model"
    checkpoint.save(model, first, folder)
    with pytest.raises(UsageError, match="is a checkpoint of another model than"):
        checkpoint.load(folder, CPU, base=second)
    with pytest.raises(UsageError, match="is no model folder"):
        checkpoint.load(folder, CPU, base=tmp_path / "gone")
    with pytest.raises(UsageError, match="checkpoint of another model"):
        checkpoint.load_into(CirModel(first, ModelSettings(lora_rank=3), CPU), folder)
    card = (folder / checkpoint.CARD).read_text()
    (folder / checkpoint.CARD).write_text(card.replace('"lora_rank"', '"rank_of_then"'))
    with pytest.raises(InputError, match=r"settings of another version \(.*rank_of_then"):
        checkpoint.load(folder, CPU)
    (folder / checkpoint.CARD).write_text(card)
    weights = folder / checkpoint.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"missing or not the file that retriever\.json speaks of"):
        checkpoint.load(folder, CPU)
    with pytest.raises(InputError, match="no checkpoint of a retriever"):
        checkpoint.load(tmp_path / "nowhere", CPU)


def test_a_model_without_image_input_and_a_gpu_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="model of type llama has no image input"):
        CirModel(tiny_models.text_only(tmp_path / "text"), ModelSettings(), CPU)
    with pytest.raises(UsageError, match="nowhere: no such folder; check BASE_MODEL"):
        CirModel(tmp_path / "nowhere", ModelSettings(), CPU)
    with pytest.raises(UsageError, match="models are folders here"):
        CirModel("somebody/a-model-on-a-hub", ModelSettings(), CPU)
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="there is no GPU here"):
            choose_device("cuda")
    assert choose_device("cpu") == CPU
