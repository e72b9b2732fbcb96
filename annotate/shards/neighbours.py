"""Look-alikes where the dataset names none: images of the run that the encoder finds nearest to a target."""

from __future__ import annotations

from collections.abc import Callable

from annotate.encoder import nearest, vectors_of
from annotate.images import ImageProblem
from annotate.shards.plan import Plan
from annotate.shards.run import Tools, asks_lookalikes, look, together
from annotate.teacher.request import Ask, Picture

AT_ONCE = 64
"""Pictures that are decoded at a time."""


async def find_neighbours(
    plan: Plan, tools: Tools, embed: Ask, say: Callable[[str], None]
) -> dict[str, tuple[str, ...]]:
    """Target -> its neighbours, of the triplets without a subset; nothing where no check looks at them.

    Pictures that are missing, broken or without an answer of the encoder are nobody's neighbours; of the
    latter it is said how many, since a later run asks for them again and may find others. Raises
    `TeacherRefused` for an encoder that is none, and whatever `embed` raises but `Unanswered`.
    """
    usable = [triplet for triplet in plan.triplets if triplet.problem is None]
    targets = [triplet.target for triplet in usable if triplet.target and not triplet.subset]
    if not targets or not asks_lookalikes(tools.checks):
        return {}
    names = list(dict.fromkeys(name for t in usable for name in (t.reference, t.target) if name))
    pictures: dict[str, Picture] = {}
    for start in range(0, len(names), AT_ONCE):
        block = names[start : start + AT_ONCE]
        seen = await together(_seen(name, tools) for name in block)
        pictures |= {name: picture for name, picture in zip(block, seen, strict=True) if picture}
    known, vectors = await vectors_of(embed, tools.encoder, tools.writer, pictures)
    if lacking := len(pictures) - len(known):
        say(
            f"warning: the encoder gave no vector of {lacking:,} of {len(pictures):,} pictures, so they are "
            "nobody's look-alikes in this run; those that failed are asked for again by the same command"
        )
    return nearest(known, vectors, targets)


async def _seen(name: str, tools: Tools) -> Picture | None:
    try:
        return await look(name, "neighbouring", tools)
    except ImageProblem:
        return None
