"""What strings alone tell of claims and edits: which claim an edit overrides, which claim follows. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from annotate.stages import Chain
from schemas.answers import Edit

ABSENT = frozenset({"", "none", "absent", "nothing", "no", "not there"})
"""Values of an edit that stand for "is not there"."""
NEGATIONS = frozenset({"no", "not", "without"})
FILLERS = frozenset({"a", "an", "the", "is", "are", "with", "in", "on", "of", "it", "there", "has", "and"})
NO_LACK = frozenset({"", "back", "stain", "seam", "time", "end"})
"""What a word in -less may begin with and deny nothing: a backless dress may have a bow at the back."""

WORD = re.compile(r"[^\W_]+")


def even(text: str) -> str:
    """A text with capitals and blanks evened out, for comparing claims."""
    return " ".join(text.lower().split())


def words(text: str) -> frozenset[str]:
    """The words of a text in lower case."""
    return frozenset(WORD.findall(text.lower()))


def is_absent(value: str) -> bool:
    """Whether an edit's value says that something is not there."""
    return even(value) in ABSENT


def states(claim: str, value: str) -> bool:
    """Whether all words of the value are in the claim, and it negates just as the claim does."""
    said, wanted = words(claim), words(value)
    return bool(wanted) and wanted <= said and (said & NEGATIONS) == (wanted & NEGATIONS)


def content(text: str) -> frozenset[str]:
    """The words of a text that say something: no fillers, no negations."""
    return words(text) - FILLERS - NEGATIONS


def denies(claim: str, other: str) -> bool:
    """Whether a claim says that what another states is not there: of "black belt" "no belt" or "beltless".

    Only where the claim begins with the negation ("dog is not on grass" says nothing against other grass);
    "not long" denies "long" alone, and a word in -less what another claim is about, its last word.
    """
    said = [word for word in WORD.findall(claim.lower()) if word not in FILLERS]
    if not said or words(other) & NEGATIONS:
        return False
    if said[0] == "not":
        return content(claim) == content(other)
    if said[0] in NEGATIONS:
        return bool(content(claim)) and content(claim) <= words(other)
    bare = {word.removesuffix("less") for word in said if word.endswith("less")} - NO_LACK
    last = WORD.findall(other.lower())[-1:]
    return len(content(other)) < 3 and any(word in (stem, f"{stem}s") for stem in bare for word in last)


def overridden(edit: Edit, caption: Sequence[str]) -> tuple[str, ...]:
    """The caption's claims that state the edit's `from`; of several those that name the aspect as well.

    Empty for an addition, and where strings do not tell which of several claims is meant.
    """
    if is_absent(edit.from_):
        return ()
    exact = tuple(claim for claim in caption if even(claim) == even(edit.from_))
    found = exact or tuple(claim for claim in caption if states(claim, edit.from_))
    if len(found) > 1:
        found = tuple(claim for claim in found if words(edit.aspect) <= words(claim))
    return found if len(found) == 1 else ()


def stated_before(edit: Edit, caption: Sequence[str]) -> bool:
    """Whether a claim of the caption states the edit's `from`, be it clear which one is meant or not."""
    return any(even(claim) == even(edit.from_) or states(claim, edit.from_) for claim in caption)


def stating(edit: Edit, caption: Sequence[str], claims: Iterable[str]) -> tuple[str, ...]:
    """The claims that state the edit's `to`; they must name the aspect where the overridden claim does so
    beside its value ("the ball is red": another thing may be red too)."""
    if is_absent(edit.to):
        return ()
    claims = tuple(claims)
    aspect = words(edit.aspect)
    before = overridden(edit, caption)
    if before:
        named = all(aspect <= words(claim) - words(edit.from_) for claim in before)
    else:
        named = any(aspect <= words(claim) for claim in claims)
    return tuple(
        claim for claim in claims if states(claim, edit.to) and (not named or aspect <= words(claim))
    )


def follows_as_string(claim: str, chain: Chain, request: str | None = None) -> bool:
    """Whether the claim is one of the caption that no edit overrides, or an edit's `to` in the claim's place;
    with `request` only an edit whose `to` has no word beside those of the request and of what was before.

    What follows in this sense cannot be a leak; what does not may still follow in other words.
    """
    caption = chain.caption.claims
    gone = {even(old) for edit in chain.reasoning.edits for old in overridden(edit, caption)}
    if even(claim) in {even(old) for old in caption} - gone:
        return True
    for edit in chain.reasoning.edits:
        if request is not None and words(edit.to) - FILLERS - words(f"{request} {edit.aspect} {edit.from_}"):
            continue
        frame = frozenset[str]().union(*(words(old) for old in overridden(edit, caption)))
        allowed = words(edit.to) | words(edit.aspect) | (frame - words(edit.from_)) | FILLERS
        if stating(edit, caption, (claim,)) and words(claim) <= allowed:
            return True
    return False


def kept_claims(chain: Chain) -> tuple[int, ...]:
    """Places of the conclusion's claims that state no edit's `to`."""
    caption, claims = chain.caption.claims, chain.conclusion.claims
    new = {claim for edit in chain.reasoning.edits for claim in stating(edit, caption, claims)}
    return tuple(place for place, claim in enumerate(claims) if claim not in new)
