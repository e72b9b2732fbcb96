"""The table: rows of numbers, each with its protocol, counts, seed and data digest; as JSON and as
markdown."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from annotate.files import write_output
from annotate.text import parse_json
from retrieval.protocols import Result, mean_of
from retrieval.published import PUBLISHED, published_table

HEADERS = {
    "fashioniq": ("R@10", "R@50"),
    "cirr": ("R@1", "R@5", "R@10", "R@50", "Rs@1", "Rs@2", "Rs@3", "mean"),
    "circo": ("mAP@5", "mAP@10", "mAP@25", "mAP@50"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One model on one dataset: its results (three for FashionIQ), and what it was trained and asked with."""

    label: str
    results: tuple[Result, ...]
    chain: str
    seed: int | None  # None: nothing was trained or drawn
    data_digest: str
    eval_digest: str = ""
    model_digest: str = ""
    learning_rate: float | None = None
    ms_per_query: float | None = None
    ms_writing: float | None = None

    @property
    def dataset(self) -> str:
        """Whose protocol the numbers are of."""
        return self.results[0].protocol.dataset

    def as_json(self) -> list[dict[str, Any]]:
        """One JSON object a result, and one for the mean over categories."""
        shared = {
            "label": self.label,
            "dataset": self.dataset,
            "chain": self.chain,
            "seed": self.seed,
            "data_digest": self.data_digest,
            "eval_digest": self.eval_digest,
            "model_digest": self.model_digest,
            "learning_rate": self.learning_rate,
            "ms_per_query": self.ms_per_query,
            "ms_writing": self.ms_writing,
        }
        rows = [shared | {"category": result.protocol.category} | result.as_json() for result in self.results]
        if len(self.results) > 1:
            rows.append(shared | {"category": "mean"} | _mean_json(self.results))
        return rows


def write_results(
    folder: Path, rows: Sequence[TableRow], comparisons: Sequence[Mapping[str, Any]] = ()
) -> tuple[Path, Path]:
    """Write `results.json` and `results.md`; `comparisons` are ours against each other row (see study.py)."""
    published = [
        {"method": p.method, "protocol": p.protocol, "on_real_data": True, "numbers": list(p.numbers)}
        for p in PUBLISHED
    ]
    document: dict[str, Any] = {
        "rows": [line for row in rows for line in row.as_json()],
        "published_on_real_data": published,
    }
    document["comparisons"] = [dict(line) for line in comparisons]
    write_output(folder / "results.json", json.dumps(document, indent=2) + "\n")
    write_output(
        folder / "results.md", "\n".join([markdown(rows), *_compared(comparisons), published_table()])
    )
    return folder / "results.json", folder / "results.md"


def keep_others(folder: Path, row: TableRow) -> list[Path]:
    """Results that lie there of another model, chain or protocol get a number, `results-1.json`; where they
    are now. What cannot be read is kept, too."""
    path = folder / "results.json"
    try:
        there = [_measures(line) for line in parse_json(path.read_text(encoding="utf-8"))["rows"]]
        other = there != [_measures(line) for line in row.as_json()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError):
        other = True
    if not other:
        return []
    number = next(n for n in itertools.count(1) if not (folder / f"results-{n}.json").exists())
    kept = []
    for old in filter(Path.exists, (path, path.with_suffix(".md"))):
        kept.append(old.rename(old.with_stem(f"results-{number}")))
    return kept


def _measures(line: Mapping[str, Any]) -> tuple[object, ...]:
    """Of which measurement a line of results.json is: another one's numbers are others."""
    return tuple(line[name] for name in ("model_digest", "chain", "protocol", "eval_digest", "category"))


