"""A chat-completions server on a real port that is right in everything but what its `faults` say."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from aiohttp import web

MODEL = "fake-teacher"


class FakeTeacher:
    """Knows pictures by what their bytes hash to; remembers every request body."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = set(faults)
        self.seen: dict[str, bytes] = {}
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.url = ""

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        self.keys.append(request.headers.get("Authorization"))
        for fault, status in (("busy", 503), ("locked", 401), ("no such model", 404)):
            if fault in self.faults:
                return web.json_response({"error": {"message": fault}}, status=status)
        if "html" in self.faults:
            return web.Response(text="<html>hello</html>", content_type="text/html")
        if "deep" in self.faults:
            return web.Response(text="[" * 100_000, content_type="application/json")
        (part,) = (p for p in body["messages"][-1]["content"] if p["type"] == "image_url")
        if "no images" in self.faults or ("uuid" in part and "no uuid" in self.faults):
            return _bad("images are not what we do")
        if part["image_url"] is None:
            if part["uuid"] not in self.seen or "forgets" in self.faults:
                return _bad("Cache miss for image at index 0 but data is not provided.")
            data = self.seen[part["uuid"]]
        else:
            data = base64.b64decode(part["image_url"]["url"].split(",", 1)[1])
            self.seen[part.get("uuid", "")] = data
        look = 0.0 if "blind" in self.faults else int(hashlib.sha256(data).hexdigest()[:2], 16) / 100
        if "saturated" in self.faults and "response_format" not in body:
            look = 0.0
        if "noisy" in self.faults and "response_format" not in body:
            look += 0.01 * (len(self.bodies) % 3)
        return web.json_response(self.answer(body, look))

    def answer(self, body: dict[str, Any], look: float) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "A"}
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "message": message}
        if schema := body.get("response_format", {}).get("json_schema", {}).get("schema"):
            items = schema["properties"]["claims"]["items"]
            message["content"] = json.dumps({"claims": items.get("enum", [f"a picture of {look:.2f}"])})
            if "unconstrained" in self.faults:
                message["content"] = '{"claims": ["a nice picture"]}'
            if "thinks" in self.faults:
                message["content"] = None
            if {"thinks", "thinks beside"} & self.faults:
                message["reasoning_content"] = "Let me see."
        elif "no logprobs" not in self.faults:
            names = ["<think>", "Well"] if "thinks late" in self.faults else ["A", "B"]
            top = [{"token": n, "logprob": -1.0 - look * i, "bytes": None} for i, n in enumerate(names, 1)]
            choice["logprobs"] = {"content": [top[0] | {"top_logprobs": top}]}
        if "odd content" in self.faults:
            message["content"] = {"claims": 5}
        if "odd letters" in self.faults and "logprobs" in choice:
            choice["logprobs"] = {"content": [{"top_logprobs": [{"token": 5, "logprob": "high"}]}]}
        if "odd choices" in self.faults:
            choice.pop("message")
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": MODEL,
            "choices": [choice],
            "usage": usage,
        }

    async def models(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers.get("Authorization"))
        if "locked" in self.faults:
            return web.json_response({"error": "who are you?"}, status=401)
        if "html" in self.faults:
            return web.Response(text="<!DOCTYPE html><p>hello", content_type="text/html")
        if "deep models" in self.faults:
            return web.Response(text="[" * 100_000, content_type="application/json")
        if "odd names" in self.faults:
            odd = ("\ud800", "\x1b[31m", "", "m" * 100_000, 5, ["x"])
            return web.json_response({"data": [{"id": name} for name in (*odd, MODEL)]})
        if "two models" in self.faults:
            return web.json_response({"data": [{"id": "a"}, {"id": MODEL}]})
        if "not a list" in self.faults:
            return web.json_response(["x"])
        if "redirects" in self.faults:
            raise web.HTTPFound("/elsewhere")
        return web.json_response({"object": "list", "data": [{"id": MODEL, "max_model_len": 4096}]})

    async def version(self, request: web.Request) -> web.Response:
        if "no version" in self.faults:
            raise web.HTTPNotFound
        return web.json_response({"version": "0.32.0"})


@contextmanager
def fake_teacher(*faults: str) -> Iterator[FakeTeacher]:
    """Serve in a thread of its own; `.url` ends in /v1."""
    teacher = FakeTeacher(faults)
    loop = asyncio.new_event_loop()
    started = threading.Event()

    async def serve() -> None:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/v1/chat/completions", teacher.chat)
        app.router.add_get("/v1/models", teacher.models)
        app.router.add_get("/version", teacher.version)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        teacher.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    task = loop.create_task(serve())

    def run() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(20)
    try:
        yield teacher
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(20)


def _bad(message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "BadRequestError"}}, status=400)
