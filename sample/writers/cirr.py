"""CIRR rc2's layout: subsets of six look-alike scenes, nine reference-target pairs in each."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any, Final

from annotate.errors import UsageError
from sample import scene_texts
from sample.looks import (
    MAX_OBJECTS,
    MIN_OBJECTS,
    Edit,
    Look,
    apply,
    change_object,
    differences,
    draw_look,
    draw_object,
    make_look,
    objects,
    other,
)
from sample.triplets import Gallery, Planned, fulfils, truth_line, write_json
from sample.vocabulary import ABSENT, ARRANGEMENTS, BACKGROUNDS, COLORS, KINDS, SCENE_ASPECTS
from sample.writers.dirt import (
    RATES,
    Broken,
    plant_broken_images,
    plant_repeats,
    plant_text_dirt,
    plant_wrong_targets,
    repeats,
)
from sample.writers.plan import (
    ASKED_WEIGHTS,
    Sizes,
    Written,
    changes,
    count_dirt,
    seeded,
    write_images,
)

# (reference rank, target rank) of a subset's triplets, as in the real files: a ring, and three more
# from the first.
RANKS: Final = ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0), (0, 2), (0, 3), (0, 4))
PAIR_KEPT: Final = 0.93  # real subsets have 8.3 of the nine triplets
UNDERSPECIFIED: Final = 0.8  # how often a change is left unsaid where one can be: of all rows, in 46 %
# Combinations that CIRR never shows, so that CIRCO can ask for unseen ones: two colours a kind.
HELD_OUT: Final = frozenset(
    (kind, COLORS[(3 * place + step) % len(COLORS)]) for place, kind in enumerate(KINDS) for step in (1, 4)
)
MOST_TRIPLETS: Final = 80_000
"""Of a split: image names, as in the real files, tell 10,000 subsets apart, of some 8.3 triplets each."""
_Values = dict[str, str]


def _slot(rng: random.Random, base: Look, used: set[str]) -> list[_Values] | None:
    """Alternatives for one thing in which a subset's members differ; None when there is no room."""
    shown = [kind for kind in objects(base) if kind not in used]
    absent = [kind for kind in KINDS if base.value(kind) == ABSENT and kind not in used]
    act = rng.choices(["change", "presence", "replace", "background", "arrangement"], [50, 16, 10, 13, 11])[0]
    if act == "change" and shown:
        kind = rng.choice(shown)
        old = base.value(kind)
        values = {old} | {
            change_object(rng, old, rng.choice((1, 1, 2))) for _ in range(rng.choice((1, 2, 3)))
        }
        slot = [{kind: value} for value in sorted(values)]
    elif act == "presence" and absent:
        kind = rng.choice(absent)
        slot = [{kind: ABSENT}, {kind: draw_object(rng, kind, HELD_OUT)}]
    elif act == "replace" and shown and absent:
        gone, come = rng.choice(shown), rng.choice(absent)
        old = base.value(gone)
        new = old if rng.random() < 0.5 else change_object(rng, old)
        slot = [{gone: old, come: ABSENT}, {gone: ABSENT, come: new}]
    elif act in ("background", "arrangement") and act not in used:
        values_of = BACKGROUNDS if act == "background" else ARRANGEMENTS
        old = base.value(act)
        slot = [{act: value} for value in sorted({old, *(other(rng, values_of, old) for _ in range(2))})]
    else:
        return None
    if any((aspect, value.split()[-1]) in HELD_OUT for choice in slot for aspect, value in choice.items()):
        return None
    return slot


def draw_subset(rng: random.Random) -> list[Look]:
    """Six different scenes that agree in all but three or four things."""
    while True:
        base = draw_look(rng, "scenes", exclude=HELD_OUT)
        slots: list[list[_Values]] = []
        used: set[str] = set()
        for _ in range(40):
            if len(slots) == 4 or (len(slots) == 3 and rng.random() < 0.15):
                break
            slot = _slot(rng, base, used)
            if slot:
                slots.append(slot)
                used.update(*slot)
        members: list[Look] = []
        for _ in range(60):
            values = base.as_dict()
            for slot in slots:
                values.update(rng.choice(slot))
            look = make_look("scenes", None, values)
            if MIN_OBJECTS <= len(objects(look)) <= MAX_OBJECTS and look not in members:
                members.append(look)
            if len(members) == 6:
                return members


