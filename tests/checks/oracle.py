"""A teacher that answers one-letter questions by facts, and an annotated triplet to ask it about."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from annotate.checks import Evidence
from annotate.checks.question import MEANINGS
from annotate.images import unmoved
from annotate.prompts import load_prompts
from annotate.stages import Chain, Writer
from annotate.teacher.request import Picture, Reply, Request, Sampling
from schemas.answers import CaptionAnswer, ConclusionAnswer, Edit, ReasoningAnswer

RECIPE = "fit448-q90-v1"
REFERENCE, TARGET = Picture("a" * 64, RECIPE), Picture("b" * 64, RECIPE)
WRITER = Writer("tiny", load_prompts(), ("ball",), RECIPE, Sampling(temperature=0.8, top_p=0.9))

CAPTION = ("red dress", "plain", "long sleeves", "v neck", "no belt")
CONCLUSION = ("red dress", "plain", "sleeveless", "v neck", "no belt")
SLEEVES = Edit(aspect="sleeves", from_="long sleeves", to="sleeveless")


def chain(
    caption: Sequence[str] = CAPTION,
    edits: Sequence[Edit] = (SLEEVES,),
    conclusion: Sequence[str] = CONCLUSION,
    kept: Sequence[str] = ("color", "pattern", "neckline", "waist"),
    rationale: str = "change sleeves to sleeveless, keep the rest",
) -> Chain:
    """A right chain, save for what is given."""
    return Chain(
        CaptionAnswer(claims=tuple(caption)),
        ReasoningAnswer(rationale=rationale, edits=tuple(edits), kept=tuple(kept)),
        ConclusionAnswer(claims=tuple(conclusion)),
    )


EVIDENCE = Evidence(WRITER, REFERENCE, TARGET, "has no sleeves", chain())


def evidence(**changes: object) -> Evidence:
    """`EVIDENCE` with a chain that differs in what is given."""
    return replace(EVIDENCE, chain=chain(**changes))  # type: ignore[arg-type]


@dataclass
class Oracle:
    """`shown` are the facts of each picture, `settled` the claims that reference and request settle, `right`
    the edits that are asked for. `asked` keeps every request. A question about the text is answered with yes
    only where the conversation has the reference and the question the modification."""

    shown: Mapping[Picture, Collection[str]] = field(
        default_factory=lambda: {REFERENCE: CAPTION, TARGET: CONCLUSION}
    )
    settled: Collection[str] = CONCLUSION
    right: str = "sleeves: long sleeves to sleeveless"
    modification: str = EVIDENCE.modification
    sure: float = 0.999
    asked: list[Request] = field(default_factory=list)

    async def ask(self, request: Request) -> Reply:
        """Letters by the facts."""
        self.asked.append(request)
        truth = self._truth(request)
        wanted, _ = MEANINGS[request.stage]
        letter = "A" if f"A. {wanted}\n" in request.turns[-1].text else "B"
        return letters(
            **{letter: self.sure if truth else 1 - self.sure, _other(letter): _rest(truth, self.sure)}
        )

    def _truth(self, request: Request) -> bool:
        told = re.findall(r"<request>(.*?)</request>", request.turns[-1].text)
        if request.stage == "verify":
            facts = self.shown[unmoved(request.turns[-1].pictures[0])]
            return all(claim in facts for claim in told[0].split(", "))
        if request.stage == "verify_edit":
            return told[0].rpartition(" to ")[2] in self.shown[unmoved(request.turns[-1].pictures[0])]
        pictures = [picture for turn in request.turns for picture in turn.pictures]
        if told[0] != self.modification or pictures != [REFERENCE]:
            return False
        if request.stage == "follows":
            return told[1] in self.settled
        assert request.stage == "covers", f"no facts about {request.stage}"
        return bool(told[1] == self.right)

    def counted(self, stage: str) -> int:
        """Requests of a stage."""
        return sum(request.stage == stage for request in self.asked)


def letters(**probabilities: float) -> Reply:
    """A one-token reply with these probabilities."""
    return Reply("A", "length", tuple((name, math.log(value)) for name, value in probabilities.items()))


def _other(letter: str) -> str:
    return "B" if letter == "A" else "A"


def _rest(truth: bool, sure: float) -> float:
    return 1 - sure if truth else sure
