"""CPU milliseconds that asking costs the client per request, against the fault server in its own process.

    python -m bench.asking [--requests 2000] [--concurrency 64]

CPU time, not wall time: it is what one core of the client can at most do, whatever else the machine is doing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from pathlib import Path

from annotate.journal import Journal, answered_ask
from annotate.teacher.client import TeacherClient
from annotate.teacher.request import Ask, Request
from bench.driving import ROOT, fault_server
from tests.faults.fakes import FakeImages, question


async def cost(ask: Ask, requests: list[Request]) -> tuple[float, float]:
    """CPU milliseconds and wall milliseconds a request."""
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(ask(request) for request in requests))
    scale = 1000 / len(requests)
    return scale * (time.process_time() - cpu), scale * (time.perf_counter() - wall)


async def measure(url: str, count: int, concurrency: int) -> dict[str, tuple[float, float]]:
    """Costs of the ways to ask, in the order of the table in docs/errors.md."""
    results = {}

    def image(i: int) -> str:
        return str(i // 8)

    async with TeacherClient(f"{url}/ok/v1", "test", None, FakeImages(30_000), concurrency) as client:
        await asyncio.gather(*(client.ask(question(f"warm {i}", image(i))) for i in range(count)))
        known = [question(f"known {i}", image(i)) for i in range(count)]
        results["image by uuid"] = await cost(client.ask, known)
        fresh = [question(f"fresh {i}", f"fresh {i}") for i in range(count)]
        results["image inline, 30 kB"] = await cost(client.ask, fresh)
        with tempfile.TemporaryDirectory(dir=ROOT) as folder, Journal(Path(folder)) as journal:
            ask = answered_ask(journal, client.ask)
            kept = [question(f"kept {i}", image(i)) for i in range(count)]
            results["image by uuid, journalled"] = await cost(ask, kept)
            results["from the journal"] = await cost(ask, kept)
    async with TeacherClient(f"{url}/slow/v1", "test", None, FakeImages(30_000), concurrency) as client:
        slow = [question(f"slow {i}", image(i)) for i in range(count)]
        results["a teacher of 0.3 s an answer"] = await cost(client.ask, slow)
        with tempfile.TemporaryDirectory(dir=ROOT) as folder, Journal(Path(folder)) as journal:
            ask = answered_ask(journal, client.ask)
            results["the same, journalled"] = await cost(ask, slow)
    async with TeacherClient(f"{url}/ok/v1", "test", None, FakeImages(200_000), concurrency) as client:
        large = [question(f"large {i}", f"large {i}") for i in range(count // 4)]
        results["image inline, 200 kB"] = await cost(client.ask, large)
    return results


def main() -> None:
    """Print a table and the same as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=64)
    given = parser.parse_args()
    with fault_server() as url:
        results = asyncio.run(measure(url, given.requests, given.concurrency))
    for name, (cpu, wall) in results.items():
        print(f"{name:28s} {cpu:6.2f} ms CPU   {wall:6.2f} ms wall")
    print(json.dumps({"cores": os.cpu_count(), "requests": given.requests, "cpu_ms_wall_ms": results}))


if __name__ == "__main__":
    main()
