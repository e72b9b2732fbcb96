"""Modification texts: given the reference they determine the edits."""

from __future__ import annotations

import itertools
import random
import re

import pytest

from sample import garment_texts, scene_texts, wording, world
from sample.vocabulary import ABSENT, ARRANGEMENTS, BACKGROUNDS, GARMENT_VALUES, KINDS

# Written by hand, apart from the world's own tables: a text that asks for the value matches.
GARMENT_WORDS = {
    "plain": "plain|solid|no pattern|no stripes|no dots",
    "striped": "strip",
    "dotted": "dot",
    "checked": "check",
    "sleeveless": "sleeveless|no sleeves|without sleeves",
    "short sleeves": "short(er)? sleeve",
    "long sleeves": "(long(er)?|full length) sleeve",
    "round neck": "round(ed)? neck|crew neck",
    "v neck": "v.neck|v shaped",
    "square neck": "square",
    "collar": "collar",
    "short length": "short|shortest",
    "medium length": "medium|mid length|bit longer|slightly longer|bit shorter|slightly shorter",
    "long length": "long",
    "no belt": "no belt|without a belt|not belted",
    "belt": "belt",
    "no emblem": "no (emblem|logo|star|heart|circle)|without the emblem",
    "star emblem": "star",
    "heart emblem": "heart",
    "circle emblem": "circle|round logo",
    "straight hem": "straight|no ruffles|without ruffles",
    "ruffled hem": "ruffle|frill",
    "no closure": "no closure|nothing down|closed front|no buttons|no zip",
    "buttons": "button",
    "zip": "zip",
}
SCENE_WORDS = {
    "meadow": "meadow|grass",
    "sand": "sand",
    "water": "water",
    "night": "night",
    "brick": "brick",
    "paper": "paper",
    "in a row": "row",
    "in a column": "column",
    "on a rising diagonal": "rising|going up",
    "on a falling diagonal": "falling|going down",
    "small": "small|little",
    "large": "large|big",
}


@pytest.fixture
def no_typos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wording, "TYPO_A_WORD", 0.0)
    monkeypatch.setattr(wording, "DOUBLE_BLANK_A_TEXT", 0.0)


def _says(text: str, value: str) -> bool:
    pattern = GARMENT_WORDS.get(value, "gr[ae]y" if value == "gray" else value)
    return re.search(pattern, text.lower()) is not None


@pytest.mark.usefixtures("no_typos")
@pytest.mark.parametrize("asked", [1, 2, 3])
def test_fashioniq_captions_together_ask_for_every_edit_and_for_nothing_else(asked: int) -> None:
    rng = random.Random(asked)
    partial = 0
    for _ in range(400):
        look = world.draw_look(rng, "garments")
        edits = world.draw_edits(rng, look, asked)
        first, second = world.modification_captions(rng, look, edits)
        both = f"{first} and {second}"
        assert first.strip()
        assert second.strip()
        assert first.lower() != second.lower()
        for edit in edits:
            assert _says(both, edit.new), (edit, both)
        partial += any(not _says(text, edit.new) for edit in edits for text in (first, second))
    assert (partial > 100) == (asked > 1)


@pytest.mark.usefixtures("no_typos")
@pytest.mark.parametrize("style", ["cirr", "circo"])
def test_scene_texts_name_every_edited_aspect_and_every_changed_part(style: world.Style) -> None:
    rng = random.Random(style)
    for _ in range(800):
        look = world.draw_look(rng, "scenes")
        edits = world.draw_edits(rng, look, rng.choice((1, 2, 3)))
        text = world.modification_text(rng, look, edits, style).lower()
        gone = [edit for edit in edits if edit.new == ABSENT]
        for edit in edits:
            if edit.aspect not in KINDS:
                assert re.search(SCENE_WORDS[edit.new], text), (edit, text)
                continue
            assert edit.aspect in text, (edit, text)
            if edit.new == ABSENT:
                continue
            replaces = re.search(r"\b(replace|swap|into|instead|place of)\b", text) is not None
            # A replacement inherits what is not said; anything else that is new is small and plain.
            inherited = gone[0].old if replaces else "small plain -"
            usual = inherited if edit.old == ABSENT else edit.old
            for part in scene_texts.changed_parts(usual, edit.new):
                assert re.search(SCENE_WORDS.get(part, part), text), (edit, text)


def test_no_garment_phrase_asks_for_two_values() -> None:
    for aspect, values in GARMENT_VALUES.items():
        if aspect == "color":
            continue
        for old in values:
            ways = {
                new: {*garment_texts.ASK[new], *garment_texts.COMPARE.get((old, new), ())}
                for new in values
                if new != old
            }
            for one, two in itertools.combinations(ways, 2):
                assert not ways[one] & ways[two], (old, one, two)


def test_no_scene_word_asks_for_two_values() -> None:
    for table, values in ((scene_texts.GROUNDS, BACKGROUNDS), (scene_texts.ORDERS, ARRANGEMENTS)):
        for one, two in itertools.combinations(values, 2):
            assert not set(table[one]) & set(table[two])


def test_a_typo_never_makes_another_value() -> None:
    values = {
        word
        for said in (*garment_texts.ASK.values(), *garment_texts.COMPARE.values())
        for way in said
        for word in way.split()
    }
    values |= {word for known in GARMENT_VALUES.values() for value in known for word in value.split()} | set(
        KINDS
    )
    rng = random.Random(0)
    for word in sorted(values):
        for _ in range(60):
            slipped = wording._slip(rng, word)
            assert slipped == word or slipped not in values


@pytest.mark.usefixtures("no_typos")
def test_half_of_cirrs_texts_order_and_half_say_what_is_to_be_seen() -> None:
    rng = random.Random("stated")
    texts = []
    for _ in range(2000):
        look = world.draw_look(rng, "scenes")
        texts.append(world.modification_text(rng, look, world.draw_edits(rng, look, 2), "cirr").lower())
    shown = sum(text.startswith(("show ", "shows ")) and not text.startswith("show them") for text in texts)
    bare = sum(text.startswith(("a ", "an ", "no ")) for text in texts)
    assert 0.22 < shown / len(texts) < 0.31
    assert 0.08 < bare / len(texts) < 0.2


def test_texts_carry_typos_and_doubled_blanks_at_a_low_rate() -> None:
    rng = random.Random(9)
    look = world.draw_look(rng, "scenes")
    texts = [world.modification_text(rng, look, world.draw_edits(rng, look, 2), "cirr") for _ in range(2000)]
    doubled = sum("  " in text for text in texts) / len(texts)
    assert 0.005 < doubled < 0.05
    assert len(set(texts)) > 1500
