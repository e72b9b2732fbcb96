"""A teacher that knows the sample world: answers every question by what the pictures really show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from annotate.checks.question import MEANINGS
from annotate.images import unmoved
from annotate.teacher.request import Picture, Reply, Request
from sample import world
from tests.checks.oracle import letters


@dataclass
class WorldOracle:
    """`looks` by picture (None: shows nothing of this world), `asked` by request text: the reference's look
    and the edits. Claims in words that no caption uses count as holding."""

    looks: Mapping[Picture, world.Look | None]
    requests: Mapping[str, tuple[world.Look, tuple[world.Edit, ...]]]
    asked: list[Request] = field(default_factory=list)

    async def ask(self, request: Request) -> Reply:
        """Sure letters."""
        self.asked.append(request)
        wanted, _ = MEANINGS[request.stage]
        right = self.truth(request)
        first = f"A. {wanted}\n" in request.turns[-1].text
        letter, other = ("A", "B") if first == right else ("B", "A")
        return letters(**{letter: 0.999, other: 0.001})

    def truth(self, request: Request) -> bool:
        """Whether the wanted meaning is right."""
        told = [
            text.replace("‹", "<") for text in re.findall(r"<request>(.*?)</request>", request.turns[-1].text)
        ]
        if request.stage == "verify":
            look = self.looks[unmoved(request.turns[-1].pictures[0])]
            return look is not None and all(holds(look, claim) for claim in told[0].split(", "))
        if request.stage == "verify_edit":
            look = self.looks[unmoved(request.turns[-1].pictures[0])]
            aspect, _, change = told[0].partition(": ")
            return look is not None and look.as_dict()[aspect] == change.rpartition(" to ")[2]
        look, edits = self.requests[told[0]]
        if request.stage == "follows":
            return holds(world.apply(look, edits), told[1])
        return bool(told[1] == "; ".join(f"{edit.aspect}: {edit.old} to {edit.new}" for edit in edits))


def holds(look: world.Look, claim: str) -> bool:
    """Whether a claim is true of a look."""
    stated = world.parse_claim(claim)
    if stated is None:
        return True
    values = {**look.as_dict(), "category": look.category}
    return all(values.get(aspect) == value for aspect, value in stated)
