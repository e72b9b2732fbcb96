"""Every row of the error table, on the exception that the real client raises against a real socket."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from email.utils import formatdate
from pathlib import Path

import pytest
import tenacity

from annotate.errors import RunIncomplete
from annotate.teacher import client as client_module
from annotate.teacher.client import TeacherClient
from annotate.teacher.pool import Patience
from annotate.teacher.request import Reply
from annotate.teacher.retry import (
    LONGEST_WAIT,
    RULES,
    BadReply,
    Decision,
    HttpStatus,
    Unanswered,
    classify,
    retry_after,
    table,
)
from tests.faults.fakes import FakeImages, question, verdict
from tests.faults.server import FAULTS, State, serving

PATIENCE = Patience(tries=3, connect=20.0, give_up_after=0.3, probe_longest=0.05)


async def no_sleep(_: float) -> None:
    await asyncio.sleep(0)


async def outcome(url: str, patience: Patience = PATIENCE, logprobs: bool = False) -> Reply | Exception:
    """What one question comes to at `url`, with all waiting taken out."""
    client = TeacherClient(
        url, "test", "key", FakeImages(), 4, patience=patience, wait=tenacity.wait_none(), sleep=no_sleep
    )
    async with client:
        try:
            return await client.ask(verdict() if logprobs else question())
        except (Unanswered, RunIncomplete) as failure:
            return failure


@pytest.fixture
def decisions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[BaseException, Decision]]:
    """What the client has put to `classify`, and what that said."""
    seen: list[tuple[BaseException, Decision]] = []

    def record(failure: BaseException) -> Decision:
        decision = classify(failure)
        seen.append((failure, decision))
        return decision

    monkeypatch.setattr(client_module, "classify", record)
    return seen


# fault -> (row of the table, what the request comes to: a reason code, "stop", or "answer")
EXPECTED = {
    "redirect": ("redirect", "stop"),
    "uuid_miss": ("the server has forgotten an image", "no_answer"),
    "context_too_long": ("the conversation is too long", "context_too_long"),
    "image_rejected": ("the server cannot read an image", "image_rejected"),
    "bad_request": ("any other bad request", "no_answer"),
    "http401": ("the key is missing or wrong", "stop"),
    "http403": ("the key is missing or wrong", "stop"),
    "http404": ("another model or path", "stop"),
    "http408": ("the server timed out", "no_answer"),
    "http413": ("the body is too large", "image_rejected"),
    "http418": ("any other refusal", "no_answer"),
    "http422": ("the server cannot process it", "no_answer"),
    "http429": ("too many requests", "stop"),
    "retry_after": ("too many requests", "stop"),
    "retry_date": ("too many requests", "stop"),
    "http500": ("server error", "no_answer"),
    "http502": ("a gateway that reaches no server", "no_answer"),
    "http599": ("server error", "no_answer"),
    "http204": ("any other status", "no_answer"),
    "queue_full": ("full queue", "stop"),
    "reset": ("connection reset or closed", "no_answer"),
    "truncated": ("truncated body", "no_answer"),
    "cut_json": ("broken or other JSON", "no_answer"),
    "list": ("broken or other JSON", "no_answer"),
    "empty_body": ("broken or other JSON", "no_answer"),
    "no_choices": ("broken or other JSON", "no_answer"),
    "no_message": ("broken or other JSON", "no_answer"),
    "html": ("HTML instead of JSON", "no_answer"),
    "endless": ("an endless body", "no_answer"),
    "no_logprobs": ("no log-probabilities", "no_answer"),
    "only_reasoning": ("the teacher only thought", "no_answer"),
    "refusal": ("the provider refuses", "teacher_refused"),
    "content_filter": ("the provider refuses", "teacher_refused"),
    "other_model": ("", "answer"),
    "capacity": ("", "answer"),
    "slow": ("", "answer"),
    "hang": ("no answer in time", "no_answer"),
    "reasoning": ("", "answer"),
    "length": ("", "answer"),
    "empty": ("", "answer"),
    "null": ("", "answer"),
    "refusal_text": ("", "answer"),
    "schema": ("", "answer"),
    "surrogate": ("", "answer"),
}


def test_every_fault_of_the_server_is_expected_here() -> None:
    assert EXPECTED.keys() == FAULTS.keys()


@pytest.mark.parametrize("fault", EXPECTED)
def test_fault_has_its_row_and_its_outcome(
    fault: str, decisions: list[tuple[BaseException, Decision]]
) -> None:
    row, expected = EXPECTED[fault]
    patience = PATIENCE
    if fault == "hang":
        patience = Patience(tries=3, deadline=0.2, give_up_after=0.3, probe_longest=0.05)

    async def run() -> Reply | Exception:
        async with serving(State(slow=0.05)) as url:
            return await outcome(f"{url}/{fault}/v1", patience, logprobs=fault == "no_logprobs")

    result = asyncio.run(run())
    if expected == "answer":
        assert isinstance(result, Reply)
        assert decisions == []
        return
    assert {decision.words.split(" (")[0] for _, decision in decisions} == {row}
    if expected == "stop":
        assert isinstance(result, RunIncomplete)
        assert "\n" not in str(result)
        return
    assert isinstance(result, Unanswered)
    assert result.code == expected
    rule = next(rule for rule in RULES if rule.happens == row)
    tries = {"retry": PATIENCE.tries, "resend_images": 2, "quarantine": 1}[rule.kind]
    assert len(decisions) == tries


@asynccontextmanager
async def _nobody() -> AsyncIterator[str]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        yield f"http://127.0.0.1:{held.getsockname()[1]}/v1"


@asynccontextmanager
async def _full_backlog() -> AsyncIterator[str]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen(0)
        crowd = [socket.socket() for _ in range(4)]
        for one in crowd:
            one.setblocking(False)
            assert one.connect_ex(held.getsockname()) in (0, errno.EINPROGRESS)
        yield f"http://127.0.0.1:{held.getsockname()[1]}/v1"
        for one in crowd:
            one.close()


@asynccontextmanager
async def _no_such_host() -> AsyncIterator[str]:
    yield "http://teacher.invalid:8000/v1"


@asynccontextmanager
async def _speaks_something_else() -> AsyncIterator[str]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP ready\r\n\r\n")
        await writer.drain()
        await reader.read(100)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


@asynccontextmanager
async def _no_tls() -> AsyncIterator[str]:
    async with serving() as url:
        yield url.replace("http:", "https:") + "/ok/v1"


@pytest.mark.parametrize(
    ("where", "row", "stops_by_itself"),
    [
        (_nobody, "connection refused, host unreachable", True),
        (_no_such_host, "the host name does not resolve", True),
        (_full_backlog, "no connection in time", True),
        (_no_tls, "the certificate is not trusted", True),
        (_speaks_something_else, "not HTTP", False),
    ],
)
def test_what_goes_wrong_before_http_has_its_row(
    where: Callable[[], AbstractAsyncContextManager[str]],
    row: str,
    stops_by_itself: bool,
    decisions: list[tuple[BaseException, Decision]],
) -> None:
    async def run() -> Reply | Exception:
        async with where() as url:
            return await outcome(url, Patience(tries=3, connect=0.3, give_up_after=0.2, probe_longest=0.05))

    result = asyncio.run(run())
    assert {decision.words.split(" (")[0] for _, decision in decisions} == {row}
    assert isinstance(result, RunIncomplete if stops_by_itself else Unanswered)
    # A request that never left uses up no try, and points to a server that is away.
    for _, decision in decisions:
        if decision.kind == "retry":
            assert (decision.counted, decision.unreachable) == (not stops_by_itself, stops_by_itself)


def test_every_row_is_reached_by_some_fault() -> None:
    reached = {row for row, _ in EXPECTED.values()} | {
        "the certificate is not trusted",
        "the host name does not resolve",
        "connection refused, host unreachable",
        "no connection in time",
        "not HTTP",
        "restarted with another model",  # test_client.py: it takes two answers
    }
    assert {rule.happens for rule in RULES if rule.kind != "repair"} == reached - {""}


def test_docs_show_the_table_of_the_code() -> None:
    docs = Path(__file__).parents[2] / "docs" / "errors.md"
    assert table() in docs.read_text(encoding="utf-8"), "paste the output of python -m annotate.teacher.retry"


def test_a_bug_is_not_classified_but_raised() -> None:
    with pytest.raises(KeyError):
        classify(KeyError("a bug"))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("-3", 0.0),
        ("1e9", LONGEST_WAIT),
        ("nan", None),
        ("inf", LONGEST_WAIT),
        ("soon", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("", None),
        (formatdate(1_000_010, usegmt=True), 10.0),
        (formatdate(900_000, usegmt=True), 0.0),
        (formatdate(2_000_000, usegmt=True), LONGEST_WAIT),
    ],
)
def test_retry_after_is_read_as_seconds_or_date_within_bounds(header: str, seconds: float | None) -> None:
    assert retry_after(HttpStatus(429, retry_after=header), now=1_000_000) == seconds


def test_a_message_from_the_server_is_one_printable_line() -> None:
    decision = classify(HttpStatus(500, "boom\x1b[31m\nnext" + "x" * 1000))
    assert decision.words.isprintable()
    assert len(decision.words) < 400


def test_classification_does_not_depend_on_the_clock_without_a_header() -> None:
    failure = BadReply("html", "a web page")
    assert classify(failure, now=0) == classify(failure, now=4e9)
