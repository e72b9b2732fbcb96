"""Whatever a server sends becomes a reply or a classified failure, never a traceback."""

from __future__ import annotations

import json
import math
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.teacher import wire
from annotate.teacher.request import ENCODE_PICTURE, ENCODE_TEXT, Reply, Request, Turn
from annotate.teacher.retry import BadReply, HttpStatus, classify
from annotate.teacher.wire import body, error_of, parse_reply
from tests.faults.fakes import picture, question

LETTERS = ("A", "B")
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(["A", " B", "length", "stop", "content_filter"])
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def keyed(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects with these keys, each perhaps missing or something else altogether."""
    return st.fixed_dictionaries({}, optional={name: part | ANYTHING for name, part in parts.items()})


TOP = keyed(token=st.sampled_from(["A", "B", " A", "C"]), logprob=st.floats() | st.integers())
TOKENS = st.lists(keyed(token=st.just("A"), top_logprobs=st.lists(TOP | ANYTHING, max_size=4)), max_size=2)
MESSAGE = keyed(content=st.text(), reasoning=st.text(), reasoning_content=st.text(), refusal=st.text())
CHOICE = keyed(message=MESSAGE, finish_reason=st.just("stop"), logprobs=keyed(content=TOKENS))
USAGE = keyed(prompt_tokens=st.integers(), prompt_tokens_details=keyed(cached_tokens=st.integers()))
COMPLETION = keyed(choices=st.lists(CHOICE | ANYTHING, max_size=2), usage=USAGE, model=st.text())


def harmless(text: str) -> bool:
    """One line without control characters or halves of characters."""
    return not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text)


def check(data: bytes, choices: tuple[str, ...]) -> None:
    """A reply that can be stored and sent on, or a failure with a row in the table."""
    try:
        reply, model = parse_reply(data, choices)
    except BadReply as failure:
        assert harmless(classify(failure).words)
        return
    assert isinstance(reply, Reply)
    assert isinstance(model, str)
    reply.text.encode()
    assert all(
        0 <= count < 2**53 for count in (reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens)
    )
    assert all(letter in choices and math.isfinite(value) for letter, value in reply.logprobs)
    assert not choices or reply.logprobs


@settings(max_examples=300, deadline=None)
@given(COMPLETION | ANYTHING, st.sampled_from([(), LETTERS]))
def test_any_json_becomes_a_reply_or_a_failure(form: Any, choices: tuple[str, ...]) -> None:
    check(json.dumps(form).encode(), choices)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([(), LETTERS]))
def test_any_bytes_become_a_reply_or_a_failure(data: bytes, choices: tuple[str, ...]) -> None:
    check(data, choices)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | ANYTHING.map(lambda form: json.dumps({"error": form}).encode()))
def test_any_error_body_gives_one_harmless_line(data: bytes) -> None:
    message, param = error_of(data)
    assert harmless(message)
    assert harmless(param)
    assert len(message) <= 300
    assert harmless(classify(HttpStatus(400, message, param)).words)


@pytest.mark.parametrize(
    "data", [b"[" * 100_000, b'{"a":' * 100_000, b"1" * 10_000, b"\xff\xfe", b"", b"NaN"]
)
def test_nasty_bodies_are_no_answers(data: bytes) -> None:
    with pytest.raises(BadReply):
        parse_reply(data, LETTERS)
    error_of(data)


def test_a_letter_that_is_not_among_the_top_tokens_is_absent() -> None:
    tops = [{"token": "A", "logprob": -0.5}, {"token": "the", "logprob": -1.0}]
    form = {
        "choices": [
            {"message": {"content": "A"}, "logprobs": {"content": [{"token": "A", "top_logprobs": tops}]}}
        ]
    }
    reply, _ = parse_reply(json.dumps(form).encode(), LETTERS)
    assert [letter for letter, _ in reply.logprobs] == ["A"]
    assert dict(reply.logprobs)["A"] == pytest.approx(-0.5)


def test_an_encoder_is_asked_for_the_vector_of_a_text_or_of_a_picture() -> None:
    text = Request(ENCODE_TEXT, "clip", (Turn("user", "red dress"),), "p")
    form = json.loads(body(text, lambda p: "", lambda p: b"", ()))
    assert (wire.path(text), form["model"], form["input"]) == ("/embeddings", "clip", "red dress")
    shown = Request(ENCODE_PICTURE, "clip", (Turn("user", "", (picture("one"),)),), "p")
    form = json.loads(body(shown, lambda p: "d", lambda p: b"jpeg", (), uuids=False))
    (part,) = form["messages"][0]["content"]
    assert part["image_url"]["url"].startswith("data:image/jpeg;base64,") and "uuid" not in part
    assert wire.path(question()) == "/chat/completions"


def test_a_vector_is_read_and_anything_else_is_a_bad_reply() -> None:
    reply, model = wire.parse_embedding(b'{"model":"clip","data":[{"embedding":[0.1234567,1]}]}')
    assert (reply.text, model) == ("[0.123457,1]", "clip")
    for broken in (b'{"data":[]}', b'{"data":[{"embedding":["x"]}]}', b"<html>", b"[]"):
        with pytest.raises(BadReply):
            wire.parse_embedding(broken)


def test_a_vllm_takes_nothing_from_the_models_folder() -> None:
    """A repetition penalty of Qwen's generation_config.json would punish a conclusion for copying."""
    plain = {"top_k", "min_p", "repetition_penalty"}
    for uuids in (True, False):
        form = json.loads(body(question(), lambda _: "d", lambda _: b"", (), uuids))
        assert plain & form.keys() == (plain if uuids else set())
        assert form["presence_penalty"] == form["frequency_penalty"] == 0
