"""What `train-eval` takes when it is not told: models, worlds to measure on, the teacher's chains of queries.

This is the one place of the package that knows of the sample: its embedded models, and that its worlds can be
rendered where they are missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from annotate.shards.published import read_manifest
from retrieval.eval_sets import EVALUATION_SPLIT, query_jobs
from retrieval.sources import Source, gold_chains
from sample.processor import cpu_knows_bf16
from sample.writers.whole import stale_words, write_whole
from schemas.triplet import DATASETS, Dataset

OUTPUTS = Path("outputs")
MODELS = Path(__file__).resolve().parent.parent / "sample" / "models"
BASE = MODELS / "base"
CLIP = MODELS / "clip"

# For the embedded base alone: it is so small that all of it but the vision tower is trained. Reading requests
# takes it many small steps, and a contrast of full weight or sharp from the start drowns them and its own
# embedding (docs/recipe.md).
TINY: Mapping[str, Any] = {
    "tuning": "frozen_tower",
    "learning_rate": 1e-3,
    "beta2": 0.95,
    "batch": 16,
    "steps": 512,
    "lambda_info": 0.02,
    "temperature": 0.05,
    "hard_negatives": 2,
    "cpu_bf16": cpu_knows_bf16(),
    "save_every": 160,
}
TINY_CHAIN = 224  # tokens; the longest chain of the sample has some 170


def base_of(given: Path | None, sources: Sequence[Source], say: Callable[[str], None]) -> Path:
    """The base model; says what is wrong where the sample's is to learn from somebody's own pictures."""
    if given is None and sources[0].manifest.source == "user":
        say(
            "the base is the sample's tiny one, which knows its renderings only: of other pictures it learns "
            "next to nothing; give --base-model (make: BASE_MODEL=)"
        )
    return given or BASE


def default_roots(sources: Sequence[Source], say: Callable[[str], None]) -> dict[Dataset, Path]:
    """The user's own roots, or the sample's three worlds of the training data's seed, rendered if missing."""
    roots: dict[Dataset, Path] = {source.dataset: source.root for source in sources}
    root = sources[0].root
    named = re.fullmatch(rf"{sources[0].dataset}-seed(\d+)", root.name)
    if sources[0].manifest.source != "sample" or named is None:
        return roots
    for dataset in DATASETS:
        beside = root.with_name(f"{dataset}-seed{named[1]}")
        if not beside.is_dir():
            say(f"writing the rendered sample into {beside}")
            write_whole(dataset, beside, int(named[1]))
        elif stale := stale_words(beside):
            say(stale)
        roots.setdefault(dataset, beside)
    return roots


def find_gold(given: Sequence[Path], outputs: Path, roots: Mapping[Dataset, Path]) -> dict[str, str]:
    """The teacher's chains of the evaluation queries, by triplet id, from OUT folders of that very split.

    Without `given` folders, those in `outputs` that fit. Raises `UsageError` for a given one that does not.
    """
    jobs = query_jobs(roots)
    found = given or [
        path.parent
        for path in sorted(outputs.glob(f"*-{EVALUATION_SPLIT}/manifest.json"))
        if (manifest := read_manifest(path.parent)).job in jobs
        and manifest.status == "complete"
        and not manifest.teacher_sees_target
    ]
    chains: dict[str, str] = {}
    for out in found:
        chains |= gold_chains(out, jobs)
    return chains
