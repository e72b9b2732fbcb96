"""A tiny CIRR and FashionIQ on disk, and a published OUT folder of CIRR's train split, written by the real
writers."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from annotate.checks import CHECKS
from annotate.datasets import annotation_digest
from annotate.shards.plan import job_digest
from annotate.tables import to_table, write_table
from schemas.answers import Edit
from schemas.manifest import Counts, Manifest, PublishedFile
from schemas.row import Row

NOTHING: Mapping[str, Any] = {}
COLOURS = ("red", "green", "blue", "white", "black", "yellow")


def picture(path: Path, seed: int) -> str:
    """A noisy picture in one of six colours; returns the file's sha256."""
    rng = random.Random(seed)
    base = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220)}.get(COLOURS[seed % 6])
    colour = base or {"white": (240,) * 3, "black": (15,) * 3, "yellow": (230, 220, 30)}[COLOURS[seed % 6]]
    image = Image.new("RGB", (32, 32), colour)
    for _ in range(40):
        image.putpixel((rng.randrange(32), rng.randrange(32)), (rng.randrange(256),) * 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def cirr(root: Path, split: str, triplets: int = 12, images: int = 18) -> Path:
    """`split` of a CIRR: triplet i asks from image i for image i + 1, among the six images from i on."""
    prefix = {"train": "train", "val": "dev"}[split]
    names = [f"{prefix}-{i}-0-img0" for i in range(images)]
    for index, name in enumerate(names):
        picture(root / prefix / f"{name}.png", index + (100 if split == "val" else 0))
    records = [
        {
            "pairid": index,
            "reference": names[index],
            "target_hard": names[index + 1],
            "target_soft": {names[index + 1]: 1.0},
            "caption": f"make it {COLOURS[(index + 1) % 6]}",
            "img_set": {
                "id": index,
                "members": names[index : index + 6],
                "reference_rank": 1,
                "target_rank": 2,
            },
        }
        for index in range(triplets)
    ]
    dump(root / f"captions/cap.rc2.{split}.json", records)
    dump(root / f"image_splits/split.rc2.{split}.json", {name: f"./{prefix}/{name}.png" for name in names})
    return root


def fashioniq(root: Path, split: str = "val", triplets: int = 5) -> Path:
    for number, category in enumerate(("dress", "shirt", "toptee")):
        names = [f"B{number}{i:03d}" for i in range(triplets + 3)]
        for index, name in enumerate(names):
            picture(root / "images" / f"{name}.png", 50 * number + index)
        records = [
            {"candidate": names[i], "target": names[i + 1], "captions": [f"is {COLOURS[i % 6]}", "no belt"]}
            for i in range(triplets)
        ]
        dump(root / f"captions/cap.{category}.{split}.json", records)
        dump(root / f"image_splits/split.{category}.{split}.json", names)
    return root


def dump(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def row(index: int, root: Path, **changes: Any) -> Row:
    names = [f"train-{i}-0-img0" for i in range(index, index + 6)]
    old, new = COLOURS[index % 6], COLOURS[(index + 1) % 6]
    digests = [hashlib.sha256((root / "train" / f"{n}.png").read_bytes()).hexdigest() for n in names[:2]]
    values: dict[str, Any] = {
        "triplet_id": f"cirr/train/{index}",
        "dataset": "cirr",
        "split": "train",
        "category": None,
        "reference": names[0],
        "reference_digest": digests[0],
        "target": names[1],
        "target_digest": digests[1],
        "modification": f"make it {new}",
        "modifications": (f"make it {new}",),
        "subset": tuple(names),
        "positives": (),
        "native_id": str(index),
        "notes": (),
        "caption": f"{old} picture",
        "caption_claims": (f"{old} picture",),
        "rationale": f"change color to {new}",
        "edits": (Edit(aspect="color", from_=old, to=new),),
        "kept": (),
        "conclusion": f"{new} picture",
        "conclusion_claims": (f"{new} picture",),
        **{column: 1.0 for check in CHECKS for column in check.columns},
        **{column: () for check in CHECKS for column in check.details},
        "skipped_checks": (),
        "attempt": 0,
        "verdict": "accepted",
        "reasons": (),
        "detail": None,
        "teacher": "tiny",
        "teacher_sees_target": False,
        "prompt_version": "0",
        "source": "user",
    }
    return Row(**(values | changes))


def annotated(out: Path, images: Path, split: str, rows: int, **each: Any) -> Path:
    """OUT with annotations of `cirr(images, split)`, accepted or not; its train/ stays as it is."""
    prefix = {"train": "train", "val": "dev"}[split]
    made = [row(index, images, **each) for index in range(rows)]
    if split == "val":  # other images, of which only the name matters here
        made = [
            each.model_copy(
                update={
                    "triplet_id": f"cirr/val/{each.native_id}",
                    "split": "val",
                    "reference": each.reference.replace("train", prefix, 1),
                    "target": str(each.target).replace("train", prefix, 1),
                }
            )
            for each in made
        ]
    path = out / "annotations" / "part-00000.parquet"
    write_table(to_table(made), path)
    file = PublishedFile(rows=rows, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    job = job_digest("cirr", split, None, annotation_digest("cirr", split, images))
    known = published(out, images).joinpath("manifest.json").read_text() if split == "val" else None
    manifest = Manifest.model_validate_json(known or (out / "manifest.json").read_text())
    files = {**manifest.files, "annotations/part-00000.parquet": file}
    changed = manifest.model_copy(update={"files": files, "split": split, "job": job})
    (out / "manifest.json").write_text(changed.model_dump_json())
    return out


def published(
    out: Path, images: Path, rows: int = 12, each: Mapping[str, Any] = NOTHING, **changes: Any
) -> Path:
    """OUT of a finished annotation of `cirr(images, "train")`; `each` goes into every row, `changes` into the
    manifest."""
    path = out / "train" / "part-00000.parquet"
    write_table(to_table([row(index, images, **each) for index in range(rows)]), path)
    file = PublishedFile(rows=rows, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    values: dict[str, Any] = {
        "status": "complete",
        "counts": Counts(input=rows, accepted=rows, rejected=0, quarantined=0),
        "job": "job",
        "dataset": "cirr",
        "split": "train",
        "category": None,
        "source": "user",
        "root": str(images),
        "layout": "train/",
        "image_recipe": "fit448-q90-v1",
        "limit": None,
        "seed": 0,
        "teacher": "tiny",
        "teacher_sees_target": False,
        "prompts": {},
        "prompt_version": "0",
        "thresholds": {},
        "checks": (),
        "costs": {},
        "precision": None,
        "reasons": {},
        "files": {"train/part-00000.parquet": file},
        "versions": {},
    }
    manifest = Manifest(**(values | changes))
    (out / "manifest.json").write_text(manifest.model_dump_json())
    return out
