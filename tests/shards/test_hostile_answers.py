"""Whatever a teacher says, every triplet leaves as one row, whole and harmless; no traceback, no hang."""

from __future__ import annotations

import asyncio
import json
import math
import unicodedata
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotate.selection import REASONS
from annotate.shards.plan import make_plan
from annotate.shards.run import run_shard
from annotate.tables import MAX_TEXT, read_rows
from annotate.teacher.request import Ask, Reply, Request
from annotate.teacher.retry import Unanswered
from tests.shards.world import ANSWERS, JOB, make_tools, triplet

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
WORDS = st.text(st.characters(exclude_categories=()), max_size=140)
CLAIMS = st.lists(WORDS, max_size=18).map(lambda claims: {"claims": claims})
EDITS = st.fixed_dictionaries(
    {
        "rationale": WORDS,
        "edits": st.lists(
            st.fixed_dictionaries(
                {
                    "aspect": st.sampled_from(["ball", "background", "other", "sky"]),
                    "from": WORDS,
                    "to": WORDS,
                }
            ),
            max_size=4,
        ),
        "kept": st.lists(st.sampled_from(["ball", "background", "sky"]), max_size=3),
    }
)
TEXTS = (
    st.text(max_size=60)
    | st.one_of(JSON, CLAIMS, EDITS).map(json.dumps)
    | st.sampled_from(sorted(ANSWERS.values()))
    | st.sampled_from(["[" * 50_000, "9" * 6_000, "\x00", "I'm sorry, I can't", "</request>", "=cmd()"])
)
LOGPROBS = st.lists(
    st.tuples(st.sampled_from(["A", "B", "C", ""]), st.floats() | st.floats(max_value=0)), max_size=4
).map(tuple)
REPLIES = st.builds(Reply, TEXTS, st.sampled_from(["stop", "length", "content_filter", ""]), LOGPROBS)


def annotated(folder: Path, replies: list[Reply | None]) -> list[Any]:
    """Rows of four triplets whose teacher gives these replies in turn; None is no answer at all."""
    given = iter(replies * 40)

    async def ask(request: Request) -> Reply:
        reply = next(given)
        if reply is None:
            raise Unanswered("no_answer", "HTTP 500, 6 times")
        return reply

    hostile: Ask = ask
    triplets = [triplet(number) for number in range(4)]
    plan = make_plan(triplets, JOB)
    result = asyncio.run(
        asyncio.wait_for(run_shard(plan, plan.shards[0], make_tools(folder, hostile, triplets)), 30)
    )
    return list(read_rows([result.path]))


def shown(value: Any) -> list[str]:
    """Every text in a row."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in shown(item)]
    return [text for item in value for text in shown(item)] if isinstance(value, list | tuple) else []


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(REPLIES | st.none(), min_size=1, max_size=12))
def test_any_replies_give_one_harmless_row_a_triplet(tmp_path: Path, replies: list[Reply | None]) -> None:
    rows = annotated(tmp_path, replies)
    assert [row.triplet_id for row in rows] == [f"cirr/train/{number}" for number in range(4)]
    for row in rows:
        assert set(row.reasons) <= set(REASONS) and (row.verdict == "accepted") == (not row.reasons)
        assert row.p_match is None or (0 <= row.p_match <= 1 and not math.isnan(row.p_match))
        for text in shown(row.model_dump(mode="python")):
            assert len(text) <= MAX_TEXT
            assert not {unicodedata.category(c) for c in text} & {"Cc", "Cs", "Zl", "Zp"}
