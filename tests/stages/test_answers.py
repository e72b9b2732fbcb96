"""Whatever a teacher sends, reading it gives a typed answer or a fault, never a traceback."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.answers import MAX_ERROR, Fault, read_answer
from annotate.stages import stage_schema
from annotate.teacher.request import Reply
from schemas.answers import CaptionAnswer, ReasoningAnswer

CAPTION = stage_schema(CaptionAnswer, ())
REASONING = stage_schema(ReasoningAnswer, ("ball", "background"))
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["claims", "edits", "kept", "rationale", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=60)
@given(st.text() | JSON.map(json.dumps), st.sampled_from(["stop", "length", "content_filter", ""]))
def test_any_text_is_an_answer_or_a_bounded_fault(text: str, finish_reason: str) -> None:
    for model, schema in ((CaptionAnswer, CAPTION), (ReasoningAnswer, REASONING)):
        answer = read_answer(Reply(text, finish_reason), model, schema)
        assert isinstance(answer, model) or (isinstance(answer, Fault) and len(answer.error) <= MAX_ERROR)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=120), min_size=1, max_size=16))
def test_a_valid_caption_is_read_as_it_is(claims: list[str]) -> None:
    answer = read_answer(Reply(json.dumps({"claims": claims}), "stop"), CaptionAnswer, CAPTION)
    if all(claim.strip() for claim in claims):
        assert answer == CaptionAnswer(claims=tuple(claims))
    else:
        assert isinstance(answer, Fault) and "blank" in answer.error


def test_a_claim_that_begins_like_a_refusal_is_no_refusal() -> None:
    answer = read_answer(Reply('{"claims":["sorry sign"]}', "stop"), CaptionAnswer, CAPTION)
    assert answer == CaptionAnswer(claims=("sorry sign",))
