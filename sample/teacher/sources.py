"""Where in a conversation an answer's token can be copied from, as supervision for attention."""

from __future__ import annotations

from collections.abc import Sequence

from sample import world
from sample.vocabulary import ABSENT

Span = tuple[int, int]


def spans(ids: Sequence[int], start: int, glue: frozenset[int]) -> list[Span]:
    """[first, end) of every run between glue tokens of the answer that begins at `start`."""
    found: list[Span] = []
    begin = start
    for place in range(start, len(ids)):
        if ids[place] in glue:
            if place > begin:
                found.append((begin, place))
            begin = place + 1
    return found


def copies(ids: Sequence[int], target: Span, source: Span) -> list[tuple[int, int]]:
    """(place that predicts, place to look at) for each token of `target` that `source` has at its place."""
    pairs = zip(range(*target), range(*source), strict=False)
    return [(t - 1, s) for t, s in pairs if ids[t] == ids[s]]


def conclusion_copies(
    ids: Sequence[int], conclusion: list[Span], caption: list[Span], new_values: list[Span]
) -> list[tuple[int, int]]:
    """Each claim's tokens from the same claim of the caption, else from the edit's new value."""
    found: list[tuple[int, int]] = []
    for target in conclusion:
        tokens = ids[slice(*target)]
        same = next((s for s in caption if ids[slice(*s)] == tokens), None)
        if same is not None:
            found += copies(ids, target, same)
            continue
        for value in new_values:
            if ids[slice(*value)] == tokens[: value[1] - value[0]]:
                found += copies(ids, target, value)
                break
    return found


def reasoning_copies(
    ids: Sequence[int],
    edits: Sequence[world.Edit],
    triples: list[tuple[Span, Span]],
    caption: list[Span],
    look: world.Look,
    rationale: Span,
    words: Sequence[tuple[int, ...]],
) -> list[tuple[int, int]]:
    """Old values from the caption; what an edit leaves of an object, in rationale and new value, likewise.

    `triples` are the spans of each edit's old and new value, `words` each edit's token ids of " kind to".
    """
    claims = world.claims(look)
    found: list[tuple[int, int]] = []
    for edit, (old, new), opening in zip(edits, triples, words, strict=True):
        if edit.old == ABSENT:
            continue
        if look.domain == "garments":
            place = 0 if edit.aspect == "color" else claims.index(edit.old)
        elif edit.aspect in ("background", "arrangement"):
            continue
        else:
            place = claims.index(f"{edit.old} {edit.aspect}")
        found += copies(ids, old, caption[place])
        if edit.new == ABSENT or look.domain == "garments":
            continue
        found += copies(ids, new, old)
        for begin in range(rationale[0], rationale[1] - len(opening)):
            if tuple(ids[begin : begin + len(opening)]) == opening:
                first = begin + len(opening)
                parts = zip(edit.old.split(), edit.new.split(), strict=True)
                found += [(first + k - 1, caption[place][0] + k) for k, (a, b) in enumerate(parts) if a == b]
    return found
