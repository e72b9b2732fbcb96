"""Good rows of the sample world: looks, a request, the right chain. Pure in domain, seed and number."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from annotate.stages import Chain
from sample import world
from schemas.answers import CaptionAnswer, ConclusionAnswer, ReasoningAnswer
from schemas.answers import Edit as AnsweredEdit

UNMENTIONED = 0.45
"""How often the target differs in something the text does not mention, as in the written samples."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row as it would be annotated, with what its pictures show. `treatment` is done to both pictures
    after rendering ("" for nothing), `leaked` are claims that only the target tells."""

    name: str
    reference: world.Look
    target: world.Look
    told: world.Look
    edits: tuple[world.Edit, ...]
    modification: str
    chain: Chain
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
    styles: tuple[world.Style, ...] = ("fashioniq",) if domain == "garments" else ("cirr", "circo")
    return Case(
        name=f"{domain}-{seed}-{number}",
        reference=reference,
        target=target,
        told=reference,
        edits=tuple(edits),
        modification=world.modification_text(rng, reference, edits, rng.choice(styles)).strip(),
        chain=right_chain(reference, edits),
    )


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
