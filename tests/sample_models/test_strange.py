"""Garments in colors without a word: no word for them is ever called true, everything else stays as it is."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from sample import world
from sample.paint import PALETTE
from sample.teacher import language_phase, vision_phase
from sample.teacher import strange as practice
from sample.teacher.corpus import DOMAINS
from sample.teacher.lessons import Mix, strange_edit, strange_statement
from sample.teacher.model import build_config, build_model
from sample.teacher.pictures import open_pictures
from sample.teacher.recipe import load_tokenizer
from sample.teacher.strange import (
    COLORS,
    NO_WORD,
    UNSURE,
    Mixing,
    as_shown,
    color_class,
    draw_mixing,
    strange_of,
)
from sample.teacher.talk import Talk

ROOT = Path(__file__).resolve().parents[2]
SAME = Mixing(np.eye(3, dtype=np.float32), np.zeros(3, dtype=np.float32))


@pytest.fixture(scope="module")
def talk() -> Talk:
    return Talk(load_tokenizer(ROOT / "sample" / "models" / "teacher"), ROOT / "prompts")


def garments(count: int) -> list[world.Look]:
    rng = random.Random("strange")
    return [world.draw_look(rng, "garments") for _ in range(count)]


def question(talk: Talk, ids: list[int], prompt: str, last: str) -> str:
    """What stands in the place of the prompt's last foreign text."""
    before, after = talk.prompts[prompt].split("{{" + last + "}}")
    text = talk.tokenizer.decode(ids)
    return str(text.split(before)[1].split(after.split("{{")[0])[0])


def test_colors_as_they_are_have_their_words_and_far_ones_have_none() -> None:
    assert [color_class(SAME, color) for color in COLORS] == list(range(len(COLORS)))
    turned = Mixing(-np.eye(3, dtype=np.float32), np.ones(3, dtype=np.float32))
    assert {color_class(turned, color) for color in ("red", "brown", "pink")} == {NO_WORD}
    assert color_class(turned, "black") == COLORS.index("white")


def test_no_mixing_is_the_inverse_or_none_at_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        gains = draw_mixing(rng, "brown").gains
        alone = np.abs(gains).argmax(axis=1).tolist() == [0, 1, 2]
        signs = {bool(gains[i, i] > 0) for i in range(3)}
        assert not (alone and len(signs) == 1)


def test_a_near_miss_has_no_word_and_is_near_one() -> None:
    rng = np.random.default_rng(4)
    missed = np.stack([practice._near_miss(rng) for _ in range(200)])
    away = np.linalg.norm(
        practice._lab((missed * 255).astype(np.uint8))[:, None] - practice._PALETTE_LAB, axis=-1
    ).min(axis=1)
    assert (away > practice.FAR).all() and np.median(away) < 1.3 * practice.FAR
    classes = [
        color_class(draw_mixing(rng, COLORS[k % len(COLORS)]), COLORS[k % len(COLORS)]) for k in range(300)
    ]
    assert sum(each == NO_WORD for each in classes) > 200


def test_pictures_and_classes_belong_together() -> None:
    colors = [COLORS[k % len(COLORS)] for k in range(60)]
    plain = np.stack([np.full((128, 128, 3), PALETTE[color], dtype=np.uint8) for color in colors])
    made, classes = strange_of(np.random.default_rng(1), plain, colors, drawings=0.0)
    for picture, known in zip(made, classes, strict=True):
        if known not in (NO_WORD, UNSURE):
            off = picture[0, 0].astype(int) - np.array(PALETTE[COLORS[known]])
            assert np.abs(off).max() < 60
    assert (classes == NO_WORD).sum() > 20
    _, drawn = strange_of(np.random.default_rng(1), plain, colors, drawings=1.0)
    assert (drawn == NO_WORD).all()


def test_no_word_is_true_of_a_color_without_one(talk: Talk) -> None:
    rng = random.Random("statements")
    verdicts, colored, edited = [], 0, 0
    for look in garments(400):
        made = strange_statement(rng, talk, look, NO_WORD, swapped=False)
        assert made is not None
        verdicts.append(made.verdict)
        if set(question(talk, made.ids, "verify", "statement").replace(",", " ").split()) & set(COLORS):
            colored += 1
            assert made.verdict == 0.0
        edit = strange_edit(rng, talk, look, NO_WORD, swapped=False)
        assert edit is not None
        if question(talk, edit.ids, "verify_edit", "edit").strip().startswith("color"):
            edited += 1
            assert edit.verdict == 0.0
    assert colored > 150 and edited > 15
    assert 0.05 < sum(map(bool, verdicts)) / len(verdicts) < 0.5


def test_nothing_is_said_of_a_color_that_a_word_might_fit(talk: Talk) -> None:
    rng = random.Random("unsure")
    made = [strange_statement(rng, talk, look, UNSURE, swapped=False) for look in garments(300)]
    assert 0.1 < sum(each is not None for each in made) / len(made) < 0.9


def test_a_color_that_became_another_is_that_one() -> None:
    (look,) = garments(1)
    red = as_shown(look, COLORS.index("red"))
    assert red is not None and red.value("color") == "red"
    assert as_shown(look, COLORS.index(look.value("color"))) == look
    assert as_shown(look, NO_WORD) is as_shown(look, UNSURE) is None


@pytest.mark.parametrize("strange", [0, 3])
def test_both_phases_make_a_step_with_strange_garments_and_without(
    talk: Talk, strange: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (vision_phase, language_phase):
        monkeypatch.setattr(module, "HELD_OUT", 20)
    pictures = [open_pictures(tmp_path, domain, 60) for domain in DOMAINS]
    for each in pictures:
        each.pixels[:] = np.random.default_rng(0).integers(0, 256, each.pixels.shape, dtype=np.uint8)
    model = build_model(build_config(talk.tokenizer))
    seen = vision_phase.VisionPhase(model, pictures, vision_phase.VisionPlan(batch=(4, 3), strange=strange))
    loss, figures = seen.forward(held=False, number=0)
    assert torch.isfinite(loss) and (strange > 0) == ("strange_seen" in figures)
    plan = language_phase.LanguagePlan(pictures=(4, 3), mix=Mix(strange=strange))
    told = language_phase.LanguagePhase(model, talk, pictures, tmp_path / "images", plan)
    loss, figures = told.forward(held=False, number=0)
    assert torch.isfinite(loss) and (strange > 0) == ("garments_strange" in figures)
    _, held = told.forward(held=True, number=0)
    assert "garments_strange" not in held
