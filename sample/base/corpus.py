"""What the base model reads: captions of pictures and plain notes about pictures, never a change of one.

No edit, modification, conclusion or question of the annotation pipeline occurs here. Notes teach words
(reworded claims), lists and repeating exactly what an earlier line says; readings, which words belong to
which thing where not all is said. Copies are of tokens of any kind, said again or looked up by name: what
any language model can do with a text it is shown.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerFast

from sample import claim_words, vocabulary, world
from sample.teacher.model import IMAGE_TOKENS
from sample.teacher.tokens import EOS, FAKE, GLOBAL, IMAGE, ROLES, train_tokenizer

DOMAINS: tuple[world.Domain, ...] = ("garments", "scenes")
_, USER, ASSISTANT = ROLES
# Where the image tokens stand: after user role, fake token, global tag.
IMAGE_START = 3
ASKED = ("Describe it.", "What is shown?", "Describe this picture.", "What do you see here?", "Caption", "")
BESIDE = ("Another: ", "Another picture: ", "Elsewhere: ", "Somebody says: ", "")
READ = ("Read this.", "Notes", "Some pictures in words", "")
NAMES = ("picture", "photo", "shown", "seen", "one", "two", "first", "second", "left", "right", "a", "b")
TOKENS = 1024
# Common words that nothing of this world says; only the tokenizer and the copies know them.
COMMON = "caption rationale edits kept conclusion change remove add keep rest replace make".split()  # noqa: SIM905


@dataclass(frozen=True, slots=True)
class Document:
    """Token ids ending in the end token, and the places of those that are learned (not: only read)."""

    ids: tuple[int, ...]
    learned: Sequence[int]


class Scribe:
    """Writes documents as token ids, spelt as the chat template spells them."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self._memo: dict[str, list[int]] = {}
        self.image = self._encode(FAKE + GLOBAL + IMAGE * IMAGE_TOKENS + FAKE)
        self.user, self.assistant, self.end = (self._encode(text) for text in (USER, ASSISTANT, EOS))
        self._plain = [i for token, i in tokenizer.get_vocab().items() if not token.startswith("<")]
        self._plain.sort()

    def caption(self, rng: random.Random, look: world.Look) -> Document:
        """The picture, a request to describe it, its claims."""
        before = [*self.user, *self.image, *self._encode(rng.choice(ASKED)), *self.assistant]
        answer = self._encode(", ".join(world.claims(look)))
        return _learned_after(before, [*answer, *self.end])

    def beside(self, rng: random.Random, look: world.Look, other: world.Look) -> Document:
        """The picture and what somebody says of another one: the claims of the picture, then the other's
        again, as in `reading`. Whoever reads so is not led astray by what stands between."""
        said, again = self._told(rng, other)
        before = [*self.user, *self.image, *self._encode(f"{rng.choice(BESIDE)}{said}"), *self.assistant]
        answer = self._encode(f"{', '.join(world.claims(look))}\n{again}")
        return _learned_after(before, [*answer, *self.end])

    def picture(self, rng: random.Random) -> Document:
        """The picture and nothing said of it; only the state at the end is used."""
        ids = (
            *self.user,
            *self.image,
            *self._encode(rng.choice(ASKED)),
            *self.assistant,
            *self.end,
        )
        return Document(ids, ())

    def notes(self, rng: random.Random, look: world.Look) -> Document:
        """Lines about one or several pictures; the last one states all claims of `look`."""
        before = self._opening(rng)
        lines = rng.choice((_said_twice, _listed, _repeated, _repeated))(rng, look)
        return _learned_after(before, [*self._encode("\n".join(lines)), *self.end])

    def statement(self, rng: random.Random, look: world.Look) -> Document:
        """One line that states all claims of `look`."""
        before = self._opening(rng)
        text = f"{rng.choice(NAMES)}: {', '.join(world.claims(look))}"
        return _learned_after(before, [*self._encode(text), *self.end])

    def reading(self, rng: random.Random, look: world.Look) -> Document:
        """What somebody says of a picture, not all and in any order; learned is the same as a list, in a
        fixed order."""
        said, again = self._told(rng, look)
        before = [*self._opening(rng), *self._encode(f"{said}\n")]
        return _learned_after(before, [*self._encode(again), *self.end])

    def _told(self, rng: random.Random, look: world.Look) -> tuple[str, str]:
        """What somebody says of a look, and the same as a list in order."""
        told = _told_in_part(rng, look)
        *phrases, last = rng.sample([phrase for phrase, _ in told], len(told))
        between, before_last = rng.choice((", ", ", ", "; ")), rng.choice((", ", " and ", ", and "))
        text = between.join(phrases) + (before_last if phrases else "") + last
        return text, "; ".join(listed for _, listed in told)

    def copy(self, rng: random.Random) -> Document:
        """An echo or a look-up."""
        return self.echo(rng) if rng.random() < 0.35 else self.look_up(rng)

    def echo(self, rng: random.Random) -> Document:
        """A line of tokens of any kind, and the same again: only the repetition is learned."""
        before = self._opening(rng)
        line = [*rng.choices(self._plain, k=rng.randint(3, 24)), *self._encode("\n")]
        again = line * (2 if len(line) < 9 else 1)
        return _learned_after([*before, *line], [*again, *self.end])

    def look_up(self, rng: random.Random) -> Document:
        """Names and values of any tokens, then some names again: the values after these are learned."""
        ids = self._opening(rng)
        names = rng.sample(self._plain, rng.randint(2, 6))
        # Half of the texts have few different values, so that only the name tells them apart.
        values = rng.choices(self._plain, k=rng.randint(3, 8)) if rng.random() < 0.5 else self._plain
        of = {name: rng.choices(values, k=rng.randint(1, 4)) for name in names}
        between = self._encode(rng.choice((":", "", "")))
        end = self._encode(rng.choice((";", ",", "\n")))
        learned: list[int] = []
        for name in names:
            ids += [name, *between, *of[name], *end]
        for name in rng.sample(names, rng.randint(1, len(names))):
            ids += [name, *between]
            learned += range(len(ids), len(ids) + len(of[name]) + len(end))
            ids += [*of[name], *end]
        return Document((*ids, *self.end), (*learned, len(ids)))

    def _opening(self, rng: random.Random) -> list[int]:
        return [*self.user, *self._encode(rng.choice(READ)), *self.assistant]

    def _encode(self, text: str) -> list[int]:
        if text not in self._memo:
            ids: list[int] = self._tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
            if len(text) > 100:  # hardly ever said again
                return ids
            self._memo[text] = ids
        return self._memo[text]


