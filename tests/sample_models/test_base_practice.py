"""What the base and the CLIP practise on: true of the picture, never a wish to change it."""

from __future__ import annotations

import random
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor, PreTrainedTokenizerFast

from annotate.errors import InputError
from sample import loop, world
from sample.base.__main__ import make
from sample.base.command import train
from sample.base.corpus import DOMAINS, Scribe, build_tokenizer
from sample.base.kin import LENGTH, SIZE, apart, draw_family, graded_loss
from sample.base.train import contrast_loss
from sample.clip.model import build_clip, build_clip_tokenizer, export_clip
from sample.loop import Budget
from sample.teacher.tokens import EOS
from sample.vocabulary import KINDS, SIZES

WORDS_OF_CHANGE = r"\b(change|replace|remove|add|edits?|kept|keep|conclusion|instead|match|reference)\b"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer(texts=300)


@pytest.fixture(scope="module")
def scribe(tokenizer: PreTrainedTokenizerFast) -> Scribe:
    return Scribe(tokenizer)


@pytest.mark.parametrize("domain", DOMAINS)
def test_captions_and_notes_end_with_all_claims_of_the_look(
    scribe: Scribe, tokenizer: PreTrainedTokenizerFast, domain: world.Domain
) -> None:
    rng = random.Random(3)
    for _ in range(100):
        look = world.draw_look(rng, domain)
        claims = ", ".join(world.claims(look))
        for document in (scribe.caption(rng, look), scribe.notes(rng, look), scribe.statement(rng, look)):
            text = tokenizer.decode(document.ids)
            assert text.endswith(f"{claims}<end_of_utterance>")
            assert 0 < len(document.learned) < len(document.ids) < 400
            assert list(document.learned)[-1] == len(document.ids) - 1


@pytest.mark.parametrize("domain", DOMAINS)
def test_nothing_that_is_read_speaks_of_a_change(
    scribe: Scribe, tokenizer: PreTrainedTokenizerFast, domain: world.Domain
) -> None:
    rng = random.Random(4)
    for _ in range(300):
        look = world.draw_look(rng, domain)
        documents = (
            scribe.caption(rng, look),
            scribe.notes(rng, look),
            scribe.reading(rng, look),
            scribe.beside(rng, look, world.draw_look(rng, domain)),
        )
        text = tokenizer.decode([token for document in documents for token in document.ids])
        assert not re.search(WORDS_OF_CHANGE, text), text


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_reading_tells_again_what_was_said_of_the_look_and_learns_that_alone(
    scribe: Scribe, tokenizer: PreTrainedTokenizerFast, domain: world.Domain
) -> None:
    rng, unsaid, missing = random.Random(5), 0, 0
    for _ in range(300):
        look = world.draw_look(rng, domain)
        document = scribe.reading(rng, look)
        said = tokenizer.decode(document.ids[: document.learned[0]])
        again = tokenizer.decode([document.ids[place] for place in document.learned]).removesuffix(EOS)
        pairs = [pair.split(": ") for pair in again.split("; ")]
        assert [a for a in world.aspects(domain) if a in dict(pairs)] == [a for a, _ in pairs]
        for aspect, value in pairs:
            assert _true_of(look, aspect, value)
            if aspect in KINDS:
                assert re.search(rf"\b{aspect}\b", said)
                for part in set(value.split()) - {*SIZES, "some", "none"}:
                    assert part in said
            unsaid, missing = unsaid + (value == "some"), missing + (value == "none")
    assert (unsaid > 0, missing > 0) == (domain == "scenes",) * 2


@pytest.mark.parametrize("domain", DOMAINS)
def test_beside_words_about_another_picture_the_own_claims_come_first_then_the_others_list(
    scribe: Scribe, tokenizer: PreTrainedTokenizerFast, domain: world.Domain
) -> None:
    rng = random.Random(6)
    for _ in range(100):
        look, other = (world.draw_look(rng, domain) for _ in range(2))
        document = scribe.beside(rng, look, other)
        learned = tokenizer.decode([document.ids[place] for place in document.learned]).removesuffix(EOS)
        caption, again = learned.split("\n")
        assert caption == ", ".join(world.claims(look))
        assert all(_true_of(other, *pair.split(": ")) for pair in again.split("; "))


def _true_of(look: world.Look, aspect: str, value: str) -> bool:
    """Whether the value is the look's, a part of it, or says only that there is one."""
    there = look.value(aspect)
    return value in (there, "some") or set(value.split()) < set(there.split())


def test_an_echo_is_learned_only_where_it_repeats(scribe: Scribe) -> None:
    for seed in range(50):
        document = scribe.echo(random.Random(seed))
        *again, end = document.learned
        assert end == len(document.ids) - 1
        period = next(
            n
            for n in range(3, 30)
            if document.ids[again[0] - n : again[0]] == document.ids[again[0] : again[0] + n]
        )
        assert all(document.ids[place] == document.ids[place - period] for place in again)


def test_what_a_look_up_asks_for_was_said_before_under_the_same_name(scribe: Scribe) -> None:
    for seed in range(50):
        document = scribe.look_up(random.Random(seed))
        *asked, end = document.learned
        assert end == len(document.ids) - 1
        said = document.ids[: asked[0]]
        runs = [k for k in asked if k - 1 not in asked]
        for begin in runs:
            length = next(n for n in range(len(asked) + 1) if begin + n not in asked)
            looked_up = document.ids[begin - 1 : begin + length]
            assert any(said[k : k + length + 1] == looked_up for k in range(len(said)))