def markdown(rows: Sequence[TableRow]) -> str:
    """A block a protocol: its line, its counts, then the rows in percent."""
    blocks: list[str] = []
    for key in dict.fromkeys(_key(row) for row in rows):
        mine = [row for row in rows if _key(row) == key]
        columns = _columns(mine[0])
        names = " | ".join(
            ("model", "chain", "seed", "rate", "data", *columns, "ms a query (writing the chain)")
        )
        lines = [
            key,
            f"evaluated annotations {mine[0].eval_digest}",
            "",
            f"| {names} |",
        ]
        lines.append("|---" * (len(columns) + 6) + "|")
        for label, chain in dict.fromkeys((row.label, row.chain) for row in mine):
            lines.append(_line([row for row in mine if (row.label, row.chain) == (label, chain)]))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _line(seeds: Sequence[TableRow]) -> str:
    """One row of a block: its numbers, or with several seeds their mean and standard deviation."""
    values = 100 * np.array([_numbers(row) for row in seeds])
    numbers = [f"{mean:.2f}" for mean in values.mean(axis=0)]
    if len(seeds) > 1:
        spread = values.std(axis=0, ddof=1)
        numbers = [f"{mean} ± {each:.2f}" for mean, each in zip(numbers, spread, strict=True)]
    trained = ", ".join(str(row.seed) for row in seeds if row.seed is not None)
    asked = [row for row in seeds if row.ms_per_query is not None]
    cost = ""
    if asked:
        whole = sum(row.ms_per_query or 0 for row in asked) / len(asked)
        cost = f"{whole:.0f} ({sum(row.ms_writing or 0 for row in asked) / len(asked):.0f})"
    made = (
        seeds[0].label,
        seeds[0].chain,
        trained,
        _each(seeds, "learning_rate"),
        _each(seeds, "data_digest"),
    )
    return f"| {' | '.join(made)} | {' | '.join(numbers)} | {cost} |"


def _each(seeds: Sequence[TableRow], name: str) -> str:
    """What the seeds of a row share, of a digest the beginning; empty where nothing was trained."""
    return ", ".join(dict.fromkeys(str(found)[:12] for row in seeds if (found := getattr(row, name))))


def _compared(comparisons: Sequence[Mapping[str, Any]]) -> list[str]:
    if not comparisons:
        return []
    lines = [
        "Ours with chain minus the other row, percent, 95 % paired bootstrap over queries (seeds pooled):",
        "",
    ]
    lines += [
        "| dataset | metric | against | difference | interval | excludes 0 |",
        "|---|---|---|---|---|---|",
    ]
    for c in comparisons:
        where = " ".join(filter(None, (c["dataset"], c["category"])))
        interval = f"{100 * c['low']:.2f} to {100 * c['high']:.2f}"
        verdict = "yes" if c["clear"] else "no"
        lines.append(
            f"| {where} | {c['metric']} | {c['against']} | {100 * c['mean']:.2f} | {interval} | {verdict} |"
        )
    return ["\n".join(lines) + "\n"]


def _key(row: TableRow) -> str:
    """What must agree for two rows to stand in one block: protocol and counts of every result."""
    return "; ".join(str(result).rpartition("  [")[2].rstrip("]") for result in row.results)


def _columns(row: TableRow) -> list[str]:
    names = HEADERS[row.dataset]
    if len(row.results) == 1:
        return list(names)
    categories = [str(result.protocol.category) for result in row.results]
    return [f"{category} {name}" for category in (*categories, "mean") for name in names]


def _numbers(row: TableRow) -> list[float]:
    names = HEADERS[row.dataset]
    values = [result[name] for result in row.results for name in names]
    if len(row.results) > 1:
        mean = mean_of(row.results)
        values += [mean[name] for name in names]
    return values


def _mean_json(results: Sequence[Result]) -> dict[str, Any]:
    return {
        "protocol": "unweighted mean of " + "; ".join(str(result.protocol) for result in results),
        "metrics": mean_of(results),
        "n_queries": sum(result.n_queries for result in results),
        "n_expected": sum(result.n_expected for result in results),
        "n_gallery": sum(result.n_gallery for result in results),
        "n_gallery_expected": sum(result.n_gallery_expected for result in results),
    }