def _learned_after(before: Sequence[int], rest: Sequence[int]) -> Document:
    return Document((*before, *rest), range(len(before), len(before) + len(rest)))


def _said_twice(rng: random.Random, look: world.Look) -> list[str]:
    """The claims in other words and any order, then plainly and in order."""
    name = rng.choice(NAMES)
    return [f"{name}: {_reworded(rng, look)}", f"{name}: {', '.join(world.claims(look))}"]


def _told_in_part(rng: random.Random, look: world.Look) -> list[tuple[str, str]]:
    """Some aspects in their order, each in somebody's words and as a pair of a list. Of an object that may be
    a part of what it is, or that there is none."""
    claimed = {aspect: claim for claim in world.claims(look) for aspect, _ in world.parse_claim(claim) or ()}
    shown = [aspect for aspect, value in look.attributes if value != vocabulary.ABSENT]
    missing = [aspect for aspect, value in look.attributes if value == vocabulary.ABSENT]
    chosen = rng.sample(shown, rng.randint(1, min(5, len(shown))))
    chosen += rng.sample(missing, min(len(missing), rng.choice((0, 0, 1, 2))))
    told = []
    for aspect, value in look.attributes:
        if aspect not in chosen:
            continue
        if value == vocabulary.ABSENT:
            told.append((claim_words.absent(rng, aspect), f"{aspect}: {value}"))
        elif aspect in vocabulary.KINDS:
            parts = [part for part in value.split() if rng.random() < 0.6]
            phrase = claim_words.in_part(rng, aspect, parts)
            told.append((phrase, f"{aspect}: {' '.join(parts) or 'some'}"))
        else:
            told.append((claim_words.reworded(rng, claimed[aspect]), f"{aspect}: {value}"))
    return told


