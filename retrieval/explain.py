"""Why a query succeeded or failed: chain, best images with scores, rank of the target; a CSV and a page with
pictures.

Failures are counted by kind of edit, as the written chain names it.
"""

from __future__ import annotations

import base64
import csv
import io
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np

from annotate.files import write_output
from annotate.text import csv_cell
from retrieval.conversation import chain_part
from retrieval.evaluate import Choices, EvalSet, Evaluation, query_texts
from retrieval.pictures import Pictures
from retrieval.ranking import ranks, top

THUMBNAIL = 96  # pixels
NO_CHAIN = "(no chain)"
_EDIT = re.compile(r"(?:^|; )([^:;]+): [^;]* -> ")  # a value after may hold anything


@dataclass(frozen=True, slots=True)
class Explained:
    """One query: what was asked and written, the best images with scores, and the target's rank (from 1)."""

    triplet_id: str
    reference: str
    target: str
    modification: str
    chain: str
    kinds: tuple[str, ...]
    rank: int
    best: tuple[tuple[str, float], ...]


def explain(eval_set: EvalSet, choices: Choices, evaluation: Evaluation, k: int = 10) -> list[Explained]:
    """Every query of an evaluation with one row a triplet, worst first; CIRR's reference is left out as in
    its rank."""
    texts, spread = query_texts(eval_set, choices)
    column = {name: index for index, name in enumerate(eval_set.gallery)}
    targets = np.array([column[str(t.target)] for t in eval_set.triplets], dtype=np.int64)
    without = eval_set.dataset == "cirr" or choices.exclude_reference
    references = (
        np.array([column[t.reference] for t in eval_set.triplets], dtype=np.int64) if without else None
    )
    scores = evaluation.scores[:: len(spread) // len(eval_set.triplets)]
    rows = spread[:: len(spread) // len(eval_set.triplets)]
    places = ranks(scores, targets, references)
    best = top(scores, min(k, len(eval_set.gallery) - without), references)
    chains = evaluation.queries.chains if evaluation.queries else (None,) * len(texts)
    explained = [
        Explained(
            triplet_id=triplet.triplet_id,
            reference=triplet.reference,
            target=str(triplet.target),
            modification=texts[ways[0]].text,
            chain=chains[ways[0]] or "",
            kinds=edit_kinds(chains[ways[0]]),
            rank=int(place),
            best=tuple((eval_set.gallery[c], float(row[c])) for c in columns),
        )
        for triplet, ways, row, place, columns in zip(
            eval_set.triplets, rows, scores, places, best, strict=True
        )
    ]
    return sorted(explained, key=lambda one: (-one.rank, one.triplet_id))


def edit_kinds(chain: str | None) -> tuple[str, ...]:
    """The aspects that a chain's edits name, each once; `(no chain)` where none can be read."""
    edits = chain_part(chain, "edits") if chain else None
    return tuple(dict.fromkeys(_EDIT.findall(edits or ""))) or (NO_CHAIN,)


def by_kind(explained: Sequence[Explained], k: int = 10) -> list[tuple[str, int, float]]:
    """(kind of edit, queries, part of them whose target is among the best k), most queries first."""
    hits: dict[str, list[bool]] = defaultdict(list)
    for one in explained:
        for kind in one.kinds:
            hits[kind].append(one.rank <= k)
    rows = [(kind, len(found), sum(found) / len(found)) for kind, found in hits.items()]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def write_csv(path: Path, explained: Sequence[Explained]) -> Path:
    """One line a query; the best images as `name score` joined by blanks."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["triplet_id", "rank", "reference", "target", "modification", "edit_kinds", "best", "chain"]
    )
    for one in explained:
        best = " ".join(f"{name} {score:.4f}" for name, score in one.best)
        texts = (one.triplet_id, one.reference, one.target, one.modification, "; ".join(one.kinds), best)
        triplet_id, *others = map(csv_cell, (*texts, one.chain))
        writer.writerow([triplet_id, one.rank, *others])
    write_output(path, text.getvalue())
    return path


def write_page(
    path: Path, explained: Sequence[Explained], shown: int, eval_set: EvalSet, title: str, recipe: str
) -> Path:
    """A page that needs no other file: the kinds of all queries, and the first `shown` of them with
    thumbnails inside; everything that comes from data is escaped."""
    pictures = Pictures(recipe)
    thumbnails: dict[str, str] = {}
    for one in explained[:shown]:
        for name in (one.reference, one.target, *(name for name, _ in one.best)):
            if name not in thumbnails:
                thumbnails[name] = _thumbnail(pictures, eval_set.images[name])
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(_PAGE).render(
        title=title, queries=explained[:shown], kinds=by_kind(explained), thumbnails=thumbnails
    )
    write_output(path, page)
    return path


def _thumbnail(pictures: Pictures, path: Path) -> str:
    image = pictures.load(path).copy()
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=80)
    return base64.b64encode(data.getvalue()).decode()


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title><style>
body { font: 14px/1.4 sans-serif; margin: 2em; color: #222 } table { border-collapse: collapse }
td, th { padding: .2em .8em; border-bottom: 1px solid #ddd; text-align: left }
section { border-top: 2px solid #888; margin-top: 1.5em; padding-top: .5em }
figure { display: inline-block; margin: .2em; text-align: center; font-size: 11px; vertical-align: top }
figure.target img { outline: 3px solid #2a2 } pre { white-space: pre-wrap; background: #f6f6f6; padding: .5em
} </style></head><body><h1>{{ title }}</h1>
<table><tr><th>kind of edit</th><th>queries</th><th>target among the best 10</th></tr>
{% for kind, count, hit in kinds %}<tr><td>{{ kind }}</td><td>{{ count }}</td><td>{{ "%.1f" % (100 * hit) }}
%</td></tr> {% endfor %}</table>
{% macro shown(name, note, marked=false) %}<figure{% if marked %} class="target"{% endif %}>
<img alt="{{ name }}" src="data:image/jpeg;base64,{{ thumbnails[name] }}"><br>{{ name }}<br>{{ note
}}</figure>{% endmacro %} {% for q in queries %}<section id="{{ q.triplet_id }}"><h2>{{ q.triplet_id }}: rank
{{ q.rank }}</h2> <p>{{ q.modification }}</p>{{ shown(q.reference, "reference") }}{{ shown(q.target,
"target", true) }} {% if q.chain %}<pre>{{ q.chain }}</pre>{% endif %}
<div>{% for name, score in q.best %}{{ shown(name, "%.4f" % score, name == q.target) }}{% endfor
%}</div></section> {% endfor %}</body></html>
"""
