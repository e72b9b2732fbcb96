"""The client against real sockets: what it sends and what it makes of answers."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from annotate.errors import UsageError
from annotate.images import moved
from annotate.teacher.request import Reply, Request, Turn
from annotate.urls import checked_url
from tests.faults.fakes import SCHEMA, FakeImages, picture, question, verdict
from tests.faults.server import State, serving
from tests.teacher.clients import Recorder, client_of, with_server


def test_body_carries_everything_that_determines_the_answer() -> None:
    recorder = Recorder()

    async def use(url: str) -> None:
        async with client_of(url) as client:
            await client.ask(question())

    with_server(recorder.handle, use)
    (form,) = recorder.forms
    assert (form["model"], form["temperature"], form["top_p"], form["seed"]) == ("test", 0.0, 1.0, 0)
    assert form["max_tokens"] == 512
    assert form["response_format"]["type"] == "json_schema"
    assert form["response_format"]["json_schema"] == {
        "name": "caption",
        "schema": json.loads(SCHEMA),
        "strict": True,
    }
    assert "logprobs" not in form
    system, user = form["messages"]
    assert system == {"role": "system", "content": "You describe pictures."}
    assert [part["type"] for part in user["content"]] == ["image_url", "text"]
    assert recorder.headers[0]["Authorization"] == "Bearer key"


def test_one_token_question_asks_for_log_probabilities_and_sums_blanks() -> None:
    tops = [
        {"token": "A", "logprob": -1.0},
        {"token": " A", "logprob": -2.0},
        {"token": "C", "logprob": -0.1},
        {"token": "B", "logprob": -9999.0},
    ]
    answer = {
        "choices": [
            {
                "message": {"content": "A"},
                "finish_reason": "length",
                "logprobs": {"content": [{"token": "A", "logprob": -1.0, "top_logprobs": tops}]},
            }
        ],
        "usage": {
            "prompt_tokens": 11,
            "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": 8},
        },
    }
    recorder = Recorder(lambda form: answer)
    replies: list[Reply] = []

    async def use(url: str) -> None:
        async with client_of(url) as client:
            replies.append(await client.ask(verdict()))

    with_server(recorder.handle, use)
    (form,) = recorder.forms
    assert (form["max_tokens"], form["logprobs"], form["top_logprobs"]) == (1, True, 20)
    assert "response_format" not in form
    (reply,) = replies
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens) == ("A", 11, 1, 8)
    assert dict(reply.logprobs) == {
        "A": pytest.approx(-0.686738, abs=1e-5)
    }  # log(e^-1 + e^-2); B is impossible


def test_images_go_inline_once_and_by_uuid_afterwards() -> None:
    recorder = Recorder()
    images = FakeImages()

    async def use(url: str) -> None:
        async with client_of(url, images=images) as client:
            await client.ask(question("first"))
            await client.ask(question("second"))
            await client.ask(question("third", image="another"))

    with_server(recorder.handle, use)
    parts = [form["messages"][1]["content"][0] for form in recorder.forms]
    digest = images.encoded(picture("one")).digest
    assert parts[0]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert parts[0]["uuid"] == digest
    assert parts[1] == {"type": "image_url", "image_url": None, "uuid": digest}
    assert parts[2]["image_url"] is not None
    assert images.reads[picture("one").source_digest] <= 3


def test_a_moved_picture_is_sent_as_one_of_its_own() -> None:
    recorder, images, asked = Recorder(), FakeImages(), question("first")
    turn = replace(asked.turns[-1], pictures=(moved(picture("one")),))

    async def use(url: str) -> None:
        async with client_of(url, images=images) as client:
            await client.ask(asked)
            await client.ask(replace(asked, turns=(*asked.turns[:-1], turn)))

    with_server(recorder.handle, use)
    sent = [form["messages"][1]["content"][0] for form in recorder.forms]
    assert [part["uuid"] for part in sent] == [
        images.encoded(each).digest for each in (picture("one"), moved(picture("one")))
    ]
    assert all(part["image_url"] is not None for part in sent)


def test_servers_without_uuids_get_the_bytes_every_time() -> None:
    recorder = Recorder()

    async def use(url: str) -> None:
        async with client_of(url, image_uuids=False) as client:
            await client.ask(question("first"))
            await client.ask(question("second"))

    with_server(recorder.handle, use)
    parts = [form["messages"][1]["content"][0] for form in recorder.forms]
    assert all(part.keys() == {"type", "image_url"} and part["image_url"]["url"] for part in parts)


def test_a_server_that_lost_its_cache_gets_the_bytes_again_which_is_no_retry() -> None:
    async def run() -> None:
        state = State()
        async with serving(state) as url, client_of(f"{url}/ok/v1") as client:
            await client.ask(question("first"))
            state.images.clear()
            assert await client.ask(question("second"))
            assert (client.stats.image_resends, client.stats.retries, client.stats.attempts) == (1, 0, 3)
            await client.ask(question("third"))
            assert client.stats.attempts == 4

    asyncio.run(run())


@pytest.mark.parametrize(
    "fault", ["http500", "reset", "truncated", "html", "queue_full", "http429", "http408"]
)
def test_a_passing_fault_costs_tries_and_gives_the_same_answer(fault: str) -> None:
    async def run() -> None:
        async with serving() as url:
            async with client_of(f"{url}/ok/v1") as client:
                expected = await client.ask(question())
            async with client_of(f"{url}/{fault}~4/v1") as client:
                assert await client.ask(question()) == expected
                assert client.stats.retries + client.stats.refusals == 3  # the first try was above

    asyncio.run(run())


def test_reply_text_is_what_came_for_the_stages_to_judge() -> None:
    async def run() -> None:
        async with serving() as url:
            got = {}
            for fault in ("length", "empty", "null", "refusal_text", "schema", "surrogate", "reasoning"):
                async with client_of(f"{url}/{fault}/v1") as client:
                    got[fault] = await client.ask(question())
            assert got["length"].finish_reason == "length"
            assert got["empty"].text == got["null"].text == ""
            assert got["refusal_text"].text.startswith("I'm sorry")
            assert got["schema"].text == '{"claims":[],"extra":1}'
            assert got["surrogate"].text.encode()  # lone surrogates are gone: it can be stored and sent again
            assert json.loads(got["reasoning"].text)

    asyncio.run(run())


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://host/v1",
        "host:8000/v1",
        "http://",
        "http://user:secret@host/v1",
        "http://secret@host/v1",
        "http://host:99999/v1",
        "http://host:secret/v1",
        "http://host/v1?key=secret",
        "http://host/v1#secret",
        "http://ho st/v1",
        "http://host/v1\nHost: evil",
        "http://[::1/v1",
        "",
    ],
)
def test_a_url_that_is_none_is_refused_without_repeating_secrets(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked_url(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["http://host:8000/v1/", " https://host/v1", "http://127.0.0.1:1/v1", "http://[::1]:80/v1"]
)
def test_a_good_url_loses_its_blanks_and_its_last_slash(url: str) -> None:
    assert checked_url(url) == url.strip().rstrip("/")


def test_an_assistant_turn_is_sent_as_text() -> None:
    recorder = Recorder()
    base = question()
    request: Request = replace(base, turns=(*base.turns, Turn("assistant", "{}"), Turn("user", "and now?")))

    async def use(url: str) -> None:
        async with client_of(url) as client:
            await client.ask(request)

    with_server(recorder.handle, use)
    assert recorder.forms[0]["messages"][2:] == [
        {"role": "assistant", "content": "{}"},
        {"role": "user", "content": "and now?"},
    ]
