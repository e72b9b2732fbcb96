"""The client against real sockets: what it sends, what it makes of answers, how it lives through outages."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import tenacity
from aiohttp import web

from annotate.errors import RunIncomplete, UsageError
from annotate.journal import Journal, answered_ask
from annotate.teacher.client import TeacherClient
from annotate.teacher.pool import Patience, checked_url
from annotate.teacher.request import Reply, Request, Turn
from annotate.teacher.retry import Unanswered
from tests.faults.fakes import SCHEMA, FakeImages, picture, question, verdict
from tests.faults.server import State, serving

Json = dict[str, Any]


async def no_sleep(_: float) -> None:
    await asyncio.sleep(0)


def client_of(url: str | list[str], concurrency: int = 8, **settings: Any) -> TeacherClient:
    """A client that never waits between tries."""
    images = settings.pop("images", FakeImages())
    return TeacherClient(
        url, "test", "key", images, concurrency, wait=tenacity.wait_none(), sleep=no_sleep, **settings
    )


async def set_state(url: str, **values: object) -> None:
    base = url.rsplit("/", 2)[0]
    async with aiohttp.ClientSession() as session:
        await session.post(f"{base}/control/set", json=values)


class Recorder:
    """A server that keeps what it was sent and answers by a function of it."""

    def __init__(self, answer: Callable[[Json], Json] | None = None) -> None:
        self.forms: list[Json] = []
        self.headers: list[dict[str, str]] = []
        self.answer = answer or (lambda form: {"choices": [{"message": {"content": "{}"}}]})

    async def handle(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        form = await request.json()
        self.forms.append(form)
        return web.json_response(self.answer(form))


def with_server(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]], use: Callable[[str], Awaitable[None]]
) -> None:
    """Run `use` on the URL of a server whose chat completions are `handler`."""

    async def run() -> None:
        app = web.Application(client_max_size=2**24)
        app.add_routes([web.post("/v1/chat/completions", handler)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            await use(f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
        finally:
            await runner.cleanup()

    asyncio.run(run())


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


def test_a_model_that_changes_under_way_stops_the_run() -> None:
    async def run() -> None:
        async with serving() as url, client_of(f"{url}/ok/v1") as client:
            await client.ask(question("first"))
            await set_state(f"{url}/ok/v1", model="another/model")
            with pytest.raises(RunIncomplete, match="another/model"):
                await client.ask(question("second"))
            with pytest.raises(RunIncomplete):  # and stays stopped
                await client.ask(question("third"))

    asyncio.run(run())


def test_after_a_fatal_failure_nothing_more_is_sent() -> None:
    async def run() -> None:
        state = State()
        async with serving(state) as url, client_of(f"{url}/http401/v1", concurrency=2) as client:
            asks = [client.ask(question(f"q{i}")) for i in range(50)]
            results = await asyncio.gather(*asks, return_exceptions=True)
            assert all(isinstance(result, RunIncomplete) for result in results)
            assert state.tries.total() <= 2

    asyncio.run(run())


def test_a_server_that_answers_everything_wrongly_stops_the_run_early() -> None:
    async def run() -> None:
        state = State()
        async with serving(state) as url, client_of(f"{url}/html/v1", concurrency=4) as client:
            results = []
            for i in range(100):
                try:
                    results.append(await client.ask(question(f"q{i}")))
                except Unanswered as failure:
                    assert failure.code == "no_answer"
                except RunIncomplete as stop:
                    assert "answers wrongly" in str(stop)
                    assert i == 49
                    break
            else:
                pytest.fail("never stopped")
            assert state.tries.total() == 50 * Patience().tries

    asyncio.run(run())


def test_rows_that_are_to_blame_themselves_do_not_stop_the_run() -> None:
    async def run() -> None:
        async with serving() as url, client_of(f"{url}/context_too_long/v1") as client:
            for i in range(60):
                with pytest.raises(Unanswered) as failure:
                    await client.ask(question(f"q{i}"))
                assert failure.value.code == "context_too_long"

    asyncio.run(run())


def test_a_dead_server_pauses_the_run_which_goes_on_by_itself() -> None:
    async def run() -> None:
        lines: list[str] = []
        patience = Patience(give_up_after=60, probe_longest=0.05)
        async with serving() as url:
            port = int(url.rsplit(":", 1)[1])
        async with client_of(f"{url}/ok/v1", say=lines.append, patience=patience) as client:
            waiting = [asyncio.ensure_future(client.ask(question(f"q{i}"))) for i in range(20)]
            while not lines:
                await asyncio.sleep(0.01)
            assert "not reachable" in lines[0]
            assert "goes on by itself" in lines[0]
            await asyncio.sleep(0.2)
            assert not any(task.done() for task in waiting)
            attempts = client.stats.attempts
            await asyncio.sleep(0.2)
            assert client.stats.attempts == attempts  # paused: nothing is sent
            async with serving(port=port):
                await asyncio.gather(*waiting)
        assert len(lines) == 2
        assert "is back" in lines[1]

    asyncio.run(run())


def test_a_server_that_stays_away_ends_the_run_with_one_line() -> None:
    async def run() -> None:
        async with serving() as url:
            pass
        patience = Patience(give_up_after=0.2, probe_longest=0.05)
        async with client_of(f"{url}/ok/v1", patience=patience) as client:
            asks = [client.ask(question(f"q{i}")) for i in range(20)]
            results = await asyncio.gather(*asks, return_exceptions=True)
        assert {type(result) for result in results} == {RunIncomplete}
        assert "run the same command again" in str(results[0])

    asyncio.run(run())


def test_retry_after_is_waited_for() -> None:
    async def run() -> None:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)
            await asyncio.sleep(0)

        async with serving() as url:
            client = TeacherClient(f"{url}/retry_after~2/v1", "test", None, FakeImages(), sleep=sleep)
            async with client:
                await client.ask(question())
        assert waits == [1.0, 1.0]

    asyncio.run(run())


def test_waits_grow_and_vary() -> None:
    async def run() -> list[float]:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)
            await asyncio.sleep(0)

        async with serving() as url:
            client = TeacherClient(f"{url}/http500/v1", "test", None, FakeImages(), sleep=sleep)
            async with client:
                with pytest.raises(Unanswered):
                    await client.ask(question())
        return waits

    one, two = asyncio.run(run()), asyncio.run(run())
    assert len(one) == Patience().tries - 1
    assert all(wait <= 0.5 * 2**i for i, wait in enumerate(one))
    assert one != two


def test_never_more_than_concurrency_in_flight() -> None:
    async def run() -> None:
        state = State(slow=0.01)
        async with serving(state) as url, client_of(f"{url}/slow/v1", concurrency=5) as client:
            await asyncio.gather(*(client.ask(question(f"q{i}")) for i in range(60)))
            assert state.most_in_flight <= 5

    asyncio.run(run())


def test_a_cancelled_ask_leaves_its_place_to_the_next() -> None:
    async def run() -> None:
        async with serving() as url, client_of(f"{url}/hang/v1", concurrency=1) as client:
            hanging = asyncio.ensure_future(client.ask(question("first")))
            queued = asyncio.ensure_future(client.ask(question("second")))
            await asyncio.sleep(0.2)
            hanging.cancel()
            queued.cancel()
            results = await asyncio.gather(hanging, queued, return_exceptions=True)
            assert all(isinstance(result, asyncio.CancelledError) for result in results)
            client._pool.servers[0].url = f"{url}/ok/v1"  # type: ignore[union-attr]
            assert await asyncio.wait_for(client.ask(question("third")), 20)

    asyncio.run(run())


def test_the_key_is_in_no_message_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> list[str]:
        said: list[str] = []
        async with serving() as url:
            for fault in ("http401", "http500", "reset", "redirect", "html"):
                client = TeacherClient(
                    f"{url}/{fault}/v1",
                    "test",
                    "sk-very-secret",
                    FakeImages(),
                    say=said.append,
                    wait=tenacity.wait_none(),
                    sleep=no_sleep,
                    patience=Patience(give_up_after=0.1, probe_longest=0.05),
                )
                async with client:
                    try:
                        await client.ask(question())
                    except (Unanswered, RunIncomplete) as failure:
                        said.append(f"{failure!r} {failure.__cause__!r} {failure.__context__!r} {client!r}")
        return said

    with caplog.at_level(logging.DEBUG):
        said = asyncio.run(run())
    assert said
    assert "very-secret" not in " ".join(said) + caplog.text


def test_through_the_mixed_server_the_journal_holds_what_a_faultless_run_gives(tmp_path: Path) -> None:
    rates = {
        "http500": 0.05,
        "reset": 0.03,
        "truncated": 0.03,
        "html": 0.03,
        "queue_full": 0.05,
        "uuid_miss": 0.03,
    }
    requests = [question(f"q{i}", image=str(i // 5)) for i in range(300)]

    async def run(path: str, state: State, folder: Path) -> dict[str, Reply | None]:
        with Journal(folder) as journal:
            patience = Patience(hedge_after=3600)
            async with serving(state) as url, client_of(f"{url}/{path}/v1", 16, patience=patience) as client:
                ask = answered_ask(journal, client.ask)
                await asyncio.gather(*(ask(request) for request in requests + requests))
            assert journal.count == len(requests)
            assert state.answered.total() == len(requests), client.stats  # nothing was answered twice
            return {request.digest(): journal.get(request.digest()) for request in requests}

    state = State(seed=3, rates=rates)
    assert asyncio.run(run("mixed", state, tmp_path / "mixed")) == asyncio.run(
        run("ok", State(), tmp_path / "ok")
    )
    assert state.faults.keys() >= rates.keys()


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
