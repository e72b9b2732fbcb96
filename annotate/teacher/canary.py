"""Proves, before a run, that a server does what the run relies on. At most six requests if none fails.

They go through the `openai` package, a second client that shares no code with the one that does the work,
in the same body form. What is relied on: answers constrained to our JSON Schema (vLLM ignores a field it
does not know, with HTTP 200), images sent inline and named by uuid afterwards, log-probabilities of the
letters `A` and `B`, and a model that looks at the picture.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import openai
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion
from PIL import Image, ImageDraw

from annotate.errors import TeacherRefused
from annotate.prompts import load_prompts
from annotate.teacher.probe import check_server
from annotate.text import parse_json
from annotate.urls import checked_url
from schemas.answers import CaptionAnswer, response_schema

LETTERS = ("A", "B")
TOP_LOGPROBS = 20
# As the run's client says them, in words of its own: the canary shares no code with it.
STANDARD = {"presence_penalty": 0.0, "frequency_penalty": 0.0}
VLLMS_OWN = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
WAIT_SECONDS = 300.0  # the first constrained answer compiles its grammar, a cold server its kernels
PAUSES = (0.5, 2.0)  # seconds before a question is asked again after a fault that may pass
CLEARLY_DIFFERENT = 1e-3  # in log-probability; a picture that is not looked at gives 0 up to rounding
WORD_TOKENS = 96
CAPTION_TOKENS = 128  # enough to differ in; a caption cut off here is no finding


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """What the canary found; everything that would make the run worthless raises instead.

    `uuid_supported` False: images must be sent inline every time. `reasons`: the teacher thinks aloud beside
    its answers (the answers themselves are usable). `picture_difference` and `repeat_difference` are the
    largest differences in log-probability between two pictures, and between the same question asked twice.
    """

    uuid_supported: bool
    reasons: bool
    picture_difference: float
    repeat_difference: float
    requests: int


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A picture of the canary as the run would send it: stored JPEG and its digest."""

    data: bytes
    digest: str


async def run_canary(url: str, model: str, api_key: str | None = None) -> CanaryReport:
    """Ask the server behind `url` (ends in /v1) what a run would ask; see the module for what is proved.

    Raises `UsageError` or `TeacherRefused`: one line that says what the server does instead, and the cure.
    """
    url = checked_url(url)
    await asyncio.to_thread(check_server, url, model, api_key)  # says best what is wrong with an address
    # Neither proxies nor OPENAI_* variables: what is checked must be what the run uses.
    async with AsyncOpenAI(
        base_url=url,
        api_key=api_key or "none",
        organization="",
        project="",
        max_retries=0,
        timeout=WAIT_SECONDS,
        http_client=openai.DefaultAsyncHttpxClient(trust_env=False, follow_redirects=False),
    ) as client:
        canary = _Canary(client, url, model)
        try:
            return await canary.sing()
        except (LookupError, AttributeError, TypeError, ValueError) as error:  # the SDK checks no types
            raise canary.no_completion() from error


def draw_pictures() -> tuple[Image.Image, Image.Image]:
    """Two pictures nobody would describe alike: a dark disc on white, and white stripes on red."""
    disc = Image.new("RGB", (128, 128), (250, 250, 250))
    ImageDraw.Draw(disc).ellipse((24, 24, 104, 104), fill=(20, 40, 140))
    stripes = Image.new("RGB", (128, 128), (200, 30, 30))
    for top in range(0, 128, 32):
        ImageDraw.Draw(stripes).rectangle((0, top, 127, top + 13), fill=(255, 255, 255))
    return disc, stripes


