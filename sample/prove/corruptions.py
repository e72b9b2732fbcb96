"""Ways to spoil a good row, each a pure function of the row and a generator; None where it does not apply."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from annotate.checks.words import content
from sample import world
from sample.claim_words import reworded
from sample.prove.cases import Case, lookalike, right_chain
from sample.vocabulary import ABSENT
from schemas.answers import ConclusionAnswer
from schemas.answers import Edit as AnsweredEdit

Corruption = Callable[[Case, random.Random], Case | None]


def target_shuffled(case: Case, rng: random.Random) -> Case | None:
    """Another picture altogether, which by chance may not fulfil the edits."""
    for _ in range(50):
        target = world.draw_look(rng, case.target.domain)
        if not all(target.as_dict()[e.aspect] == e.new for e in case.edits):
            return _with_target(case, target)
    return None


def target_lookalike(case: Case, rng: random.Random) -> Case | None:
    """The right target but for one attribute of one edit."""
    target = lookalike(rng, case.target, case.edits)
    return None if target is None else _with_target(case, target)


def reference_swapped(case: Case, rng: random.Random) -> Case | None:
    """The chain of another reference."""
    return replace(case, reference=world.draw_look(rng, case.reference.domain, case.reference.category))


def edit_dropped(case: Case, rng: random.Random) -> Case | None:
    """One edit of several left out, of the conclusion too."""
    if len(case.edits) < 2:
        return None
    gone = rng.choice(case.edits)
    return _with_edits(case, [edit for edit in case.edits if edit is not gone])


def edit_invented(case: Case, rng: random.Random) -> Case | None:
    """One edit more than was asked for, in the conclusion too."""
    more = world.draw_unmentioned(rng, case.reference, case.edits, n=1)
    return _with_edits(case, world.in_order(case.reference.domain, [*case.edits, *more])) if more else None


def edit_value(case: Case, rng: random.Random) -> Case | None:
    """One edit leads to another value than was asked for, in the conclusion too."""
    place = rng.randrange(len(case.edits))
    wrong = world.one_value_off(rng, case.edits[place])
    if wrong.new == wrong.old:
        return None
    return _with_edits(case, [wrong if i == place else edit for i, edit in enumerate(case.edits)])


def edit_reversed(case: Case, rng: random.Random) -> Case | None:
    """`from` and `to` of one edit exchanged, and the conclusion without that edit."""
    turnable = [place for place, e in enumerate(case.edits) if ABSENT not in (e.old, e.new)]
    if not turnable:
        return None
    place = rng.choice(turnable)
    edits = list(case.chain.reasoning.edits)
    old = edits[place]
    edits[place] = AnsweredEdit(aspect=old.aspect, from_=old.to, to=old.from_)
    kept = [edit for index, edit in enumerate(case.edits) if index != place]
    spoilt = world.claims(world.apply(case.told, kept))
    reasoning = case.chain.reasoning.model_copy(update={"edits": tuple(edits)})
    return _with(case, reasoning=reasoning, conclusion=ConclusionAnswer(claims=tuple(spoilt)))


def caption_falsified(case: Case, rng: random.Random) -> Case | None:
    """One claim of the caption about something kept is false, and carried over."""
    wrong = world.draw_unmentioned(rng, case.reference, case.edits, n=1)
    if not wrong:
        return None
    told = world.apply(case.told, wrong)
    return replace(case, told=told, chain=right_chain(told, case.edits))


def conclusion_unedited(case: Case, rng: random.Random) -> Case | None:
    """The conclusion forgets one edit."""
    gone = rng.choice(case.edits)
    rest = [edit for edit in case.edits if edit is not gone]
    claims = world.claims(world.apply(case.told, rest))
    return _with(case, conclusion=ConclusionAnswer(claims=tuple(claims)))


def conclusion_vague(case: Case, rng: random.Random) -> Case | None:
    """The conclusion says one kept thing and no more."""
    before = set(case.chain.caption.claims)
    kept = [claim for claim in case.chain.conclusion.claims if claim in before]
    if not kept or not any(edit.new != ABSENT for edit in case.edits):
        return None
    return _with(case, conclusion=ConclusionAnswer(claims=(rng.choice(kept),)))


def conclusion_bare(case: Case, rng: random.Random) -> Case | None:
    """The conclusion states the edits and nothing that is kept, which was most of its words."""
    before, claims = set(case.chain.caption.claims), case.chain.conclusion.claims
    new = tuple(claim for claim in claims if claim not in before)
    if not new or 5 * len(content(" ".join(new))) >= 2 * len(content(" ".join(claims))):
        return None
    return _with(case, conclusion=ConclusionAnswer(claims=new))


def conclusion_denied(case: Case, rng: random.Random) -> Case | None:
    """One claim of the conclusion is denied by another."""
    claims = list(case.chain.conclusion.claims)
    place = rng.randrange(len(claims))
    if claims[place].startswith("no "):
        return None
    claims.insert(rng.randrange(len(claims) + 1), f"no {claims[place].removeprefix('a ')}")
    return _with(case, conclusion=ConclusionAnswer(claims=tuple(claims)))


def detail_leaked(case: Case, rng: random.Random) -> Case | None:
    """A claim that only the target tells, half of the time in other words than the caption's."""
    changed = world.draw_unmentioned(rng, case.reference, case.edits, n=1)
    if not changed:
        return None
    wanted = world.apply(case.told, case.edits)
    target = world.apply(wanted, changed)
    old, new = world.claims(wanted), world.claims(target)
    claims, leaked = list(case.chain.conclusion.claims), []
    for before, after in zip(old, new, strict=True):
        if before != after and before in claims:
            said = reworded(rng, after) if rng.random() < 0.5 else after
            claims[claims.index(before)] = said
            leaked.append(said)
    spoilt = _with(case, conclusion=ConclusionAnswer(claims=tuple(claims)))
    return replace(spoilt, target=target, leaked=tuple(leaked))