def _listed(rng: random.Random, look: world.Look) -> list[str]:
    """Aspects with values and aspects alone, in any order of the two, then the claims."""
    shown = [(aspect, value) for aspect, value in look.attributes if value != vocabulary.ABSENT]
    some = sorted(rng.sample(range(len(shown)), rng.randint(1, len(shown))))
    lines = [
        "; ".join(f"{shown[place][0]}: {shown[place][1]}" for place in some),
        ", ".join(aspect for aspect, _ in shown),
        _reworded(rng, look),
        "; ".join(f"{aspect}: {value}" for aspect, value in shown),
    ]
    rng.shuffle(lines)
    return [*lines[: rng.randint(1, 3)], ", ".join(world.claims(look))]


def _repeated(rng: random.Random, look: world.Look) -> list[str]:
    """Two or three look-alikes by name, one or two of them again: what a name stands for is to be copied."""
    looks = [look, world.one_attribute_neighbour(rng, look)]
    if rng.random() < 0.3:
        looks.append(world.draw_look(rng, look.domain))
    named = list(zip(rng.sample(NAMES, len(looks)), looks, strict=True))
    told = rng.sample(named, len(named))
    if rng.random() < 0.3:
        told.append(rng.choice(named[1:]))
    plain = rng.random() < 0.7
    lines = [f"{name}: {', '.join(_shuffled(rng, world.claims(each), plain))}" for name, each in told]
    return [*lines, f"{named[0][0]}: {', '.join(world.claims(look))}"]


def _shuffled(rng: random.Random, claims: Sequence[str], plain: bool) -> list[str]:
    return list(claims) if plain else rng.sample(claims, len(claims))


def _reworded(rng: random.Random, look: world.Look) -> str:
    claims = world.claims(look)
    return ", ".join(claim_words.reworded(rng, claim) for claim in rng.sample(claims, len(claims)))


def world_words() -> set[str]:
    """Every word of the world's claims and aspects."""
    lists = (
        *vocabulary.GARMENT_VALUES.values(),
        *(vocabulary.KINDS, vocabulary.SIZES, vocabulary.PATTERNS, vocabulary.COLORS),
        *(vocabulary.BACKGROUNDS, vocabulary.ARRANGEMENTS, vocabulary.GARMENT_NOUNS.values()),
        *(
            vocabulary.GARMENT_ASPECTS,
            vocabulary.SCENE_ASPECTS,
            NAMES,
            COMMON,
            ("background", "objects", "none"),
        ),
    )
    return {word for values in lists for value in values for word in value.split()}


def build_tokenizer(seed: int = 2_000_001, texts: int = 8_000) -> PreTrainedTokenizerFast:
    """A tokenizer for everything that people write of this world; weights see none of its requests."""
    rng = random.Random(seed)
    spoken = []
    for _ in range(texts):
        look = world.draw_look(rng, rng.choice(DOMAINS))
        edits = world.draw_edits(rng, look, rng.randint(1, 3))
        style: world.Style = "fashioniq" if look.domain == "garments" else rng.choice(("cirr", "circo"))
        spoken += [_reworded(rng, look), world.modification_text(rng, look, edits, style)]
    return train_tokenizer(spoken, world_words(), [], TOKENS)
