"""What the decoder practises in one step: conversations and one-letter questions about drawn pictures."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from sample import world
from sample.claim_words import reworded
from sample.teacher.draw import (
    draw_settled,
    draw_shown_edit,
    draw_statement,
    draw_triplet,
    shown,
    some_reworded,
    spoilt,
)
from sample.teacher.strange import Shown
from sample.teacher.strange_lessons import strange_edit, strange_statement
from sample.teacher.talk import Spoken, Talk


@dataclass(frozen=True, slots=True)
class Mix:
    """Lessons a step, by kind."""

    captions: int = 9
    conversations: int = 14
    guided: int = 0
    echoes: int = 4
    statements: int = 20
    edits: int = 6
    follows: int = 8
    covers: int = 8
    strange: tuple[int, int] = (3, 4)  # garments, scenes in colors without a word, three lessons each
    blank: int = 2
    swapped: float = 0.5  # share of questions with the letters the other way round


@dataclass(slots=True)
class Lesson:
    """One sequence, its kind, and the pictures that it shows (indices into the step's pictures)."""

    kind: str
    spoken: Spoken
    picture: int
    second: int | None = None
    garments: bool = False


def draw_lessons(
    rng: random.Random,
    talk: Talk,
    looks: Sequence[world.Look],
    mix: Mix,
    colors: Sequence[Shown] = (),
) -> list[Lesson]:
    """The lessons of one step about these looks; the last `mix.blank` pictures show nothing, those before
    them are strange and show `colors`.

    Half of the conversations are about another look than the picture's, their caption given: edits and
    conclusion must then be read off the caption, as a conclusion always should.
    """
    shown_count = len(looks) - mix.blank - len(colors)
    lessons: list[Lesson] = []

    def any_picture() -> int:
        return rng.randrange(shown_count)

    def swapped() -> bool:
        return rng.random() < mix.swapped

    for _ in range(mix.captions):
        k = any_picture()
        lessons.append(Lesson("caption", talk.caption(world.claims(looks[k])), k))
    for _ in range(mix.conversations):
        k = any_picture()
        right = rng.random() < 0.5
        told = looks[k] if right else world.draw_look(rng, looks[k].domain)
        lessons.append(Lesson("chain", talk.conversation(told, *draw_triplet(rng, told), seen=right), k))
    for _ in range(mix.guided):
        k, second = _related(rng, looks, shown_count)
        lessons.append(_guided(rng, talk, looks, k, second))
    for _ in range(mix.echoes):
        pool = [claim for look in rng.sample(looks, 3) for claim in world.claims(look)]
        spoken = talk.echo(rng.sample(pool, rng.randint(3, min(10, len(pool)))))
        lessons.append(Lesson("echo", spoken, any_picture()))
    for _ in range(mix.statements):
        k = any_picture()
        lessons.append(Lesson("verify", _statement(rng, talk, looks[k], swapped()), k))
    for _ in range(mix.edits):
        k = any_picture()
        edit, truth = draw_shown_edit(rng, looks[k])
        lessons.append(Lesson("edit", talk.edit_shown(edit, truth, swapped()), k))
    for _ in range(mix.follows):
        k = any_picture()
        lessons.append(Lesson("follows", _follows(rng, talk, looks[k], swapped()), k))
    for _ in range(mix.covers):
        k = any_picture()
        lessons.append(Lesson("covers", _covers(rng, talk, looks[k], swapped()), k))
    for k, color in enumerate(colors, start=shown_count):
        for _ in range(2):
            if (made := strange_statement(rng, talk, looks[k], color, swapped())) is not None:
                lessons.append(Lesson("strange", made, k))
        if (made := strange_edit(rng, talk, looks[k], color, swapped())) is not None:
            lessons.append(Lesson("strange", made, k))
    for k in range(shown_count + len(colors), len(looks)):
        claims, _ = draw_statement(rng, looks[k])
        lessons.append(Lesson("blank", talk.verification(claims, None, rng.random() < 0.5), k))
        edit, _ = draw_shown_edit(rng, looks[k])
        lessons.append(Lesson("blank", talk.edit_shown(edit, None, rng.random() < 0.5), k))
    for lesson in lessons:
        lesson.garments = looks[lesson.picture].domain == "garments"
    return lessons


def _statement(rng: random.Random, talk: Talk, look: world.Look, swapped: bool) -> Spoken:
    claims, truths = draw_statement(rng, look)
    classes = [shown(look, claim) for claim in claims]
    return talk.verification(some_reworded(rng, look, claims), truths, swapped, classes)


def _follows(rng: random.Random, talk: Talk, look: world.Look, swapped: bool) -> Spoken:
    case = draw_settled(rng, look if rng.random() < 0.5 else world.draw_look(rng, look.domain))
    claim = reworded(rng, case.claim) if rng.random() < 0.5 else case.claim
    wanted = shown(world.apply(case.reference, case.edits), case.claim)
    return talk.follows(world.claims(case.reference), case.modification, claim, case.settled, swapped, wanted)


def _covers(rng: random.Random, talk: Talk, look: world.Look, swapped: bool) -> Spoken:
    """The edits of the request, or the same with one left out, one more, one of another value or aspect."""
    told = look if rng.random() < 0.5 else world.draw_look(rng, look.domain)
    edits, text = draw_triplet(rng, told)
    stated = edits if rng.random() < 0.5 else spoilt(rng, told, edits)
    return talk.covers(world.claims(told), text, stated, edits, swapped, world.apply(told, edits))


def _related(rng: random.Random, looks: Sequence[world.Look], count: int) -> tuple[int, int]:
    first = rng.randrange(count)
    same = [k for k in range(count) if k != first and looks[k].domain == looks[first].domain]
    return first, rng.choice(same)


def _guided(rng: random.Random, talk: Talk, looks: Sequence[world.Look], k: int, second: int) -> Lesson:
    """A writer that is shown the target describes what it sees there."""
    edits, text = draw_triplet(rng, looks[k])
    spoken = talk.conversation(looks[k], edits, text, target=looks[second])
    return Lesson("guided", spoken, k, second)
