"""What the shard tests share: triplets, pictures on disk, a teacher that is a function of the request."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from annotate.checks.ladder import Costs
from annotate.checks.question import MEANINGS
from annotate.images import ImageStore
from annotate.prompts import load_prompts
from annotate.shards.plan import Job
from annotate.shards.publish import SHARD_ROWS, Origin
from annotate.shards.run import Tools
from annotate.shards.writing import writing_of
from annotate.stages import Writer
from annotate.teacher.request import Ask, Reply, Request
from schemas.triplet import Triplet

JOB = Job("cirr", "train", None, "a" * 64)
ASPECTS = ("ball", "background")
RECIPE = "fit448-q90-v1"

ANSWERS = {
    "caption": '{"claims":["red ball","sand background"]}',
    "reasoning": '{"rationale":"make the ball blue","edits":[{"aspect":"ball","from":"red","to":"blue"}],'
    '"kept":["background"]}',
    "conclusion": '{"claims":["blue ball","sand background"]}',
}


def triplet(number: int, **changes: Any) -> Triplet:
    """A CIRR triplet; its reference and target are pictures that `make_tools` paints."""
    values: dict[str, Any] = {
        "triplet_id": f"cirr/train/{number}",
        "dataset": "cirr",
        "split": "train",
        "native_id": str(number),
        "reference": f"ref-{number}",
        "target": f"target-{number}",
        "modifications": (f"make the ball blue ({number})",),
        **changes,
    }
    return Triplet(**values)


def sure(letter: str, probability: float) -> Reply:
    """A one-token reply whose letter has this probability, the other one the rest."""
    other = "B" if letter == "A" else "A"
    rest = math.log(1 - probability) if probability < 1 else -100.0
    return Reply(letter, "length", ((letter, math.log(probability)), (other, rest)))


def verified(request: Request, p_match: float) -> Reply:
    """A one-letter reply that gives this probability to the wanted meaning, whichever letter has it."""
    wanted, _ = MEANINGS[request.stage]
    letter = "A" if f"A. {wanted}\n" in request.turns[-1].text else "B"
    return sure(letter, p_match)


def scripted(answer: Callable[[Request], Reply | None] = lambda request: None) -> Ask:
    """A teacher that does all right, save where `answer` gives a reply of its own or raises."""

    async def ask(request: Request) -> Reply:
        special = answer(request)
        if special is not None:
            return special
        if request.choices:
            return verified(request, 0.99)
        return Reply(
            ANSWERS[request.stage.removesuffix("_repair").removesuffix("_again")],
            "stop",
            prompt_tokens=100,
            completion_tokens=30,
        )

    return ask


def paint(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """A small picture a name, each with a colour of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name in names:
        red, green, blue = hashlib.sha256(name.encode()).digest()[:3]
        paths[name] = folder / f"{name}.png"
        Image.new("RGB", (16, 16), (red, green, blue)).save(paths[name])
    return paths


def make_tools(folder: Path, ask: Ask, triplets: Sequence[Triplet] | None = None, **changes: Any) -> Tools:
    """Tools over painted pictures of `triplets` (default: triplets 0-9), rows below folder/out."""
    chosen = [triplet(number) for number in range(10)] if triplets is None else triplets
    names = sorted({name for t in chosen for name in (t.reference, t.target) if name is not None})
    values: dict[str, Any] = {
        "ask": ask,
        "writer": Writer("tiny", load_prompts(), ASPECTS, RECIPE),
        "images": ImageStore(folder / "store", RECIPE),
        "paths": paint(folder / "pictures", names),
        "rows": folder / "out" / SHARD_ROWS,
        "source": "sample",
        **changes,
    }
    return Tools(**values)


def origin(tools: Tools) -> Origin:
    """Of painted pictures."""
    return Origin(
        "sample",
        "pictures",
        "flat",
        tools.writer,
        tools.thresholds,
        tuple(c.name for c in tools.checks),
        Costs(),
        writing_of(tools),
        {"LIMIT": "200"},
    )
