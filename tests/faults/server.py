"""A teacher that fails on purpose: real sockets, a path for every row of the error table.

    python tests/faults/server.py [--port 0] [--seed 0] [--rates http500=0.05,reset=0.02]

prints its base URL in one line, then serves until it is killed. `URL/ok/v1` answers well,
`URL/<fault>/v1` fails in that way every time (FAULTS names them), `URL/<fault>~2/v1` only for the first
two tries of each question, and `URL/mixed/v1` at the given rates, drawn by seed, question and try: runs
are repeatable whatever the order. `URL/control/stats` counts, `URL/control/forget` empties the image
cache, `URL/control/set` changes `State`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

from aiohttp import web

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.faults.answers import completion, images_of, question_key
from tests.faults.writer import Json


@dataclass
class State:
    """What the server remembers; none of it changes an answer."""

    seed: int = 0
    rates: Mapping[str, float] = field(default_factory=dict)
    healthy: bool = True
    model: str = ""
    slow: float = 0.3
    delay: float = 0.0
    hang: float = 3600.0
    capacity: int = 8
    metrics: str = ""
    images: set[str] = field(default_factory=set)
    tries: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    bytes_in: int = 0
    in_flight: int = 0
    most_in_flight: int = 0


Handler = Callable[[State, web.Request, Json, str], Awaitable[web.StreamResponse]]
STATE = web.AppKey("state", State)


def _error(
    status: int, message: str, param: str | None = None, headers: Mapping[str, str] | None = None
) -> Handler:
    body = {"error": {"message": message, "type": "Error", "param": param, "code": status}}

    async def handler(state: State, request: web.Request, form: Json, key: str) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return handler


def _with(change: Callable[[Json], object]) -> Handler:
    """A good completion, then `change` in place."""

    async def handler(state: State, request: web.Request, form: Json, key: str) -> web.StreamResponse:
        answer = completion(form, key)
        change(answer)
        return web.json_response(answer)

    return handler


def _text(text: str, content_type: str) -> Handler:
    async def handler(state: State, request: web.Request, form: Json, key: str) -> web.StreamResponse:
        return web.Response(text=text, content_type=content_type)

    return handler


def _message(**values: object) -> Handler:
    return _with(lambda answer: answer["choices"][0]["message"].update(values))


async def _ok(state: State, request: web.Request, form: Json, key: str) -> web.StreamResponse:
    return web.json_response(completion(form, key))


async def _reset(state: State, request: web.Request, form: Json, key: str) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def _truncated(state: State, request: web.Request, form: Json, key: str) -> web.StreamResponse:
    data = json.dumps(completion(form, key)).encode()
    response = web.StreamResponse(
        headers={"Content-Length": str(len(data)), "Content-Type": "application/json"}
    )
    await response.prepare(request)
    await response.write(data[: len(data) // 2])
    assert request.transport is not None
    request.transport.close()
    return response


async def _cut_json(state: State, request: web.Request, form: Json, key: str) -> web.StreamResponse:
    data = json.dumps(completion(form, key))
    return web.Response(text=data[: len(data) // 2], content_type="application/json")


async def _slow(state: State, request: web.Request, form: Json, key: str) -> web.StreamResponse:
    await asyncio.sleep(state.slow)
    return await _ok(state, request, form, key)


async def _hang(state: State, request: web.Request, form: Json, key: str) -> web.StreamResponse:
    await asyncio.sleep(state.hang)
    return await _ok(state, request, form, key)


async def _capacity(state: State, request: web.Request, form: Json, key: str) -> web.StreamResponse:
    """Refuses what is more than `capacity` at a time, as a bounded queue does; else answers after `slow`."""
    if state.in_flight > state.capacity:
        return await _error(503, BUSY)(state, request, form, key)
    return await _slow(state, request, form, key)


async def _endless(state: State, request: web.Request, form: Json, key: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    for _ in range(80):
        await response.write(b" " * 100_000)
    return response


async def _retry_date(state: State, request: web.Request, form: Json, key: str) -> web.StreamResponse:
    headers = {"Retry-After": formatdate(time.time() + 2, usegmt=True)}
    return await _error(429, "slow down", headers=headers)(state, request, form, key)


async def _uuid_miss(state: State, request: web.Request, form: Json, key: str) -> web.StreamResponse:
    message = "Cache miss for image at index 0 but data is not provided."
    return await _error(400, message)(state, request, form, key)


BUSY = "The engine is currently busy and cannot accept new requests. Please try again later."
LONG = "This model's maximum context length is 8192 tokens. However, your prompt contains 9000 input tokens."

FAULTS: dict[str, Handler] = {
    "redirect": _error(307, "elsewhere", headers={"Location": "http://127.0.0.1:9/"}),
    "uuid_miss": _uuid_miss,
    "context_too_long": _error(400, LONG, "input_tokens"),
    "image_rejected": _error(400, "Failed to load image: cannot identify image file"),
    "bad_request": _error(400, "unknown field"),
    "http401": _error(401, "invalid API key"),
    "http403": _error(403, "not allowed"),
    "http404": _error(404, "The model `other` does not exist."),
    "http408": _error(408, "too slow"),
    "http413": _error(413, "body too large"),
    "http418": _error(418, "a teapot"),
    "http422": _error(422, "unprocessable"),
    "http429": _error(429, "slow down"),
    "retry_after": _error(429, "slow down", headers={"Retry-After": "1"}),
    "retry_date": _retry_date,
    "http500": _error(500, "EngineCore encountered an issue."),
    "http502": _error(502, "bad gateway"),
    "queue_full": _error(503, BUSY),
    "capacity": _capacity,
    "http599": _error(599, "odd"),
    "http204": _error(204, "nothing"),
    "reset": _reset,
    "truncated": _truncated,
    "cut_json": _cut_json,
    "html": _text("<!DOCTYPE html><title>Sign in</title>", "text/html"),
    "list": _text("[1, 2]", "application/json"),
    "empty_body": _text("", "application/json"),
    "no_choices": _with(lambda answer: answer.update(choices=[])),
    "no_message": _with(lambda answer: answer["choices"][0].pop("message")),
    "no_logprobs": _with(lambda answer: answer["choices"][0].pop("logprobs", None)),
    "endless": _endless,
    "slow": _slow,
    "hang": _hang,
    "reasoning": _message(reasoning="let me think"),
    "only_reasoning": _message(reasoning="let me think", content=None),
    "refusal": _message(refusal="I cannot help with that", content=None),
    "content_filter": _with(lambda answer: answer["choices"][0].update(finish_reason="content_filter")),
    "other_model": _with(lambda answer: answer.update(model="another/model")),
    "length": _with(lambda answer: answer["choices"][0].update(finish_reason="length")),
    "empty": _message(content=""),
    "null": _message(content=None),
    "refusal_text": _message(content="I'm sorry, I can't describe this picture."),
    "schema": _message(content='{"claims":[],"extra":1}'),
    "surrogate": _message(content='{"claims":["\ud800"]}'),
}


async def _chat(request: web.Request) -> web.StreamResponse:
    state = request.app[STATE]
    state.in_flight += 1
    state.most_in_flight = max(state.most_in_flight, state.in_flight)
    try:
        data = await request.read()
        state.bytes_in += len(data)
        form: Json = json.loads(data)
        key = question_key(form)
        state.tries[key] += 1
        name, _, times = request.match_info["fault"].partition("~")
        if name == "mixed":
            name = _draw(state, key)
        elif times and state.tries[key] > int(times):
            name = "ok"
        if name != "ok":
            state.faults[name] += 1
            return await FAULTS[name](state, request, form, key)
        pictures = images_of(form)
        for index, (uuid, inline) in enumerate(pictures):
            if not inline and uuid not in state.images:
                state.faults["uuid_miss"] += 1
                message = f"Cache miss for image at index {index} but data is not provided."
                return await _error(400, message)(state, request, form, key)
        state.images.update(uuid for uuid, inline in pictures if inline)
        if state.delay:
            await asyncio.sleep(state.delay)
        state.answered[key] += 1
        answer = completion(form, key)
        if state.model:
            answer["model"] = state.model
        return web.json_response(answer)
    finally:
        state.in_flight -= 1


def _draw(state: State, key: str) -> str:
    point = random.Random(f"{state.seed} {key} {state.tries[key]}").random()
    for name, rate in state.rates.items():
        point -= rate
        if point < 0:
            return name
    return "ok"


async def _health(request: web.Request) -> web.StreamResponse:
    return web.Response(status=200 if request.app[STATE].healthy else 503)


async def _models(request: web.Request) -> web.StreamResponse:
    return web.json_response(
        {"object": "list", "data": [{"id": request.app[STATE].model or "test", "object": "model"}]}
    )


async def _metrics(request: web.Request) -> web.StreamResponse:
    text = request.app[STATE].metrics
    return web.Response(text=text, status=200 if text else 404)


async def _stats(request: web.Request) -> web.StreamResponse:
    state = request.app[STATE]
    return web.json_response(
        {
            "requests": state.tries.total(),
            "questions": len(state.tries),
            "answered": state.answered.total(),
            "answered_twice": state.answered.total() - len(state.answered),
            "faults": dict(state.faults),
            "bytes_in": state.bytes_in,
            "in_flight": state.in_flight,
            "most_in_flight": state.most_in_flight,
        }
    )


async def _forget(request: web.Request) -> web.StreamResponse:
    request.app[STATE].images.clear()
    return web.Response()


async def _set(request: web.Request) -> web.StreamResponse:
    for name, value in (await request.json()).items():
        setattr(request.app[STATE], name, value)
    return web.Response()


def make_app(state: State) -> web.Application:
    """The application; `state` may be read and changed by tests in the same process."""
    app = web.Application(client_max_size=64 * 2**20)
    app[STATE] = state
    app.add_routes(
        [
            web.post("/{fault}/v1/chat/completions", _chat),
            web.get("/{fault}/v1/models", _models),
            web.get("/health", _health),
            web.get("/metrics", _metrics),
            web.get("/control/stats", _stats),
            web.post("/control/forget", _forget),
            web.post("/control/set", _set),
        ]
    )
    return app


@asynccontextmanager
async def serving(state: State | None = None, port: int = 0) -> AsyncIterator[str]:
    """Serve in the running loop; yields the base URL (without a fault's path)."""
    runner = web.AppRunner(make_app(state or State()), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _rates(text: str) -> dict[str, float]:
    rates = {name: float(rate) for name, _, rate in (part.partition("=") for part in text.split(",") if part)}
    unknown = rates.keys() - FAULTS.keys()
    if unknown or sum(rates.values()) > 1:
        raise argparse.ArgumentTypeError(f"unknown faults {sorted(unknown)} or rates above 1 in sum")
    return rates


async def _main() -> None:
    parser = argparse.ArgumentParser(description="a teacher that fails on purpose")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rates", type=_rates, default={}, help="of /mixed/v1, like http500=0.05,reset=0.02")
    parser.add_argument("--hang", type=float, default=3600.0, help="seconds that a hanging answer takes")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds that a good answer takes")
    given = parser.parse_args()
    state = State(seed=given.seed, rates=given.rates, hang=given.hang, delay=given.delay)
    async with serving(state, given.port) as url:
        print(url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
