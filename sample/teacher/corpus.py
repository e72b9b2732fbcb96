"""What the tokenizer is trained on: the world's words, modification texts and rationales."""

from __future__ import annotations

import random
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from sample import vocabulary, world
from sample.teacher.draw import draw_triplet
from sample.teacher.tokens import phrases, train_tokenizer

DOMAINS: tuple[world.Domain, ...] = ("garments", "scenes")


def world_words() -> set[str]:
    """Every word that an answer of the sample world can hold."""
    lists = (
        *vocabulary.GARMENT_VALUES.values(),
        *(vocabulary.KINDS, vocabulary.SIZES, vocabulary.PATTERNS, vocabulary.COLORS),
        *(vocabulary.BACKGROUNDS, vocabulary.ARRANGEMENTS),
        *(vocabulary.GARMENT_ASPECTS, vocabulary.SCENE_ASPECTS, vocabulary.GARMENT_NOUNS.values()),
        ("background", "objects", "none", "other", "match", "mismatch", "A", "B"),
    )
    return {word for values in lists for value in values for word in value.split()}


def build_tokenizer(prompts: Path, seed: int = 1_000_001, texts: int = 12_000) -> PreTrainedTokenizerFast:
    """The teacher's tokenizer, a function of the prompts, the world and the seed."""
    rng = random.Random(seed)
    spoken = []
    for _ in range(texts):
        look = world.draw_look(rng, rng.choice(DOMAINS))
        edits, text = draw_triplet(rng, look)
        spoken += [text, world.rationale(edits)]
    found = phrases(prompts, [world.aspects(domain) for domain in DOMAINS])
    return train_tokenizer([*spoken, *found], world_words(), found)
