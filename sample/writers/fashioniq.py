"""FashionIQ's layout: three categories, two captions a triplet, flat images named by ASIN."""

from __future__ import annotations

import random
import string
from pathlib import Path
from typing import Final

from sample import garment_texts
from sample.looks import (
    apply,
    draw_edits,
    draw_look,
    draw_unmentioned,
    make_look,
    one_attribute_neighbour,
    other,
)
from sample.triplets import Gallery, Planned, fulfils, truth_line, write_json
from sample.vocabulary import GARMENT_ASPECTS, GARMENT_VALUES
from sample.writers.dirt import (
    RATES,
    Broken,
    plant_broken_images,
    plant_repeats,
    plant_text_dirt,
    plant_wrong_targets,
    repeats,
)
from sample.writers.plan import Sizes, Written, count_dirt, draw_count, seeded, write_images

CATEGORIES: Final = ("dress", "shirt", "toptee")
UNDERSPECIFIED: Final = 0.48
REFERENCE_WAS_TARGET: Final = 0.4  # real references are often some other triplet's target
TRIPLETS_A_REFERENCE: Final = ((1, 2, 3), (64, 28, 8))
GALLERY_A_TRIPLET: Final = 2.0  # real: 1.9 for dress, 3.1 for shirt


def draw_asin(rng: random.Random, taken: set[str]) -> str:
    """A new name like B00B1EXDXK, noted in `taken`."""
    while True:
        name = "B0" + "".join(rng.choices(string.digits + string.ascii_uppercase, k=8))
        if name not in taken:
            taken.add(name)
            return name


def _draw_rows(
    rng: random.Random, category: str, wanted: int, gallery: Gallery, taken: set[str]
) -> list[Planned]:
    rows: list[Planned] = []
    while len(rows) < wanted:
        if rows and rng.random() < REFERENCE_WAS_TARGET:
            reference = rng.choice(rows).target
        else:
            reference = draw_asin(rng, taken)
            gallery[reference] = draw_look(rng, "garments", category)
        look = gallery[reference]
        for _ in range(rng.choices(*TRIPLETS_A_REFERENCE)[0]):
            edits = draw_edits(rng, look, draw_count(rng))
            left = draw_unmentioned(rng, look, edits) if rng.random() < UNDERSPECIFIED else []
            target = draw_asin(rng, taken)
            gallery[target] = apply(look, [*edits, *left])
            texts = list(garment_texts.captions(rng, category, edits))
            rows.append(
                Planned(reference=reference, target=target, edits=edits, texts=texts, category=category)
            )
    del rows[wanted:]
    rng.shuffle(rows)
    # Distractors: half of them one attribute away from something asked for.
    while rows and len(gallery) < GALLERY_A_TRIPLET * wanted:
        near = one_attribute_neighbour(rng, gallery[rng.choice(rows).target])
        gallery[draw_asin(rng, taken)] = near if rng.random() < 0.5 else draw_look(rng, "garments", category)
    return rows


def _plant_wrong(rng: random.Random, rows: list[Planned], gallery: Gallery, taken: set[str]) -> None:
    names = sorted(gallery)

    def random_target(rng: random.Random, row: Planned) -> bool:
        wrong = rng.choice(names)
        if wrong == row.reference or fulfils(gallery[wrong], row.edits):
            return False
        row.target = wrong
        return True

    def lookalike_target(rng: random.Random, row: Planned) -> bool:
        edit = rng.choice(row.edits)
        values = gallery[row.target].as_dict()
        values[edit.aspect] = other(rng, GARMENT_VALUES[edit.aspect], edit.new)
        row.target = draw_asin(rng, taken)
        gallery[row.target] = make_look("garments", row.category, values)
        return True

    plant_wrong_targets(rng, rows, random_target, lookalike_target)


def write_fashioniq(root: Path, seed: int, sizes: Sizes, clean: bool = False) -> Written:
    """Write FashionIQ below `root`: captions, image_splits, images, aspects.json, truth.jsonl.

    A size is the sum over the three categories.
    """
    counts: dict[str, int] = {}
    every: list[Planned] = []
    truth: list[str] = []
    images = 0
    taken: set[str] = set()
    for split, total in (("train", sizes.train), ("val", sizes.val), ("test", sizes.test)):
        parts: list[tuple[str, list[Planned], Gallery]] = []
        copies = repeats("fashioniq", split, total, clean)
        for place, category in enumerate(CATEGORIES):
            wanted = total // 3 + (place < total % 3) - (copies if place == 0 else 0)
            gallery: Gallery = {}
            rng = seeded("fashioniq", seed, split, category, "rows")
            parts.append((category, _draw_rows(rng, category, wanted, gallery, taken), gallery))
        rows = [row for _, part, _ in parts for row in part]
        broken = Broken()
        rng = seeded("fashioniq", seed, split, "dirt")
        if not clean and rows:
            if split != "test":
                for _, part, gallery in parts:
                    _plant_wrong(rng, part, gallery, taken)
            plant_text_dirt(
                rng,
                rows,
                RATES["fashioniq"][split],
                lambda rng, row: garment_texts.caption(rng, row.category or "dress", row.edits),
            )
            plant_repeats(rng, parts[0][1], copies)
            rows = [row for _, part, _ in parts for row in part]
            broken = plant_broken_images(rng, rows, RATES["fashioniq"][split])
        for category, part, gallery in parts:
            records = []
            for place, row in enumerate(part):
                named = {"target": row.target} if split != "test" else {}
                records.append({**named, "candidate": row.reference, "captions": row.texts})
                if split != "test":
                    truth.append(truth_line(f"fashioniq/{split}/{category}/{place:06d}", row, gallery))
            write_json(root / "captions" / f"cap.{category}.{split}.json", records, indent=4)
            names = seeded("fashioniq", seed, split, category, "order").sample(sorted(gallery), len(gallery))
            write_json(root / "image_splits" / f"split.{category}.{split}.json", names, indent=4)
            files = {name: (f"{name}.jpg", gallery[name]) for name in names}
            images += write_images(root / "images", files, "jpg", seed, broken.missing, broken.undecodable)
        counts[split] = len(rows)
        every += rows if split != "test" else []
    write_json(root / "aspects.json", list(GARMENT_ASPECTS))
    (root / "truth.jsonl").write_text("".join(truth), encoding="utf-8")
    return Written(counts, images, count_dirt(every))
