"""How far readers get who see all of one input and nothing of the other: what the sample's shortcuts allow.

`python -m sample.ceilings --dataset cirr --root DIR` ranks the images by the truth of a clean world: by how
many aspects they have in common with the reference (*image*), how many of the text's edits they show
(*text*), how many aspects agree with reference and edits (*both*). Of equals each is as likely. The gallery
is what truth.jsonl knows: all of CIRR's images, of FashionIQ's those of the category's queries.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotate.datasets import load_triplets
from annotate.errors import CirError, InputError
from annotate.text import plain
from sample.score_report import read_truth
from sample.scoring import Truth
from schemas.triplet import Triplet

METRICS: Mapping[str, tuple[tuple[str, int], ...]] = {
    "cirr": (("R@1", 1), ("R@10", 10), ("Rs@1", 1)),
    "fashioniq": (("R@10", 10), ("R@50", 50)),
}
"""Metric and its k, by dataset; an Rs ranks the subset alone."""
READERS = ("image", "text", "both")


def expected_hit(scores: NDArray[np.int64], target: int, k: int) -> float:
    """The chance that `target` is among the best k of `scores` [n] when equals are shuffled."""
    better = int((scores > scores[target]).sum())
    equal = int((scores == scores[target]).sum())
    return min(max((k - better) / equal, 0.0), 1.0)


def ceilings(
    dataset: str, triplets: Sequence[Triplet], truth: Mapping[str, Truth]
) -> dict[str, dict[str, float]]:
    """Mean of each metric, 0 to 1, by reader; of FashionIQ's categories the unweighted mean. Raises
    `InputError` for a subset with an image that `truth` does not know."""
    groups: dict[str | None, list[Triplet]] = {}
    for triplet in triplets:
        groups.setdefault(triplet.category, []).append(triplet)
    found = [_of_group(dataset, group, truth) for group in groups.values()]
    return {
        reader: {name: float(np.mean([one[reader][name] for one in found])) for name, _ in METRICS[dataset]}
        for reader in READERS
    }


def _of_group(
    dataset: str, triplets: Sequence[Triplet], truth: Mapping[str, Truth]
) -> dict[str, dict[str, float]]:
    shown: dict[str, Mapping[str, str]] = {}
    for triplet in triplets:
        shown[triplet.reference] = truth[triplet.triplet_id].reference
        shown[str(triplet.target)] = truth[triplet.triplet_id].target
    place = {name: number for number, name in enumerate(shown)}
    aspects = list(next(iter(shown.values())))
    table = np.array([[look[aspect] for aspect in aspects] for look in shown.values()])
    hits: dict[str, dict[str, list[float]]] = {r: {name: [] for name, _ in METRICS[dataset]} for r in READERS}
    for triplet in triplets:
        if unknown := set(triplet.subset) - place.keys():
            raise InputError(
                f"{triplet.triplet_id}: truth.jsonl knows nothing of {min(unknown)} of its subset; write a "
                "world whose --val is a multiple of nine, a subset's queries"
            )
        known = truth[triplet.triplet_id]
        edits = {aspect: new for aspect, _, new in known.edits}
        wanted = {"image": known.reference, "text": edits, "both": known.asked}
        for reader in READERS:
            agree = sum(
                (table[:, aspects.index(aspect)] == value).astype(np.int64)
                for aspect, value in wanted[reader].items()
            )
            scores = np.asarray(agree)
            for name, k in METRICS[dataset]:
                rivals = triplet.subset if name.startswith("Rs") else tuple(place)
                if dataset == "cirr":  # its protocol leaves the reference out
                    rivals = tuple(rival for rival in rivals if rival != triplet.reference)
                among = scores[[place[rival] for rival in rivals]]
                hits[reader][name].append(expected_hit(among, rivals.index(str(triplet.target)), k))
    return {r: {name: float(np.mean(found)) for name, found in own.items()} for r, own in hits.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print one JSON object; 2 and one line on stderr for what is no clean world."""
    parser = argparse.ArgumentParser(
        prog="python -m sample.ceilings", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--dataset", choices=tuple(METRICS), required=True)
    parser.add_argument("--root", type=Path, required=True, help="a world of `sample write --clean`")
    given = parser.parse_args(argv)
    try:
        triplets = load_triplets(given.dataset, "val", given.root)
        truth = read_truth(given.root / "truth.jsonl")
        if odd := next((t.triplet_id for t in triplets if t.triplet_id not in truth or t.problem), None):
            raise InputError(
                f"{given.root}: {odd} is dirty or not in truth.jsonl; write a world with --clean"
            )
        print(json.dumps(ceilings(given.dataset, triplets, truth)))
    except CirError as error:
        print(f"error: {plain(str(error))}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