def text_looped(case: Case, rng: random.Random) -> Case | None:
    """A claim said over and over, or its last word."""
    claims = list(case.chain.conclusion.claims)
    place = rng.randrange(len(claims))
    last = f" {claims[place].split()[-1]}"
    claims[place : place + 1] = [claims[place]] * 4 if rng.random() < 0.5 else [claims[place] + 3 * last]
    return _with(case, conclusion=ConclusionAnswer(claims=tuple(claims)))


def text_cut(case: Case, rng: random.Random) -> Case | None:
    """The conclusion ends in the middle of the claim that states an edit, or of its first word."""
    new = set(case.chain.conclusion.claims) - set(case.chain.caption.claims)
    if not new:
        return None
    claims = case.chain.conclusion.claims
    place = rng.choice([place for place, claim in enumerate(claims) if claim in new])
    short = claims[place][: max(2, len(claims[place]) // 2)].strip()
    return _with(case, conclusion=ConclusionAnswer(claims=(*claims[:place], short)))


def meta_words(case: Case, rng: random.Random) -> Case | None:
    """The conclusion talks about pictures, in words that `form` knows."""
    claims = list(case.chain.conclusion.claims)
    place = rng.randrange(len(claims))
    word = rng.choice(
        (
            "as in the target image",
            "like in the first picture",
            "unlike the reference image",
            "as in B00A1XY.jpg",
        )
    )
    claims[place] = f"{claims[place]} {word}"
    return _with(case, conclusion=ConclusionAnswer(claims=tuple(claims)))


def pictures_noise(case: Case, rng: random.Random) -> Case | None:
    """All pictures are noise."""
    return replace(case, treatment="noise")


def pictures_inverted(case: Case, rng: random.Random) -> Case | None:
    """All pictures in inverted colours: what the row says of colours is false."""
    return replace(case, treatment="inverted")


def clean(case: Case, rng: random.Random) -> Case | None:
    """Nothing spoilt: what is caught here is a false alarm."""
    return case


def clean_reworded(case: Case, rng: random.Random) -> Case | None:
    """Nothing spoilt, but the conclusion in other words than the caption's: no leak either."""
    claims = tuple(reworded(rng, claim) for claim in case.chain.conclusion.claims)
    return _with(case, conclusion=ConclusionAnswer(claims=claims))


CONTROLS: Mapping[str, Corruption] = {"clean": clean, "clean_reworded": clean_reworded}
CORRUPTIONS: Mapping[str, Corruption] = {
    corruption.__name__: corruption
    for corruption in (
        target_shuffled,
        target_lookalike,
        reference_swapped,
        edit_dropped,
        edit_invented,
        edit_value,
        edit_reversed,
        caption_falsified,
        conclusion_unedited,
        conclusion_vague,
        conclusion_bare,
        conclusion_denied,
        detail_leaked,
        text_looped,
        text_cut,
        meta_words,
        pictures_noise,
        pictures_inverted,
    )
}


def _with_target(case: Case, target: world.Look) -> Case:
    """Another target; the right one is still in the gallery."""
    return replace(case, target=target, lookalikes=(case.target, *case.lookalikes))


def _with_edits(case: Case, edits: Sequence[world.Edit]) -> Case:
    """The chain of other edits than those asked for; the pictures stay."""
    return replace(case, chain=right_chain(case.told, edits))


def _with(case: Case, **answers: object) -> Case:
    return replace(case, chain=replace(case.chain, **answers))  # type: ignore[arg-type]  # fields by name
