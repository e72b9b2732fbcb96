"""CIRCO's layout: scenes with combinations that CIRR never shows, several right targets a query."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Final

import numpy as np

from annotate.errors import UsageError
from sample import scene_texts
from sample.looks import (
    Edit,
    Look,
    apply,
    differences,
    draw_edits,
    draw_look,
    draw_unmentioned,
    make_look,
    objects,
    one_attribute_neighbour,
)
from sample.triplets import Gallery, Planned, fulfils, truth_line, write_json
from sample.vocabulary import ABSENT, KINDS, SCENE_ASPECTS
from sample.writers.cirr import HELD_OUT
from sample.writers.dirt import (
    RATES,
    Broken,
    plant_broken_images,
    plant_repeats,
    plant_text_dirt,
    plant_wrong_targets,
    repeats,
)
from sample.writers.plan import Sizes, Written, changes, count_dirt, draw_count, seeded, write_images

LARGEST_ID: Final = 581929  # of COCO's unlabeled2017
RIGHT_TARGETS: Final = ((1, 2, 3, 4, 5, 6, 8), (12, 14, 16, 18, 16, 14, 10))  # real: 4.5 a query
UNDERSPECIFIED: Final = 0.48
UNASKED_AT_MOST: Final = 2  # a right target differs in so many aspects that the text leaves alone
DISTRACTORS_A_QUERY: Final = 3
IDS_A_QUERY: Final = 20
"""At least as many image ids as a query can show."""
MOST_QUERIES: Final = LARGEST_ID // IDS_A_QUERY - 1


def unseen(look: Look) -> bool:
    """Whether a scene shows a combination of kind and colour that CIRR never shows."""
    return any((kind, look.value(kind).split()[-1]) in HELD_OUT for kind in objects(look))


def _draw_unseen(rng: random.Random) -> Look:
    values = draw_look(rng, "scenes").as_dict()
    kind = rng.choice([kind for kind in KINDS if values[kind] != ABSENT])
    size, pattern, _ = values[kind].split()
    color = rng.choice(sorted(color for held, color in HELD_OUT if held == kind))
    return make_look("scenes", None, {**values, kind: f"{size} {pattern} {color}"})


def _draw_rows(rng: random.Random, wanted: int, gallery: Gallery, ids: list[int]) -> list[Planned]:
    """Rows with their gallery; `ids` are unused image ids, taken from its end."""

    def show(look: Look) -> str:
        name = str(ids.pop())
        gallery[name] = look
        return name

    rows: list[Planned] = []
    while len(rows) < wanted:
        look = _draw_unseen(rng)
        edits = draw_edits(rng, look, draw_count(rng))
        asked = apply(look, edits)
        vague = rng.random() < UNDERSPECIFIED
        first = apply(asked, draw_unmentioned(rng, asked, edits, rng.choice((1, 1, 2)))) if vague else asked
        if not unseen(first):
            continue
        reference, target = show(look), show(first)
        for _ in range(rng.choices(*RIGHT_TARGETS)[0] - 1):
            left = rng.choices((0, 1, 2), (40, 40, 20))[0]
            show(apply(asked, draw_unmentioned(rng, asked, edits, left)) if left else asked)
        for _ in range(DISTRACTORS_A_QUERY):
            near = one_attribute_neighbour(rng, rng.choice((look, asked)))
            show(near if rng.random() < 0.7 else _draw_unseen(rng))
        rows.append(
            Planned(
                reference=reference,
                target=target,
                edits=edits,
                texts=[scene_texts.relative(rng, edits)],
                extra={"concept": scene_texts.concept(rng, look, asked)},
            )
        )
    return rows


def right_targets(rows: list[Planned], gallery: Gallery) -> list[list[str]]:
    """Every gallery image which does what the text asks and differs in at most two unasked aspects.

    Objects are neither added nor removed unasked. The planned target comes first.
    """
    names = sorted(gallery, key=int)
    codes: dict[str, int] = {ABSENT: 0}
    table = np.array(
        [[codes.setdefault(value, len(codes)) for _, value in gallery[name].attributes] for name in names]
    )
    found = []
    for row in rows:
        asked = apply(gallery[row.reference], row.edits)
        wanted = np.array([codes.get(value, -1) for _, value in asked.attributes])
        touched = {edit.aspect for edit in row.edits}
        fixed = np.array([aspect in touched or value == ABSENT for aspect, value in asked.attributes])
        differs = table != wanted
        bad = (differs & (fixed | (table == 0))).any(axis=1)
        fits = ~bad & (differs.sum(axis=1) <= UNASKED_AT_MOST)
        others = [
            names[i] for i in np.flatnonzero(fits).tolist() if names[i] not in (row.target, row.reference)
        ]
        found.append([row.target, *others])
    return found


def semantic_aspects(edits: list[Edit]) -> list[str]:
    """CIRCO's names for what a modification is about."""
    gone = any(edit.new == ABSENT for edit in edits)
    come = any(edit.old == ABSENT for edit in edits)
    changed = [edit for edit in edits if edit.aspect in KINDS and ABSENT not in (edit.old, edit.new)]
    resized = any(edit.old.split()[0] != edit.new.split()[0] for edit in changed)
    places = any(edit.aspect in ("background", "arrangement") for edit in edits)
    named = (
        ("cardinality", gone != come),
        ("addition", come and not gone),
        ("negation", gone and not come),
        ("direct_addressing", bool(changed)),
        ("compare_change", gone and come),
        ("comparative_statement", resized),
        ("statement_with_conjunction", changes(edits) > 1),
        ("spatial_relations_background", places),
    )
    return [name for name, holds in named if holds]


