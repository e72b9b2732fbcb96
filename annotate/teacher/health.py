"""Looks at a server from outside, beside the questions: /health and /metrics, which vLLM has at the root."""

from __future__ import annotations

from urllib.parse import urlsplit

import aiohttp

from annotate.teacher.pool import Server
from annotate.teacher.probe import LARGEST_BODY
from annotate.teacher.retry import BadReply


async def is_alive(session: aiohttp.ClientSession, server: Server, seconds: float) -> bool:
    """Whether /health answers in time; any status below 500 will do, for not every server has that page."""
    status, _ = await _page(session, server, "/health", seconds)
    return 0 < status < 500


async def metrics_of(session: aiohttp.ClientSession, server: Server, seconds: float) -> str | None:
    """The text of /metrics, "" where there is none, None when it cannot be had now."""
    status, text = await _page(session, server, "/metrics", seconds)
    if status == 200:
        return text
    return "" if 300 <= status < 500 else None


async def read_bounded(response: aiohttp.ClientResponse) -> bytes:
    """The whole body, or `BadReply` beyond LARGEST_BODY."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > LARGEST_BODY:
            raise BadReply("too_large", f"more than {LARGEST_BODY} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


async def _page(session: aiohttp.ClientSession, server: Server, path: str, seconds: float) -> tuple[int, str]:
    """Status and text; status 0 when the server is not reached."""
    parts = urlsplit(server.url)
    url = f"{parts.scheme}://{parts.netloc}{path}"
    timeout = aiohttp.ClientTimeout(total=seconds)
    try:
        async with session.get(url, allow_redirects=False, timeout=timeout) as response:
            return response.status, (await read_bounded(response)).decode("utf-8", "replace")
    except (aiohttp.ClientError, TimeoutError, OSError, BadReply):
        return 0, ""
