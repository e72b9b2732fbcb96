"""What can go wrong with one request and what is done about it: one table from the top, first match wins.

`classify` is pure. `docs/errors.md` shows the same table (a test compares the two), and
`python -m annotate.teacher.retry` prints it.
"""

from __future__ import annotations

import email.utils
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import aiohttp

from annotate.text import plain

Kind = Literal["retry", "back_pressure", "resend_images", "quarantine", "fatal", "repair"]

LONGEST_WAIT = 300.0
"""Seconds. A server's Retry-After beyond this (or a date after a clock jump) is cut to it."""


class Unanswered(Exception):
    """This request has no answer and will get none in this run: its triplet is quarantined with `code`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class HttpStatus(Exception):
    """A status other than 200. `message` and `param` are the error body's, if it had any."""

    def __init__(
        self, status: int, message: str = "", param: str = "", retry_after: str | None = None
    ) -> None:
        super().__init__(f"HTTP {status}: {message}" if message else f"HTTP {status}")
        self.status = status
        self.message = message
        self.param = param
        self.retry_after = retry_after


Badness = Literal[
    "html", "not_json", "no_choice", "no_logprobs", "too_large", "only_reasoning", "refusal", "other_model"
]


class BadReply(Exception):
    """Status 200, and still not an answer."""

    def __init__(self, what: Badness, detail: str) -> None:
        super().__init__(detail)
        self.what = what


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do. `wait` is the server's own wish in seconds; `unreachable` makes a server count as down.

    `counted` says whether it uses up the request's budget: a request that never left does not.
    """

    kind: Kind
    code: str
    wait: float | None
    words: str
    unreachable: bool = False
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table. `code` is the reason code of the triplet if what is done does not help."""

    happens: str
    seen: str
    kind: Kind
    code: str
    words: str
    match: Callable[[BaseException], bool]
    unreachable: bool = False
    counted: bool = True


def _raised(*types: type[BaseException]) -> Callable[[BaseException], bool]:
    return lambda failure: isinstance(failure, types)


def _status(
    low: int, high: int | None = None, *, says: tuple[str, ...] = ()
) -> Callable[[BaseException], bool]:
    """Status in low..high; with `says`, only when message or parameter contains one of the words."""

    def match(failure: BaseException) -> bool:
        if not isinstance(failure, HttpStatus) or not low <= failure.status <= (high or low):
            return False
        text = f"{failure.message} {failure.param}".lower()
        return not says or any(word in text for word in says)

    return match


def _bad(*what: Badness) -> Callable[[BaseException], bool]:
    return lambda failure: isinstance(failure, BadReply) and failure.what in what


def _never(_: BaseException) -> bool:
    return False


# vLLM 0.32 tells its kinds of HTTP 400 apart by message and parameter only (renderers/, multimodal/).
_TOO_LONG = ("maximum context length", "input_tokens", "input_text", "maximum model length", "context_length")
_PAUSE = "wait; the run pauses when it goes on"
_BAD_IMAGE = ("failed to load image", "image dimensions", "cannot identify image", "vllm_max_image_pixels")