def _plant(rng: random.Random, rows: list[Planned], gallery: Gallery, copies: int) -> Broken:
    names = sorted(gallery)

    def put(row: Planned, wrong: str) -> bool:
        if wrong in (row.reference, row.target) or fulfils(gallery[wrong], row.edits):
            return False
        row.extra = {**row.extra, "right": [wrong, *row.extra["right"][1:]]}
        row.target = wrong
        return True

    def lookalike_target(rng: random.Random, row: Planned) -> bool:
        right = gallery[row.target]
        near = [name for name in names if len(differences(gallery[name], right)) <= 2]
        return bool(near) and put(row, rng.choice(near))

    plant_wrong_targets(rng, rows, lambda rng, row: put(row, rng.choice(names)), lookalike_target)
    plant_text_dirt(rng, rows, RATES["circo"]["val"], lambda rng, row: scene_texts.relative(rng, row.edits))
    plant_repeats(rng, rows, copies)
    return plant_broken_images(rng, rows, RATES["circo"]["val"])


def _record(number: int, row: Planned, split: str) -> dict[str, Any]:
    if split == "test":
        return {
            "reference_img_id": int(row.reference),
            "relative_caption": row.texts[0],
            "shared_concept": row.extra["concept"],
            "id": number,
        }
    return {
        "reference_img_id": int(row.reference),
        "target_img_id": int(row.target),
        "relative_caption": row.texts[0],
        "shared_concept": row.extra["concept"],
        "gt_img_ids": [int(name) for name in row.extra["right"]],
        "id": number,
        "semantic_aspects": semantic_aspects(row.edits),
    }


def _image_info(ids: list[int]) -> dict[str, Any]:
    images = [
        {
            "license": 1,
            "file_name": f"{number:012d}.jpg",
            "coco_url": "",
            "height": 128,
            "width": 128,
            "date_captured": "2013-11-14 11:18:45",
            "id": number,
        }
        for number in ids
    ]
    info = {
        "description": "rendered sample in the layout of COCO unlabeled2017",
        "version": "1.0",
        "year": 2017,
    }
    return {"info": info, "images": images, "licenses": [{"id": 1, "name": "Apache-2.0", "url": ""}]}


def write_circo(root: Path, seed: int, sizes: Sizes, clean: bool = False) -> Written:
    """Write CIRCO below `root`: annotations, COCO2017_unlabeled, aspects.json, truth.jsonl.

    Val and test search one gallery; there is no train. Raises `UsageError` for more than `MOST_QUERIES` of
    both, before anything is written.
    """
    if (queries := sizes.val + sizes.test) > MOST_QUERIES:
        raise UsageError(
            f"CIRCO has image ids for {MOST_QUERIES:,} queries, val and test together, not {queries:,}; "
            "give at most as many"
        )
    gallery: Gallery = {}
    ids = seeded("circo", seed, "ids").sample(range(1, LARGEST_ID + 1), IDS_A_QUERY * (queries + 1))
    copies = repeats("circo", "val", sizes.val, clean)
    splits = {
        "val": _draw_rows(seeded("circo", seed, "val", "rows"), sizes.val - copies, gallery, ids),
        "test": _draw_rows(seeded("circo", seed, "test", "rows"), sizes.test, gallery, ids),
    }
    for rows in splits.values():
        for row, right in zip(rows, right_targets(rows, gallery), strict=True):
            row.extra["right"] = right
    broken = Broken()
    if not clean and splits["val"]:
        broken = _plant(seeded("circo", seed, "dirt"), splits["val"], gallery, copies)
    truth = []
    for split, rows in splits.items():
        records = [_record(number, row, split) for number, row in enumerate(rows)]
        write_json(root / "annotations" / f"{split}.json", records, indent=2)
        if split == "val":
            truth = [truth_line(f"circo/val/{number}", row, gallery) for number, row in enumerate(rows)]
    names = seeded("circo", seed, "order").sample(sorted(gallery, key=int), len(gallery))
    coco = root / "COCO2017_unlabeled"
    info = _image_info([int(name) for name in names])
    write_json(coco / "annotations" / "image_info_unlabeled2017.json", info)
    files = {name: (f"{int(name):012d}.jpg", gallery[name]) for name in names}
    images = write_images(coco / "unlabeled2017", files, "jpg", seed, broken.missing, broken.undecodable)
    write_json(root / "aspects.json", list(SCENE_ASPECTS))
    (root / "truth.jsonl").write_text("".join(truth), encoding="utf-8")
    counts = {split: len(rows) for split, rows in splits.items()}
    return Written(counts, images, count_dirt(splits["val"]))
