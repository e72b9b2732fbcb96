"""The OpenAI form of a request and its reply, chat or embeddings: bytes out, bytes in, no network."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Container
from functools import lru_cache
from typing import Any, Protocol

from annotate.teacher.request import ENCODE_PICTURE, ENCODE_TEXT, Picture, Reply, Request
from annotate.teacher.retry import BadReply
from annotate.text import parse_json, plain

TOP_LOGPROBS = 20
# vLLM takes what a request leaves out from the model's folder: Qwen's generation settings punish copying.
PLAIN = {"presence_penalty": 0.0, "frequency_penalty": 0.0}
PLAIN_VLLM = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
_LEAST = -9999.0  # what vLLM gives for an impossible token; exp of it is 0


class EncodedImage(Protocol):
    """A stored JPEG and the sha256 of its bytes, which is the image's uuid at the server."""

    @property
    def data(self) -> bytes: ...
    @property
    def digest(self) -> str: ...


class Images(Protocol):
    """What the client needs of `annotate.images.ImageStore`."""

    def encoded(self, picture: Picture) -> EncodedImage: ...


def body(
    request: Request,
    digest_of: Callable[[Picture], str],
    bytes_of: Callable[[Picture], bytes],
    known: Container[str],
    uuids: bool = True,
) -> bytes:
    """The HTTP body, serialised once. Images whose digest is in `known` go by uuid alone, the others inline.

    With `uuids` false (servers other than vLLM) every image goes inline and without a uuid, and nothing is
    said that only vLLM knows.
    """

    def image(picture: Picture) -> dict[str, Any]:
        digest = digest_of(picture) if uuids else ""
        if uuids and digest in known:
            return {"type": "image_url", "image_url": None, "uuid": digest}
        url = "data:image/jpeg;base64," + base64.b64encode(bytes_of(picture)).decode("ascii")
        part: dict[str, Any] = {"type": "image_url", "image_url": {"url": url}}
        if uuids:
            part["uuid"] = digest
        return part

    messages: list[dict[str, Any]] = []
    for turn in request.turns:
        if turn.pictures:
            parts = [image(picture) for picture in turn.pictures]
            messages.append({"role": turn.role, "content": [*parts, {"type": "text", "text": turn.text}]})
        else:
            messages.append({"role": turn.role, "content": turn.text})
    if request.stage == ENCODE_TEXT:
        text = "\n".join(turn.text for turn in request.turns)
        return _json({"model": request.model, "input": text, "truncate_prompt_tokens": -1})
    if request.stage == ENCODE_PICTURE:
        pictures = [image(picture) for turn in request.turns for picture in turn.pictures]
        return _json({"model": request.model, "messages": [{"role": "user", "content": pictures}]})
    form: dict[str, Any] = {
        "model": request.model,
        "messages": messages,
        "temperature": request.sampling.temperature,
        "top_p": request.sampling.top_p,
        "seed": request.sampling.seed,
        "max_tokens": request.sampling.max_tokens,
    }
    form |= PLAIN | (PLAIN_VLLM if uuids else {})
    if request.choices:
        form |= {"max_tokens": 1, "logprobs": True, "top_logprobs": TOP_LOGPROBS}
    if request.schema_json:
        form["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": request.stage, "schema": _schema(request.schema_json), "strict": True},
        }
    return _json(form)


def path(request: Request) -> str:
    """Where the request goes below the server's /v1."""
    return "/embeddings" if request.stage in (ENCODE_TEXT, ENCODE_PICTURE) else "/chat/completions"


def parse_embedding(data: bytes) -> tuple[Reply, str]:
    """The vector as JSON text, and the model's name as the server reports it. Raises `BadReply`."""
    form = _json_object(data)
    entries = form.get("data")
    first = entries[0] if isinstance(entries, list) and entries else None
    vector = first.get("embedding") if isinstance(first, dict) else None
    if not isinstance(vector, list) or not all(isinstance(value, float | int) for value in vector):
        raise BadReply("no_choice", "an answer without data[0].embedding")
    model = form.get("model")
    text = json.dumps([round(value, 6) for value in vector], separators=(",", ":"))
    return Reply(text, "stop"), model if isinstance(model, str) else ""


