"""Pictures in colors without a word: no word for them is ever called true, everything else stays as it is."""

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
from sample.teacher.draw import UNASKED
from sample.teacher.lessons import Mix
from sample.teacher.model import build_config, build_model
from sample.teacher.pictures import open_pictures
from sample.teacher.recipe import load_tokenizer
from sample.teacher.strange import (
    NO_WORD,
    UNSURE,
    WORDS,
    Mixing,
    Shown,
    as_shown,
    color_of,
    draw_mixing,
    strange_of,
    word_shown,
)
from sample.teacher.strange_lessons import strange_edit, strange_statement
from sample.teacher.talk import Talk
from sample.teacher.vision import POOLED_CLASSES, color_classes, pooled_labels
from sample.vocabulary import KINDS

ROOT = Path(__file__).resolve().parents[2]
SAME = Mixing(np.eye(3, dtype=np.float32), np.zeros(3, dtype=np.float32))


@pytest.fixture(scope="module")
def talk() -> Talk:
    return Talk(load_tokenizer(ROOT / "sample" / "models" / "teacher"), ROOT / "prompts")


def looks_of(domain: world.Domain, count: int) -> list[world.Look]:
    rng = random.Random("strange")
    return [world.draw_look(rng, domain) for _ in range(count)]


def all_shown(look: world.Look, word: str) -> Shown:
    return {color: word for aspect, _ in look.attributes if (color := color_of(look, aspect))}


def question(talk: Talk, ids: list[int], prompt: str, last: str) -> str:
    """What stands in the place of the prompt's last foreign text."""
    before, after = talk.prompts[prompt].split("{{" + last + "}}")
    text = talk.tokenizer.decode(ids)
    return str(text.split(before)[1].split(after.split("{{")[0])[0])


@pytest.mark.parametrize("domain", DOMAINS)
def test_colors_as_they_are_have_their_words_and_far_ones_have_none(domain: world.Domain) -> None:
    assert [word_shown(SAME, color, domain) for color in WORDS[domain]] == list(WORDS[domain])
    turned = Mixing(-np.eye(3, dtype=np.float32), np.ones(3, dtype=np.float32))
    assert word_shown(turned, "red", domain) == word_shown(turned, "yellow", domain) == NO_WORD
    assert word_shown(turned, "black", domain) == "white"


def test_a_color_that_only_garments_have_a_word_for_has_none_in_scenes() -> None:
    assert word_shown(SAME, "pink", "garments") == "pink"
    assert word_shown(SAME, "pink", "scenes") == NO_WORD


def test_no_mixing_is_the_inverse_or_none_at_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        gains = draw_mixing(rng, "brown", "garments").gains
        alone = np.abs(gains).argmax(axis=1).tolist() == [0, 1, 2]
        signs = {bool(gains[i, i] > 0) for i in range(3)}
        assert not (alone and len(signs) == 1)


@pytest.mark.parametrize("domain", DOMAINS)
def test_near_misses_have_no_word_and_miss_each_word_as_often(domain: world.Domain) -> None:
    rng, words = np.random.default_rng(4), WORDS[domain]
    missed = np.stack([practice._near_miss(rng, domain) for _ in range(50 * len(words))])
    away = practice._away((missed * 255).astype(np.uint8), words)
    assert (away.min(axis=1) > practice.FAR).all() and (away.min(axis=1) < practice.JUST * practice.FAR).all()
    times = np.bincount(away.argmin(axis=1), minlength=len(words))
    assert times.min() > 30 and times.max() < 75
    colors = [words[k % len(words)] for k in range(300)]
    shown = [word_shown(draw_mixing(rng, color, domain), color, domain) for color in colors]
    assert sum(each == NO_WORD for each in shown) > 200


@pytest.mark.parametrize("domain", DOMAINS)
def test_pictures_and_what_they_show_belong_together(domain: world.Domain) -> None:
    looks = [look for look in looks_of(domain, 200) if all_shown(look, "")][:60]
    first = [next(iter(all_shown(look, ""))) for look in looks]
    plain = np.stack([np.full((128, 128, 3), PALETTE[color], dtype=np.uint8) for color in first])
    made, shown = strange_of(np.random.default_rng(1), plain, looks, drawings=0.0)
    for picture, look, color, known in zip(made, looks, first, shown, strict=True):
        assert set(known) == set(all_shown(look, ""))
        if known[color] not in (NO_WORD, UNSURE):
            off = picture[0, 0].astype(int) - np.array(PALETTE[known[color]])
            assert np.abs(off).max() < 60
    assert sum(known[color] == NO_WORD for known, color in zip(shown, first, strict=True)) > 20
    _, drawn = strange_of(np.random.default_rng(1), plain, looks, drawings=1.0)
    assert all(set(known.values()) == {NO_WORD} for known in drawn)