def rivals(reference: Look, edits: list[Edit], target: Look, look: Look) -> bool:
    """Whether another picture fits the text at least as well as the target: all asked, no more unasked."""
    asked = apply(reference, edits)
    return fulfils(look, edits) and len(differences(asked, look)) <= len(differences(asked, target))


def choose_edits(rng: random.Random, reference: Look, target: Look, others: list[Look]) -> list[Edit] | None:
    """Which of the differences the text asks for; None when they are too many to be asked.

    Additions and removals are always asked. First of all the text should fit no other member of the subset as
    well as the target, as CIRR's writers were told; where that can be had, something is left unsaid.
    """
    found = differences(reference, target)
    moves = [edit for edit in found if ABSENT in (edit.old, edit.new)]
    free = [edit for edit in found if edit not in moves]
    vague = rng.random() < UNDERSPECIFIED
    best: list[tuple[tuple[bool, bool], float, list[Edit]]] = []
    for count in range(len(free) + 1):
        for left in itertools.combinations(free, count):
            edits = [edit for edit in found if edit not in left]
            asked = changes(edits)
            if not 1 <= asked <= 3 or len(left) > 3:
                continue
            unclear = any(rivals(reference, edits, target, look) for look in others)
            rank = (unclear, (len(left) > 0) != vague)
            best.append((rank, rng.random() ** (1 / ASKED_WEIGHTS[asked - 1]), edits))
    if not best:
        return None
    first = min(rank for rank, _, _ in best)
    return max((weight, edits) for rank, weight, edits in best if rank == first)[1]


def _target_soft(rng: random.Random, row: Planned, gallery: Gallery) -> dict[str, float]:
    """`target_soft` with the real file's habits: mostly the target alone, -1.0 for judged and refused."""
    soft = {row.target: 1.0}
    right = not any("wrong" in dirt for dirt in row.dirt)
    for name in row.extra["members"]:
        if name not in (row.reference, row.target):
            if right and rivals(gallery[row.reference], row.edits, gallery[row.target], gallery[name]):
                soft[name] = 0.5
            elif rng.random() < 0.035:
                soft[name] = -1.0
    if rng.random() < 0.009:
        soft[row.reference] = 1.0
    return soft


def _draw_rows(rng: random.Random, prefix: str, wanted: int, gallery: Gallery) -> list[Planned]:
    rows: list[Planned] = []
    set_id = 0
    while len(rows) < wanted:
        looks = draw_subset(rng)
        number = rng.randrange(10000)
        names = [f"{prefix}-{number}-{rank % 4}-img{rank // 4}" for rank in rng.sample(range(8), 6)]
        if any(name in gallery for name in names):
            continue
        members = rng.sample(names, 6)
        gallery.update(zip(names, looks, strict=True))
        for a, b in RANKS:
            others = [look for look in looks if look not in (looks[a], looks[b])]
            edits = choose_edits(rng, looks[a], looks[b], others)
            if edits is None or rng.random() > PAIR_KEPT or len(rows) == wanted:
                continue
            text = scene_texts.sentence(rng, edits)
            extra = {"id": set_id, "members": members, "ranks": names, "reference_rank": a, "target_rank": b}
            rows.append(Planned(reference=names[a], target=names[b], edits=edits, texts=[text], extra=extra))
        set_id += 1
    return rows