def _json(form: dict[str, Any]) -> bytes:
    return json.dumps(form, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def parse_reply(data: bytes, choices: tuple[str, ...]) -> tuple[Reply, str]:
    """The reply and the model's name as the server reports it. Raises `BadReply`; never anything else.

    Reasoning of a thinking teacher is dropped when there is content. Tokens that are the same letter but for
    blanks are added up; a letter that is not among the top log-probabilities is absent.
    """
    form = _json_object(data)
    choice = _first(form.get("choices"))
    message = choice.get("message")
    if not isinstance(message, dict):
        raise BadReply("no_choice", "an answer without choices[0].message")
    finish = choice.get("finish_reason")
    content = message.get("content")
    if content is not None and not isinstance(content, str):
        raise BadReply("no_choice", f"content is {type(content).__name__}, not text")
    if message.get("refusal") or finish == "content_filter":
        raise BadReply("refusal", _short(message.get("refusal") or "content filter"))
    if not content and (message.get("reasoning") or message.get("reasoning_content")):
        raise BadReply("only_reasoning", "the teacher thought and gave no answer")
    usage = form.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    reply = Reply(
        text=(content or "").encode("utf-8", "replace").decode(),
        finish_reason=finish if isinstance(finish, str) else "",
        logprobs=_letters(choice.get("logprobs"), choices) if choices else (),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        cached_tokens=_count(details.get("cached_tokens")) if isinstance(details, dict) else 0,
    )
    model = form.get("model")
    return reply, model if isinstance(model, str) else ""


def error_of(data: bytes) -> tuple[str, str]:
    """Message and parameter of an error body; for another body its beginning."""
    try:
        form = parse_json(data)
    except ValueError:
        return _short(data.decode("utf-8", "replace")), ""
    if isinstance(form, dict):
        error = form.get("error", form)
        if isinstance(error, dict):
            text = error.get("message") or error.get("detail") or ""
            return _short(text), _short(error.get("param") or error.get("code") or "")
        return _short(error), ""
    return _short(form), ""


def _json_object(data: bytes) -> dict[str, Any]:
    if data.lstrip()[:1] == b"<":
        raise BadReply("html", f"a web page instead of JSON: {_short(data[:80].decode('utf-8', 'replace'))}")
    try:
        form = parse_json(data)
    except ValueError as error:
        raise BadReply("not_json", f"{len(data)} bytes that are not JSON") from error
    if not isinstance(form, dict):
        raise BadReply("not_json", f"JSON, but {type(form).__name__} instead of an object")
    return form


def _first(choices: Any) -> dict[str, Any]:
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    raise BadReply("no_choice", "an answer without choices")


def _letters(logprobs: Any, choices: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    """Log of the summed probability of each asked letter at the first token, in the order of `choices`."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    first = content[0] if isinstance(content, list) and content else None
    tops = first.get("top_logprobs") if isinstance(first, dict) else None
    sums: dict[str, float] = {}
    for top in tops if isinstance(tops, list) else []:
        token, value = (top.get("token"), top.get("logprob")) if isinstance(top, dict) else (None, None)
        if (
            isinstance(token, str)
            and isinstance(value, float | int)
            and value <= 0
            and token.strip() in choices
        ):
            letter = token.strip()
            sums[letter] = sums.get(letter, 0.0) + math.exp(max(value, _LEAST))
    if not sums:
        raise BadReply("no_logprobs", f"no log-probability for any of {', '.join(choices)}")
    return tuple((c, math.log(sums[c])) for c in choices if sums.get(c, 0.0) > 0.0)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def _short(value: object) -> str:
    """Server text for a message: one line, bounded, no control characters."""
    return plain(str(value), 300)


@lru_cache(maxsize=64)
def _schema(schema_json: str) -> Any:
    return parse_json(schema_json)