class _Passing(Exception):
    """A fault that may be gone at the next try; `refusal` is what to raise when it is not."""

    def __init__(self, refusal: TeacherRefused) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class _Canary:
    """The requests of one check, in order; counts them and remembers whether uuids work."""

    def __init__(self, client: AsyncOpenAI, url: str, model: str) -> None:
        self.client, self.url, self.model = client, url, model
        self.prompts = load_prompts()
        self.requests = 0
        self.uuid_supported = True
        self.reasons = False

    async def sing(self) -> CanaryReport:
        disc, stripes = (_encoded(picture) for picture in draw_pictures())
        if not await self.constrains_answers(disc):
            await self.constrains_answers(disc, last=True)
        first = await self.letter_logprobs(disc, inline=True)
        again = await self.letter_logprobs(disc, inline=False)
        other = await self.letter_logprobs(stripes, inline=True)
        apart, repeat = _difference(first, other), _difference(first, again)
        # A batch or a cached prefix rounds otherwise on a GPU: different means more than asking twice does.
        unclear = apart <= max(CLEARLY_DIFFERENT, 3 * repeat)
        if unclear and await self.caption(disc) == await self.caption(stripes):
            raise self.refused(
                "gives the same answers to two different pictures",
                "it does not look at images: serve a vision-language model with its image processor",
            )
        return CanaryReport(self.uuid_supported, self.reasons, apart, repeat, self.requests)

    async def constrains_answers(self, picture: _Drawn, last: bool = False) -> bool:
        """A schema with one allowed answer, a random word that the question does not mention.

        One answer beside the schema may be an accident; the `last` one is refused.
        """
        word = "".join(secrets.choice("bcdfghjklmnpqrstvwxz") for _ in range(12))
        claims = {"type": "array", "items": {"type": "string", "enum": [word]}, "minItems": 1, "maxItems": 1}
        schema = {
            "type": "object",
            "properties": {"claims": claims},
            "required": ["claims"],
            "additionalProperties": False,
        }
        answer = await self.ask(picture, self.prompts["caption"].text, True, _form(schema, WORD_TOKENS))
        message = answer.choices[0].message
        beside = message.model_extra or {}  # vLLM says `reasoning`, older ones and others `reasoning_content`
        thoughts = beside.get("reasoning") or beside.get("reasoning_content")
        self.reasons = bool(thoughts)
        if not message.content and thoughts:
            raise self.refused(
                "is a thinking teacher: all it said is in `reasoning_content`, the answer is empty",
                "serve it with thinking off (vLLM: --default-chat-template-kwargs"
                " '{\"enable_thinking\":false}') or serve a model that does not think",
            )
        try:
            obeyed = bool(parse_json(message.content or "") == {"claims": [word]})
        except ValueError:
            obeyed = False
        if not obeyed and last:
            raise self.refused(
                f"does not constrain answers to a JSON Schema (it said {_quoted(message.content)})",
                "serve with vLLM 0.12 or later (this is proved with 0.32), structured outputs on, or take a"
                " provider that honours response_format json_schema",
            )
        return obeyed

    async def letter_logprobs(self, picture: _Drawn, inline: bool) -> dict[str, float]:
        """Log-probabilities of the first token's candidates for the verifier's question."""
        text = self.prompts["verify"].render(
            statement="a dark blue disc on a white background",
            first=LETTERS[0],
            first_meaning="match",
            second=LETTERS[1],
            second_meaning="mismatch",
        )
        form = {"max_tokens": 1, "logprobs": True, "top_logprobs": TOP_LOGPROBS}
        choice = (await self.ask(picture, text, inline, form)).choices[0]
        tokens = choice.logprobs.content if choice.logprobs else None
        found = {candidate.token: candidate.logprob for candidate in tokens[0].top_logprobs} if tokens else {}
        told = {token.strip() for token in found}
        if missing := [letter for letter in LETTERS if letter not in told]:
            what = f"only {_quoted(' '.join(found))}" if found else "none at all"
            raise self.refused(
                f"returns no log-probability of {' and '.join(missing)} in one token (it gave {what})",
                "serve a teacher that answers the verifier's question with a letter (thinking off), with"
                f" --max-logprobs {TOP_LOGPROBS} or more",
            )
        return found

    async def caption(self, picture: _Drawn) -> str:
        form = _form(response_schema(CaptionAnswer), CAPTION_TOKENS)
        answer = await self.ask(picture, self.prompts["caption"].text, True, form)
        return answer.choices[0].message.content or ""

    async def ask(self, picture: _Drawn, text: str, inline: bool, form: dict[str, Any]) -> ChatCompletion:
        """One question about one picture in the run's own form; falls back to plain inline images."""
        if self.uuid_supported:
            try:
                return await self.send(_part(picture, inline=inline, uuid=True), text, form)
            except openai.BadRequestError as error:
                refusal = error
            if not inline and "cache miss" in str(refusal).lower():
                return await self.must_send(_part(picture, inline=True, uuid=True), text, form)
            self.uuid_supported = False
        return await self.must_send(_part(picture, inline=True, uuid=False), text, form)

    async def must_send(self, part: dict[str, Any], text: str, form: dict[str, Any]) -> ChatCompletion:
        try:
            return await self.send(part, text, form)
        except openai.BadRequestError as error:
            raise self.refused(
                f"rejects our questions (HTTP 400: {_quoted(error.message)})",
                "it must take images as data: URLs, response_format json_schema and"
                f" top_logprobs {TOP_LOGPROBS}; serve a vision-language model with a recent vLLM",
            ) from error

    async def send(self, part: dict[str, Any], text: str, form: dict[str, Any]) -> ChatCompletion:
        """A server with some faults is no reason to refuse a run that outlives them."""
        for pause in (*PAUSES, None):
            try:
                return await self.send_once(part, text, form)
            except _Passing as fault:
                if pause is None:
                    raise fault.refusal from fault
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def send_once(self, part: dict[str, Any], text: str, form: dict[str, Any]) -> ChatCompletion:
        self.requests += 1
        messages: Any = [  # the SDK's types know neither uuid nor an absent image
            {"role": "system", "content": self.prompts["system"].text},
            {"role": "user", "content": [part, {"type": "text", "text": text}]},
        ]
        answer: Awaitable[ChatCompletion]
        create: Callable[..., Awaitable[ChatCompletion]] = self.client.chat.completions.create
        said = STANDARD | (VLLMS_OWN if self.uuid_supported else {})
        answer = create(
            model=self.model, messages=messages, temperature=0.0, top_p=1.0, seed=0, extra_body=said, **form
        )
        try:
            completed = await answer
        except openai.BadRequestError:
            raise
        except openai.UnprocessableEntityError as error:  # some servers say 422 where vLLM says 400
            raise openai.BadRequestError(error.message, response=error.response, body=error.body) from error
        except openai.APITimeoutError as error:
            raise self.refused(
                f"did not answer one question within {WAIT_SECONDS:.0f} s",
                "see its log, or wait until it is idle",
            ) from error
        except openai.APIConnectionError as error:
            what = f"cannot be reached ({error.__cause__ or error})"
            raise _Passing(self.refused(what, "start it again")) from error
        except openai.APIStatusError as error:
            refusal = self.refused(
                f"answered HTTP {error.status_code}: {_quoted(error.message)}", _cure(error.status_code)
            )
            raise _Passing(refusal) if error.status_code >= 500 else refusal from error
        except (ValueError, RecursionError) as error:  # status 200 and a body that is not JSON
            raise _Passing(self.no_completion()) from error
        if not isinstance(completed, ChatCompletion) or not completed.choices:
            raise _Passing(self.no_completion())
        return completed

    def no_completion(self) -> TeacherRefused:
        what = "answers something that is no chat completion"
        return self.refused(what, "give the URL of an OpenAI-compatible server")

    def refused(self, what: str, cure: str) -> TeacherRefused:
        return TeacherRefused(f"the teacher {self.model!r} at {self.url} {what}; {cure}")