def _plant(rng: random.Random, rows: list[Planned], gallery: Gallery, split: str, copies: int) -> Broken:
    names = sorted(gallery)
    sets = itertools.count(1 + max(row.extra["id"] for row in rows))

    def random_target(rng: random.Random, row: Planned) -> bool:
        wrong = rng.choice(names)
        if wrong in row.extra["members"] or fulfils(gallery[wrong], row.edits):
            return False
        # The real files always name the target among the members, so it takes the right one's place.
        members = [wrong if name == row.target else name for name in row.extra["members"]]
        row.extra = {**row.extra, "id": next(sets), "members": members}
        row.target = wrong
        return True

    def lookalike_target(rng: random.Random, row: Planned) -> bool:
        fitting = [
            name
            for name in row.extra["members"]
            if name not in (row.reference, row.target) and not fulfils(gallery[name], row.edits)
        ]
        if not fitting:
            return False
        row.target = rng.choice(fitting)
        row.extra = {**row.extra, "target_rank": row.extra["ranks"].index(row.target)}
        return True

    rates = RATES["cirr"][split]
    if split != "test1":
        plant_wrong_targets(rng, rows, random_target, lookalike_target)
    plant_text_dirt(rng, rows, rates, lambda rng, row: scene_texts.sentence(rng, row.edits))
    plant_repeats(rng, rows, copies)
    return plant_broken_images(rng, rows, rates)


def _record(rng: random.Random, pair: int, row: Planned, gallery: Gallery, split: str) -> dict[str, Any]:
    subset = {
        "id": row.extra["id"],
        "members": row.extra["members"],
        "reference_rank": row.extra["reference_rank"],
    }
    if split == "test1":
        return {"pairid": pair, "reference": row.reference, "caption": row.texts[0], "img_set": subset}
    return {
        "pairid": pair,
        "reference": row.reference,
        "target_hard": row.target,
        "target_soft": _target_soft(rng, row, gallery),
        "caption": row.texts[0],
        "img_set": {**subset, "target_rank": row.extra["target_rank"]},
    }


def write_cirr(root: Path, seed: int, sizes: Sizes, clean: bool = False) -> Written:
    """Write CIRR rc2 below `root`: captions, image_splits, img_raw, aspects.json, truth.jsonl. Raises
    `UsageError` for a split of more than `MOST_TRIPLETS`, before anything is written."""
    if (most := max(sizes.train, sizes.val, sizes.test)) > MOST_TRIPLETS:
        raise UsageError(
            f"CIRR has names for {MOST_TRIPLETS:,} triplets a split, not {most:,}; give at most as many"
        )
    counts, every, images, truth = {}, [], 0, []
    pair = 0
    for split, prefix, wanted in (
        ("train", "train", sizes.train),
        ("val", "dev", sizes.val),
        ("test1", "test1", sizes.test),
    ):
        gallery: Gallery = {}
        copies = repeats("cirr", split, wanted, clean)
        rows = _draw_rows(seeded("cirr", seed, split, "rows"), prefix, wanted - copies, gallery)
        broken = Broken()
        if not clean and rows:
            broken = _plant(seeded("cirr", seed, split, "dirt"), rows, gallery, split, copies)
        rng = seeded("cirr", seed, split, "files")
        records = []
        for row in rows:
            pair += rng.choice((1, 1, 1, 2, 3))
            records.append(_record(rng, pair, row, gallery, split))
            if split != "test1":
                truth.append(truth_line(f"cirr/{split}/{pair}", row, gallery))
        write_json(root / "captions" / f"cap.rc2.{split}.json", records)
        folder = {name: f"{prefix}/{rng.randrange(100)}" if prefix == "train" else prefix for name in gallery}
        files = {name: f"{folder[name]}/{name}.png" for name in rng.sample(sorted(gallery), len(gallery))}
        write_json(
            root / "image_splits" / f"split.rc2.{split}.json",
            {name: f"./{file}" for name, file in files.items()},
        )
        looks = {name: (file, gallery[name]) for name, file in files.items()}
        images += write_images(root / "img_raw", looks, "png", seed, broken.missing, broken.undecodable)
        counts[split] = len(rows)
        every += rows if split != "test1" else []
    write_json(root / "aspects.json", list(SCENE_ASPECTS))
    (root / "truth.jsonl").write_text("".join(truth), encoding="utf-8")
    return Written(counts, images, count_dirt(every))