RULES: tuple[Rule, ...] = (
    # Nothing came back.
    Rule("the certificate is not trusted", "`ClientSSLError`, `ssl.SSLError`", "fatal", "no_answer",
         "stop: mend the certificate or the URL", _raised(aiohttp.ClientSSLError, ssl.SSLError)),
    Rule("the host name does not resolve", "`ClientConnectorDNSError`", "retry", "no_answer",
         _PAUSE, _raised(aiohttp.ClientConnectorDNSError), unreachable=True, counted=False),
    Rule("connection refused, host unreachable", "`ClientConnectorError`", "retry", "no_answer",
         _PAUSE, _raised(aiohttp.ClientConnectorError), unreachable=True, counted=False),
    Rule("no connection in time", "`ConnectionTimeoutError`", "retry", "no_answer",
         _PAUSE, _raised(aiohttp.ConnectionTimeoutError), unreachable=True, counted=False),
    Rule("no answer in time", "`TimeoutError`", "retry", "no_answer",
         "ask again", _raised(TimeoutError)),
    Rule("truncated body", "`ClientPayloadError`", "retry", "no_answer",
         "ask again", _raised(aiohttp.ClientPayloadError)),
    Rule("connection reset or closed", "`ServerDisconnectedError`, `ClientOSError`", "retry", "no_answer",
         "ask again; the run pauses when it goes on",
         _raised(aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError), unreachable=True),
    Rule("not HTTP", "`ClientResponseError`, any other `ClientError`", "retry", "no_answer",
         "ask again", _raised(aiohttp.ClientError)),
    # A status other than 200.
    Rule("redirect", "HTTP 3xx", "fatal", "no_answer",
         "stop: redirects are not followed, give the final URL", _status(300, 399)),
    Rule("the server has forgotten an image", "HTTP 400, \"cache miss for\"", "resend_images", "no_answer",
         "send the bytes again at once; no failure", _status(400, says=("cache miss for",))),
    Rule("the conversation is too long", "HTTP 400, \"maximum context length\"", "quarantine",
         "context_too_long", "not asked again in this run", _status(400, says=_TOO_LONG)),
    Rule("the server cannot read an image", "HTTP 400, \"failed to load image\"", "quarantine",
         "image_rejected", "not asked again in this run", _status(400, says=_BAD_IMAGE)),
    Rule("any other bad request", "HTTP 400", "quarantine", "no_answer",
         "not asked again in this run; many of them stop the run", _status(400)),
    Rule("the key is missing or wrong", "HTTP 401, 403", "fatal", "no_answer",
         "stop: set the key in the environment",
         lambda failure: _status(401)(failure) or _status(403)(failure)),
    Rule("another model or path", "HTTP 404, 405", "fatal", "no_answer",
         "stop: mend TEACHER_URL or TEACHER_MODEL", _status(404, 405)),
    Rule("the server timed out", "HTTP 408", "retry", "no_answer",
         "ask again", _status(408)),
    Rule("the body is too large", "HTTP 413", "quarantine", "image_rejected",
         "not asked again in this run", _status(413)),
    Rule("the server cannot process it", "HTTP 422", "quarantine", "no_answer",
         "not asked again in this run; many of them stop the run", _status(422)),
    Rule("too many requests", "HTTP 429", "back_pressure", "no_answer",
         "fewer at a time, after Retry-After", _status(429)),
    Rule("any other refusal", "HTTP 4xx", "quarantine", "no_answer",
         "not asked again in this run; many of them stop the run", _status(400, 499)),
    Rule("full queue", "HTTP 503", "back_pressure", "no_answer",
         "fewer at a time, after Retry-After", _status(503)),
    Rule("a gateway that reaches no server", "HTTP 502, 504", "retry", "no_answer",
         "ask again; the run pauses when it goes on",
         lambda failure: _status(502)(failure) or _status(504)(failure), unreachable=True),
    Rule("server error", "HTTP 5xx", "retry", "no_answer",
         "ask again", _status(500, 599)),
    Rule("any other status", "HTTP 1xx, 2xx, beyond 599", "retry", "no_answer",
         "ask again", _raised(HttpStatus)),
    # Status 200, and still not an answer.
    Rule("HTML instead of JSON", "HTTP 200, body starts with `<`", "retry", "no_answer",
         "ask again; many of them stop the run", _bad("html")),
    Rule("broken or other JSON", "HTTP 200, not a chat completion", "retry", "no_answer",
         "ask again; many of them stop the run", _bad("not_json", "no_choice")),
    Rule("an endless body", "HTTP 200, more than 4 MB", "retry", "no_answer",
         "ask again; many of them stop the run", _bad("too_large")),
    Rule("no log-probabilities", "HTTP 200, none for the asked letters", "quarantine", "no_answer",
         "not asked again in this run; many of them stop the run", _bad("no_logprobs")),
    Rule("the teacher only thought", "HTTP 200, `reasoning` without `content`", "quarantine", "no_answer",
         "switch thinking off; many of them stop the run", _bad("only_reasoning")),
    Rule("the provider refuses", "HTTP 200, `refusal` or `content_filter`", "quarantine", "teacher_refused",
         "not asked again in this run", _bad("refusal")),
    Rule("restarted with another model", "HTTP 200, `model` changed", "fatal", "no_answer",
         "stop: start the first model again", _bad("other_model")),
    # An answer; whether it is a good one is the stages' business.
    Rule("cut off", "`finish_reason` is \"length\"", "repair", "answer_cut_off",
         "one repair turn, then quarantine", _never),
    Rule("empty content", "`content` is empty", "repair", "<stage>_invalid",
         "one repair turn, then quarantine", _never),
    Rule("refusal as text", "not the asked JSON", "repair", "teacher_refused",
         "one repair turn, then quarantine", _never),
    Rule("schema violation", "not the asked JSON", "repair", "<stage>_invalid",
         "one repair turn, then quarantine", _never),
)  # fmt: skip


def classify(failure: BaseException, now: float | None = None) -> Decision:
    """The first matching row. `now` is the wall clock in seconds, for a Retry-After date.

    A failure that no row knows (a bug of ours, a full disk) is raised again.
    """
    for rule in RULES:
        if rule.match(failure):
            wait = retry_after(failure, time.time() if now is None else now)
            words = f"{rule.happens} ({_one_line(failure)})"
            return Decision(rule.kind, rule.code, wait, words, rule.unreachable, rule.counted)
    raise failure


def retry_after(failure: BaseException, now: float) -> float | None:
    """Seconds the server asks to wait (RFC 9110, 10.2.3: seconds or a date), within [0, LONGEST_WAIT]."""
    if not isinstance(failure, HttpStatus) or not failure.retry_after:
        return None
    text = failure.retry_after.strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_WAIT) if seconds == seconds else None


def table() -> str:
    """The rules as the Markdown table of `docs/errors.md`."""
    rows = [
        "| What happens | Recognised by | Outcome | What is done | Reason code |",
        "|---|---|---|---|---|",
        *(
            f"| {r.happens} | {r.seen} | {r.kind} | {r.words} | "
            f"{f'`{r.code}`' if r.kind not in ('fatal', 'resend_images', 'back_pressure') else ''} |"
            for r in RULES
        ),
    ]
    return "\n".join(rows)


def _one_line(failure: BaseException) -> str:
    """Type and text of a failure, short and without control characters: it comes from a server."""
    text, kind = str(failure), type(failure).__name__
    if not text or not isinstance(failure, HttpStatus | BadReply):
        text = f"{kind}: {text}" if text else kind
    return plain(text, 300)


if __name__ == "__main__":
    print(table())
