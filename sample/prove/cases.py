"""Good rows of the sample world: looks, a request, the right chain. Pure in domain, seed and number."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from annotate.stages import Chain
from sample import world
from sample.looks import MAX_OBJECTS
from schemas.answers import CaptionAnswer, ConclusionAnswer, ReasoningAnswer
from schemas.answers import Edit as AnsweredEdit

UNMENTIONED = 0.45
"""How often the target differs in something the text does not mention, as in the written samples."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row as it would be annotated, with what its pictures show. `lookalikes` are other pictures of its
    gallery. `treatment` is done to all pictures after rendering ("" for nothing), `leaked` are claims that
    only the target tells."""

    name: str
    reference: world.Look
    target: world.Look
    told: world.Look
    edits: tuple[world.Edit, ...]
    modification: str
    chain: Chain
    lookalikes: tuple[world.Look, ...] = ()
    treatment: str = ""
    leaked: tuple[str, ...] = ()


def draw_case(domain: world.Domain, seed: int, number: int) -> Case:
    """Good row `number`: `told` is what the caption describes, here the reference itself."""
    rng = random.Random(f"prove-{seed}-{domain}-{number}")
    reference = world.draw_look(rng, domain)
    edits = world.draw_edits(rng, reference, rng.choices((1, 2, 3), (40, 40, 20))[0])
    target = world.apply(reference, edits)
    if rng.random() < UNMENTIONED:
        target = world.apply(target, world.draw_unmentioned(rng, reference, edits))
    alike = lookalike(random.Random(f"prove-{seed}-{domain}-{number}-alike"), target, edits)
    styles: tuple[world.Style, ...] = ("fashioniq",) if domain == "garments" else ("cirr", "circo")
    return Case(
        name=f"{domain}-{seed}-{number}",
        reference=reference,
        target=target,
        told=reference,
        edits=tuple(edits),
        modification=world.modification_text(rng, reference, edits, rng.choice(styles)).strip(),
        chain=right_chain(reference, edits),
        lookalikes=() if alike is None else (alike,),
    )


def lookalike(rng: random.Random, target: world.Look, edits: Sequence[world.Edit]) -> world.Look | None:
    """The target but for one attribute of one edit; None where a scene would hold too much."""
    wrong = world.one_value_off(rng, rng.choice(edits))
    values = {**target.as_dict(), wrong.aspect: wrong.new}
    look = world.make_look(target.domain, target.category, values)
    return None if look.domain == "scenes" and len(world.objects(look)) > MAX_OBJECTS else look


def right_chain(look: world.Look, edits: Sequence[world.Edit]) -> Chain:
    """What a writer without fault says of a reference and edits."""
    return Chain(
        CaptionAnswer(claims=tuple(world.claims(look))),
        ReasoningAnswer(
            rationale=world.rationale(edits),
            edits=tuple(AnsweredEdit(aspect=e.aspect, from_=e.old, to=e.new) for e in edits),
            kept=tuple(world.kept(look, edits)),
        ),
        ConclusionAnswer(claims=tuple(world.claims(world.apply(look, edits)))),
    )
