"""Chains from a server: asked with the retriever's own words, each query accounted for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotate.errors import InputError, UsageError
from retrieval.generator import Generator, open_generator
from tests.faults.server import State, serving
from tests.retrieval import tiny_world

RECIPE = "fit448-q90-v1"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The server that fails on purpose, in a thread: the generator has a loop of its own."""
    ready, found, loop = threading.Event(), [], asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        async with serving(State()) as base:
            found.append(base)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    ready.wait(30)
    yield found[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(30)
    loop.close()


@pytest.fixture
def asked(tmp_path: Path) -> list[tuple[Path, str]]:
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        tiny_world.picture(path, number)
    return [(path, f"make it {colour}") for path in paths for colour in ("red", "blue")]


def test_every_query_gets_its_own_chain_in_order(url: str, asked: list[tuple[Path, str]]) -> None:
    chains = Generator(f"{url}/ok/v1", "m").write(asked, RECIPE, 64)
    assert len(set(chains)) == len(asked) == 6
    assert Generator(f"{url}/ok/v1", "m").write(asked[::-1], RECIPE, 64) == chains[::-1]


def test_a_query_that_gets_no_answer_stops_and_is_named(url: str, asked: list[tuple[Path, str]]) -> None:
    with pytest.raises(InputError, match=r"no chain for \d.png, 'make it (red|blue)'"):
        Generator(f"{url}/context_too_long/v1", "m").write(asked, RECIPE, 64)


def test_a_picture_that_is_gone_is_named(url: str, asked: list[tuple[Path, str]]) -> None:
    asked[4][0].unlink()
    with pytest.raises(InputError, match=r"2\.png: image cannot be read"):
        Generator(f"{url}/ok/v1", "m").write(asked, RECIPE, 64)


def test_a_server_that_is_not_there_is_refused_by_the_flag_s_name() -> None:
    with pytest.raises(UsageError, match=r"--generator-url http://127\.0\.0\.1:9"):
        open_generator("http://127.0.0.1:9/v1")