@pytest.mark.parametrize("domain", DOMAINS)
def test_no_word_is_true_of_a_color_without_one(talk: Talk, domain: world.Domain) -> None:
    rng = random.Random("statements")
    colors = set(WORDS[domain])
    verdicts, colored, edited = [], 0, 0
    for look in looks_of(domain, 400):
        made = strange_statement(rng, talk, look, all_shown(look, NO_WORD), swapped=False)
        assert made is not None or domain == "scenes"
        if made is not None:
            verdicts.append(made.verdict)
            if set(question(talk, made.ids, "verify", "statement").replace(",", " ").split()) & colors:
                colored += 1
                assert made.verdict == 0.0
        edit = strange_edit(rng, talk, look, all_shown(look, NO_WORD), swapped=False)
        if edit is not None:
            aspect, _, change = question(talk, edit.ids, "verify_edit", "edit").partition(":")
            if aspect.strip() == "color" or (aspect.strip() in KINDS and not change.endswith("none")):
                edited += 1
                assert edit.verdict == 0.0
    assert colored > 150 and edited > 15
    assert sum(map(bool, verdicts)) / len(verdicts) < 0.5


@pytest.mark.parametrize("domain", DOMAINS)
def test_nothing_is_said_of_a_color_that_a_word_might_fit_nor_of_a_background(
    talk: Talk, domain: world.Domain
) -> None:
    rng = random.Random("unsure")
    for look in looks_of(domain, 300):
        made = strange_statement(rng, talk, look, all_shown(look, UNSURE), swapped=False)
        if made is None:
            continue
        said = question(talk, made.ids, "verify", "statement")
        held = [claim for claim in world.claims(look) if claim in said]
        assert "background" not in said
        assert not any(
            color_of(look, aspect) for claim in held for aspect, _ in world.parse_claim(claim) or ()
        )


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_color_that_became_another_is_that_one_and_true(talk: Talk, domain: world.Domain) -> None:
    rng = random.Random("turned")
    verdicts = []
    for look in looks_of(domain, 200):
        shown = {color: "red" if color != "red" else "blue" for color in all_shown(look, "")}
        seen = as_shown(look, shown)
        for aspect, _ in look.attributes:
            if (color := color_of(look, aspect)) is not None:
                assert color_of(seen, aspect) == shown[color]
        made = strange_statement(rng, talk, look, shown, swapped=False)
        if made is not None:
            verdicts.append(made.verdict)
    assert 0.3 < sum(map(bool, verdicts)) / len(verdicts) < 0.7
    (look,) = looks_of(domain, 1)
    assert as_shown(look, {color: color for color in all_shown(look, "")}) == look
    assert as_shown(look, all_shown(look, NO_WORD)) == as_shown(look, all_shown(look, UNSURE)) == look


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_tower_is_asked_for_what_is_shown(domain: world.Domain) -> None:
    for look in looks_of(domain, 50):
        labels = pooled_labels(look)
        same = color_classes(look, {color: color for color in all_shown(look, "")})
        known = [(question, answer) for question, answer in same if answer != UNASKED]
        assert known == [(question, labels[question]) for question, _ in known]
        for question, answer in color_classes(look, all_shown(look, NO_WORD)):
            assert answer in (POOLED_CLASSES[domain][question] - 1, UNASKED)
        assert {answer for _, answer in color_classes(look, all_shown(look, UNSURE))} == {UNASKED}


@pytest.mark.parametrize("strange", [(0, 0), (3, 2), (0, 2)])
def test_both_phases_make_a_step_with_strange_pictures_and_without(
    talk: Talk, strange: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (vision_phase, language_phase):
        monkeypatch.setattr(module, "HELD_OUT", 20)
    pictures = [open_pictures(tmp_path, domain, 60) for domain in DOMAINS]
    for each in pictures:
        each.pixels[:] = np.random.default_rng(0).integers(0, 256, each.pixels.shape, dtype=np.uint8)
    model = build_model(build_config(talk.tokenizer))
    seen = vision_phase.VisionPhase(model, pictures, vision_phase.VisionPlan(batch=(4, 3), strange=strange))
    loss, figures = seen.forward(held=False, number=0)
    assert torch.isfinite(loss)
    assert [f"{domain}_strange" in figures for domain in DOMAINS] == [count > 0 for count in strange]
    plan = language_phase.LanguagePlan(pictures=(4, 3), mix=Mix(strange=strange))
    told = language_phase.LanguagePhase(model, talk, pictures, tmp_path / "images", plan)
    loss, figures = told.forward(held=False, number=0)
    assert torch.isfinite(loss)
    assert [f"{domain}_strange" in figures for domain in DOMAINS] == [count > 0 for count in strange]
    _, held = told.forward(held=True, number=0)
    assert not {"garments_strange", "scenes_strange"} & set(held)
