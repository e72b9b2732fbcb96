"""What was measured, as lines of the table, and one row against another on the same queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retrieval.bootstrap import paired_difference
from retrieval.evaluate import EvalSet, Evaluation
from retrieval.protocols import Result
from retrieval.results import TableRow

COMPARED = {"fashioniq": ("R@10",), "cirr": ("R@1", "Rs@1"), "circo": ("mAP@5",)}
Sets = tuple[EvalSet, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of the table, and the chains that were asked with (of each category). No scores: a study keeps
    all its lines, and those of a real table would be gigabytes."""

    row: TableRow
    chains: tuple[tuple[str | None, ...], ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a row's model comes from; empty where nothing was trained."""

    seed: int | None = None
    data_digest: str = ""
    model_digest: str = ""
    learning_rate: float | None = None


def line(
    label: str, sets: Sets, done: Sequence[Evaluation], chain: str, origin: Origin = Origin()
) -> Measured:
    """One line of the table from a dataset's evaluations (FashionIQ: one a category)."""
    asked = [each.queries for each in done if each.queries is not None]
    count = sum(each.result.n_queries for each in done if each.queries is not None)  # of one, or of two texts
    writing = 1000 * sum(each.writing_seconds for each in asked)
    total = writing + 1000 * sum(each.embedding_seconds for each in asked)
    row = TableRow(
        label=label,
        results=tuple(each.result for each in done),
        chain=chain,
        seed=origin.seed,
        data_digest=origin.data_digest,
        eval_digest=" ".join(each.digest[:16] for each in sets),
        model_digest=origin.model_digest,
        learning_rate=origin.learning_rate,
        ms_per_query=total / count if total else None,
        ms_writing=writing / count if total else None,
    )
    return Measured(row, tuple(() if each.queries is None else each.queries.chains for each in done))


def comparisons(lines: Sequence[Measured], ours_label: str) -> list[dict[str, object]]:
    """The row `ours_label` with written chains against every other on the same queries: paired bootstrap,
    seeds pooled. Rows asked with the teacher's chains are left out: they may lack queries."""
    groups: dict[tuple[str, str, str], list[Result]] = {}
    for each in lines:
        key = (each.row.dataset, each.row.label, each.row.chain)
        groups.setdefault(key, []).extend(each.row.results)
    found: list[dict[str, object]] = []
    for (dataset, label, chain), theirs in groups.items():
        ours = groups.get((dataset, ours_label, "generated"), [])
        if (label, chain) == (ours_label, "generated") or chain == "gold":
            continue
        for category in dict.fromkeys(result.protocol.category for result in ours):
            for metric in COMPARED[dataset]:
                mine, other = (
                    [each.per_query[metric] for each in group if each.protocol.category == category]
                    for group in (ours, theirs)
                )
                gain = paired_difference(mine, other)
                found.append(
                    {
                        "dataset": dataset,
                        "category": category,
                        "metric": metric,
                        "against": label,
                        "mean": gain.mean,
                        "low": gain.low,
                        "high": gain.high,
                        "clear": gain.clear,
                    }
                )
    return found