def test_the_contrast_loss_equals_a_loop_over_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    pictures, texts = (
        torch.nn.functional.normalize(torch.randn(n, 8, generator=generator), dim=-1) for n in (3, 5)
    )
    scores = (pictures @ texts.T / 0.05).exp()
    there = sum(-(scores[i, i] / scores[i].sum()).log() for i in range(3)) / 3
    back = sum(-(scores[i, i] / scores[:, i].sum()).log() for i in range(3)) / 3
    loss, found = contrast_loss(pictures, texts)
    assert float(loss) == pytest.approx(float((there + back) / 2), rel=1e-5)
    assert found == pytest.approx(float((scores.argmax(1) == torch.arange(3)).float().mean()))


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_family_has_branches_that_go_away_step_by_step(domain: world.Domain) -> None:
    crossed = 0
    for seed in range(60):
        away = apart(family := draw_family(random.Random(seed), domain))
        assert len(family) == SIZE and {look.domain for look in family} == {domain}
        assert all((away[a][b] == 0) == (a == b) for a in range(SIZE) for b in range(SIZE)), "no look twice"
        for first in range(1, SIZE, LENGTH):  # an object in another's place are two aspects, and no more
            branch = [0, *range(first, first + LENGTH)]
            assert all(away[a][b] <= 2 for a, b in pairwise(branch))
            crossed += away[0][first] < away[0][SIZE - 1]
        objects = {len(world.objects(look)) for look in family} if domain == "scenes" else {0}
        assert domain == "garments" or max(objects) <= 4
    assert crossed > 30  # near on one branch, far on the other: differences that share nothing are weighed


def test_the_graded_loss_wants_the_nearer_first_and_is_indifferent_among_the_equally_near() -> None:
    away = torch.tensor([[[0, 1, 1, 2], [1, 0, 2, 1], [1, 2, 0, 1], [2, 1, 1, 0]]])
    right = -6.0 * away
    swapped = right.clone()
    swapped[0, 0, 1], swapped[0, 0, 3] = right[0, 0, 3], right[0, 0, 1]
    assert float(graded_loss(right, away)) < 0.01 < float(graded_loss(swapped, away))
    nothing_known = torch.zeros_like(right, requires_grad=True)
    (gradient,) = torch.autograd.grad(graded_loss(nothing_known, away), nothing_known)
    # from nothing known: the nearest is pulled up, the farthest down, in rows and columns alike
    assert (gradient.diagonal(dim1=1, dim2=2) < 0).all() and (gradient[away == 2] > 0).all()


class _Line(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(5.0))


class _Practice:
    """Fits one number to 1; what it draws is a function of the step alone."""

    def __init__(self) -> None:
        line = _Line()
        self.modules: dict[str, torch.nn.Module] = {"line": line}
        self.optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(line.parameters(), lr=0.1)]
        for group in self.optimizers[0].param_groups:
            group["peak"] = group["lr"]
        self.line = line
        self.asked: list[int] = []

    def forward(self, held: bool, number: int) -> tuple[torch.Tensor, loop.Figures]:
        self.asked += [] if held else [number]
        return (self.line.weight - 1) ** 2, {"away": abs(float(self.line.weight.detach()) - 1)}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--minutes", "nan"], "--minutes is nan"),
        (["--minutes", "0"], "--minutes is 0"),
        (["--threads", "0"], "--threads is 0"),
        (["--out", "/dev/null"], "/dev/null is no folder"),
    ],
)
def test_a_training_that_would_export_what_it_never_trained_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    (tmp_path / "pictures").mkdir()
    given = ["train", "--work", str(tmp_path), "--out", str(tmp_path / "out"), *flags]
    assert train("base", "", 1.0, make, given, inits=True) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_practice_goes_on_at_the_step_and_with_the_weights_of_its_checkpoint(tmp_path: Path) -> None:
    first, second = _Practice(), _Practice()
    checkpoint = tmp_path / "line.safetensors"
    loop.run(first, Budget(0.002), checkpoint)
    loop.run(second, Budget(0.004), checkpoint)
    assert first.asked[0] == 0 and second.asked[0] == first.asked[-1] + 1
    away = [abs(practice.line.weight.item() - 1) for practice in (second, first)]
    assert away[0] < away[1] < 4
    assert (tmp_path / "line.jsonl").read_text().count('"held": true') >= 2


def test_a_checkpoint_of_another_network_is_named(tmp_path: Path) -> None:
    checkpoint = tmp_path / "line.safetensors"
    loop.run(_Practice(), Budget(0.0001), checkpoint)
    other = _Practice()
    other.modules["more"] = _Line()
    with pytest.raises(InputError, match=r"line\.safetensors: checkpoint of another network \(.*; remove it"):
        loop.run(other, Budget(0.0002), checkpoint)


def test_the_clip_folder_is_loaded_by_transformers_and_sees_pixels_as_in_training(tmp_path: Path) -> None:
    tokenizer = build_clip_tokenizer()
    torch.manual_seed(0)
    model = build_clip(tokenizer).eval()
    export_clip(model, tokenizer, tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    found = AutoProcessor.from_pretrained(tmp_path)(
        images=[Image.fromarray(pixels)], text=["red dress"], return_tensors="pt"
    )
    trained_on = torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1
    assert torch.equal(found["pixel_values"][0], trained_on)
    assert found["input_ids"][0, -1] == tokenizer.eos_token_id
    loaded = AutoModel.from_pretrained(tmp_path, dtype=torch.float32).eval()
    with torch.no_grad():
        assert torch.allclose(
            loaded(**found).logits_per_image, model(**found).logits_per_image, rtol=5e-3, atol=5e-3
        )


def test_a_work_folder_without_pictures_is_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["train", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    assert train("base", "", 1, make, flags, inits=True) == 2
    assert re.fullmatch(r"error: .*/work holds no pictures; .*\n", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []


def test_going_on_from_a_folder_without_a_model_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no model\.safetensors"):
        make(tmp_path, [], tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