def _encoded(picture: Image.Image) -> _Drawn:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return _Drawn(buffer.getvalue(), hashlib.sha256(buffer.getvalue()).hexdigest())


def _part(picture: _Drawn, *, inline: bool, uuid: bool) -> dict[str, Any]:
    """The image part of a message: the bytes, or only the name they were sent under before."""
    address = "data:image/jpeg;base64," + base64.b64encode(picture.data).decode()
    part: dict[str, Any] = {"type": "image_url", "image_url": {"url": address} if inline else None}
    return part | {"uuid": picture.digest} if uuid else part


def _form(schema: dict[str, Any], max_tokens: int) -> dict[str, Any]:
    named = {"name": "answer", "strict": True, "schema": schema}
    return {"max_tokens": max_tokens, "response_format": {"type": "json_schema", "json_schema": named}}


def _difference(one: dict[str, float], two: dict[str, float]) -> float:
    """Largest difference over the letters."""
    return max(abs(_letter(one, letter) - _letter(two, letter)) for letter in LETTERS)


def _letter(logprobs: dict[str, float], letter: str) -> float:
    return max(value for token, value in logprobs.items() if token.strip() == letter)


def _quoted(text: str | None) -> str:
    """Foreign text on one bounded line."""
    return ascii((text or "")[:160])


def _cure(status: int) -> str:
    if status in (401, 403):
        return "set TEACHER_API_KEY in the environment"
    if status == 404:
        return "set TEACHER_MODEL to a model that it serves and TEACHER_URL to the address that ends in /v1"
    return "wait until the server is idle, or see its log"
