"""How many requests a server gets at a time, from what its engine reports. Pure functions and one loop.

vLLM's queue has no bound unless asked for, so a queue that grows is the first sign of too much; refusals
(HTTP 503) come later or never, and are dealt with in `pool.Server.slow_down`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from annotate.teacher.pool import Server

FULL = 0.98
"""Share of the KV cache above which running requests are soon thrown out again (preempted)."""

_LINE = re.compile(r"^(vllm:\w+)(?:\{[^}]*\})?\s+([0-9.eE+-]+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Load:
    """What an engine says: requests running and waiting, share of KV cache in use, preemptions so far."""

    running: float
    waiting: float
    kv_use: float
    preemptions: float


def parse_metrics(text: str) -> Load | None:
    """The load in vLLM's Prometheus text: sums over engines, the fullest cache; None if it is not vLLM's."""
    sums: dict[str, float] = {}
    fullest = 0.0
    for name, value in _LINE.findall(text):
        try:
            number = float(value)
        except ValueError:
            continue
        sums[name] = sums.get(name, 0.0) + number
        if name == "vllm:kv_cache_usage_perc":
            fullest = max(fullest, number)
    if "vllm:num_requests_running" not in sums:
        return None
    preempted = sums.get("vllm:num_preemptions_total", sums.get("vllm:num_preemptions", 0.0))
    return Load(
        sums["vllm:num_requests_running"], sums.get("vllm:num_requests_waiting", 0.0), fullest, preempted
    )


def limit_for(load: Load, before: Load | None, in_flight: int, limit: float) -> float:
    """The new limit of a server: never above `limit` (answers raise it, `pool.Server.speed_up`), at least 1.

    A queue longer than half of what runs (and than 4) is cut to that: our requests are reduced by our
    share of it, since others may use the server, too. Preemptions since the last look, or a full cache
    with a queue, cost a fifth.
    """
    queue = max(4.0, load.running / 2)
    if load.waiting > queue:
        limit = min(limit, in_flight * (load.running + queue) / (load.running + load.waiting))
    preempted = before is not None and load.preemptions > before.preemptions
    if preempted or (load.kv_use >= FULL and load.waiting > 0):
        limit = min(limit, 0.8 * max(in_flight, 1))
    return max(1.0, limit)


async def keep_pace(
    servers: Sequence[Server],
    metrics_of: Callable[[Server], Awaitable[str | None]],
    every: float,
) -> None:
    """Look at every busy server's metrics for ever, every so many seconds; lower its limit where needed."""
    before: dict[str, Load] = {}
    silent: set[str] = set()
    while True:
        await asyncio.sleep(every)
        for server in servers:
            if not server.up or not server.in_flight or server.url in silent:
                continue
            text = await metrics_of(server)
            load = parse_metrics(text) if text is not None else None
            if load is None:
                if text is not None:
                    silent.add(server.url)
                continue
            server.limit = limit_for(load, before.get(server.url), server.in_flight, server.limit)
            before[server.url] = load
