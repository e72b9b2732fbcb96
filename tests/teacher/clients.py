"""Clients that never wait, and servers that keep what they were sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import tenacity
from aiohttp import web

from annotate.teacher.client import TeacherClient
from tests.faults.fakes import FakeImages

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
