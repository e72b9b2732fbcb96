"""Look-alikes where the dataset names none: images of the run that the encoder finds nearest to a target."""

from __future__ import annotations

from contextlib import suppress

from annotate.encoder import nearest, vectors_of
from annotate.images import ImageProblem
from annotate.shards.plan import Plan
from annotate.shards.run import LOOKALIKE_CHECKS, Tools, look
from annotate.teacher.request import Ask, Picture


async def find_neighbours(plan: Plan, tools: Tools, embed: Ask) -> dict[str, tuple[str, ...]]:
    """Target -> its neighbours, of the triplets without a subset; nothing where no check looks at them.

    Pictures that are missing, broken or refused by the encoder are nobody's neighbours. Raises
    `TeacherRefused` for an encoder that is none, and whatever `embed` raises but `Unanswered`.
    """
    usable = [triplet for triplet in plan.triplets if triplet.problem is None]
    targets = [triplet.target for triplet in usable if triplet.target and not triplet.subset]
    if not targets or not any(check.name in LOOKALIKE_CHECKS for check in tools.checks):
        return {}
    pictures: dict[str, Picture] = {}
    for name in dict.fromkeys(name for t in usable for name in (t.reference, t.target) if name):
        with suppress(ImageProblem):
            pictures[name] = await look(name, "neighbouring", tools)
    return nearest(*await vectors_of(embed, tools.encoder, tools.writer, pictures), targets)
