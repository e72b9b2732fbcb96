"""One-token questions: asked in both orders of the letters, conditional probabilities averaged.

Averaging over both orders removes the position bias of one-letter answers (Zheng et al., "Large Language
Models Are Not Robust Multiple Choice Selectors", ICLR 2024); the probability of the letter as a score is
ReCALL's (p(yes) >= .95 as a filter).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from annotate.checks.check import all_of
from annotate.checks.words import words
from annotate.stages import Writer, caption_turns, prompt_digest, replayed
from annotate.teacher.request import Ask, Picture, Reply, Request, Sampling, Turn
from annotate.teacher.retry import Unanswered
from schemas.answers import CaptionAnswer, Edit

LETTERS = ("A", "B")
MEANINGS: Mapping[str, tuple[str, str]] = {
    "verify": ("match", "mismatch"),
    "verify_edit": ("match", "mismatch"),
    "verify_change": ("match", "mismatch"),
    "follows": ("settled", "unsettled"),
    "covers": ("exact", "inexact"),
}
"""Prompt of a question -> what its letters may mean; the first is the one whose probability is wanted."""
COMPARATIVES = words(
    "more less fewer than longer shorter darker lighter brighter tighter looser larger smaller bigger "
    "higher lower deeper wider narrower thicker thinner heavier fuller slimmer softer simpler fancier "
    "plainer bolder busier older younger taller closer nearer farther further faster slower cleaner "
    "dirtier warmer cooler paler richer shinier duller sleeker baggier edgier dressier sexier prettier "
    "flashier greener bluer redder whiter blacker"
)
"""Words of a value that says only how two pictures compare."""
LEAST_MASS = 0.1
"""Of both letters together: what was hardly going to be an answer tells nothing."""
FLOOR = 1e-6
"""Probability of a letter that is not among the reported top log-probabilities."""


async def shows(ask: Ask, writer: Writer, picture: Picture, statement: str) -> float:
    """p(every part of the statement holds for the picture), asked of the picture alone."""
    return await _probability(ask, _of_pictures(writer, "verify", picture, statement=statement))


async def shows_edit(ask: Ask, writer: Writer, picture: Picture, edit: Edit) -> float:
    """p(the picture shows what the edit leads to), asked of the picture alone."""
    return await _probability(ask, _of_pictures(writer, "verify_edit", picture, edit=edit_text(edit)))


async def shows_change(ask: Ask, writer: Writer, reference: Picture, target: Picture, edit: Edit) -> float:
    """p(the target shows what the edit leads to); compared with the reference where the value after is a
    comparative ("longer"), of which no picture alone tells whether it is."""
    if not words(edit.to) & COMPARATIVES:
        return await shows_edit(ask, writer, target, edit)
    values = {"edit": edit_text(edit)}
    return await _probability(ask, _of_pictures(writer, "verify_change", reference, target, **values))


async def follows(
    ask: Ask, writer: Writer, reference: Picture, caption: CaptionAnswer, modification: str, claim: str
) -> float:
    """p(the claim is settled by the reference and the request), in the writer's own conversation: blind."""
    values = {"modification": modification, "claim": claim}
    return await _probability(ask, _in_conversation(writer, "follows", reference, caption, values))


async def covers(
    ask: Ask, writer: Writer, reference: Picture, caption: CaptionAnswer, modification: str, edits: str
) -> float:
    """p(the edits are exactly what the request asks for), in the writer's own conversation."""
    values = {"modification": modification, "edits": edits}
    return await _probability(ask, _in_conversation(writer, "covers", reference, caption, values))


def edit_text(edit: Edit) -> str:
    """An edit as the questions spell it: aspect, value before, value after."""
    return f"{edit.aspect}: {edit.from_} to {edit.to}"


def edits_text(edits: Iterable[Edit]) -> str:
    """Several edits as one text."""
    return "; ".join(map(edit_text, edits))


def letter_probability(reply: Reply, letter: str) -> float:
    """p(letter) given that the answer is A or B; a letter that was not reported has probability `FLOOR`.

    Raises `Unanswered("no_answer")` when neither letter was likely.
    """
    reported = {name: math.exp(min(value, 0.0)) for name, value in reply.logprobs if not math.isnan(value)}
    if sum(reported.get(name, 0.0) for name in LETTERS) < LEAST_MASS:
        raise Unanswered(
            "no_answer", f"neither A nor B among the likely answers; it said {reply.text[:200]!r}"
        )
    probabilities = {name: max(reported.get(name, 0.0), FLOOR) for name in LETTERS}
    return probabilities[letter] / sum(probabilities.values())


async def _probability(ask: Ask, requests: tuple[Request, Request]) -> float:
    """Mean over both letter orders of p(letter of the wanted meaning) / (p(A) + p(B)), to six decimals.

    Both have ended when it returns or raises what `ask` raises.
    """
    replies = await all_of(map(ask, requests))
    probabilities = [
        letter_probability(reply, letter) for reply, letter in zip(replies, LETTERS, strict=True)
    ]
    return round(sum(probabilities) / len(probabilities), 6)


def _of_pictures(writer: Writer, prompt: str, *pictures: Picture, **values: str) -> tuple[Request, Request]:
    opening = (Turn("system", writer.prompts["system"].render()),)
    return _both_orders(writer, prompt, opening, pictures, values, ("system", prompt))


def _in_conversation(
    writer: Writer, prompt: str, reference: Picture, caption: CaptionAnswer, values: Mapping[str, str]
) -> tuple[Request, Request]:
    """After the caption turn, which all triplets of a reference share: the server's prefix cache holds."""
    opening = (*caption_turns(writer, reference), replayed(caption))
    return _both_orders(writer, prompt, opening, (), values, ("system", "caption", prompt))


def _both_orders(
    writer: Writer,
    prompt: str,
    opening: tuple[Turn, ...],
    pictures: tuple[Picture, ...],
    values: Mapping[str, str],
    names: tuple[str, ...],
) -> tuple[Request, Request]:
    """The same question twice: letter A has the wanted meaning in the first, letter B in the second."""

    def request(first_meaning: str, second_meaning: str) -> Request:
        text = writer.prompts[prompt].render(
            first=LETTERS[0],
            first_meaning=first_meaning,
            second=LETTERS[1],
            second_meaning=second_meaning,
            **values,
        )
        return Request(
            stage=prompt,
            model=writer.model,
            turns=(*opening, Turn("user", text, pictures)),
            prompt_digest=prompt_digest(writer, *names),
            choices=LETTERS,
            sampling=Sampling(max_tokens=1),  # greedy: SAMPLING_SEED does not ask it again,
        )

    meanings = MEANINGS[prompt]
    return request(*meanings), request(*reversed(meanings))
